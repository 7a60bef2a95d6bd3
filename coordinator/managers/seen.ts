import type { Clock } from '../../common/clock.js'
import { seconds, type Seconds } from '../../common/units.js'
import { hosts, type Host } from '../store/hosts.js'
import type { Reader } from '../store/query.js'
import { hostViews, storageDomains, type HostView } from '../store/storage-domains.js'
import type { HostStatus } from '../store/tables.js'
import type { Fitness, Seen, SeenStorageDomain } from './decide.js'

/** Words for a host that cannot manage now, or not any more; others are up. */
const statusWords: Partial<Record<HostStatus, string>> = {
  preparing_for_maintenance: 'goes into maintenance',
  maintenance: 'is in maintenance',
  non_responsive: 'does not respond',
  down: 'is down',
  non_operational: 'cannot run VMs',
  pending_enrolment: 'is not enrolled'
}

export type Looks = {
  isHeard(hostId: string): boolean
  /** Whether its agent knows how to be told. */
  canBeTold(hostId: string): boolean
  clock: Clock
}

/** What the decision needs, out of the store; remembers since when a host is in doubt about a storage domain. */
export class ManagersSeen {
  readonly #looks: Looks
  readonly #doubtful = new Map<string, Seconds>()

  constructor(looks: Looks) {
    this.#looks = looks
  }

  look(reader: Reader): Seen {
    const all = hosts(reader)
    const managed = storageDomains(reader).filter(
      ({ phase, connection: { kind } }) => phase === 'active' && (kind === 'block' || kind === 'iscsi')
    )
    const names = new Map(all.map(({ id, name }) => [id, name]))
    const seen = managed.map(({ id, managerHostId }) =>
      this.#seen(id, managerHostId, all, hostViews(reader, id))
    )
    return { storageDomains: seen, nameOf: id => names.get(id) ?? id }
  }

  #seen(
    id: string,
    managerHostId: string | null,
    all: readonly Host[],
    views: readonly HostView[]
  ): SeenStorageDomain {
    const fitness = new Map<string, Fitness>()
    for (const host of all) {
      const view = views.find(({ hostId }) => hostId === host.id)
      // Without a view it is nothing to the host, unless the host is only silent.
      if (view || host.id === managerHostId) fitness.set(host.id, this.#fitness(id, host, view ?? null))
    }
    const standing = views.find(
      ({ hostId, isManager, health }) => isManager === 1 && health === 'active' && this.#looks.isHeard(hostId)
    )
    return { id, managerHostId, standingHostId: standing?.hostId ?? null, fitness }
  }

  #fitness(id: string, host: Host, view: HostView | null): Fitness {
    const key = `${id}/${host.id}`
    const leaving = statusWords[host.status]
    const why = leaving ?? this.#doubt(host, view)
    if (why === null) {
      this.#doubtful.delete(key)
      return { kind: 'fit' }
    }
    if (leaving !== undefined) return { kind: 'unfit', why }
    const now = this.#looks.clock.monotonic()
    const since = this.#doubtful.get(key) ?? now
    this.#doubtful.set(key, since)
    return { kind: 'doubtful', why, for: seconds(now - since) }
  }

  #doubt(host: Host, view: HostView | null): string | null {
    if (host.status !== 'up' || !this.#looks.isHeard(host.id)) return 'is silent'
    if (view === null || view.health === 'inactive') return 'does not have it active'
    if (view.health !== 'active')
      return `has it ${view.health}${view.problem === '' ? '' : `: ${view.problem}`}`
    return this.#looks.canBeTold(host.id) ? null : 'has an agent that is too old'
  }
}
