import { seconds, type Seconds } from '../../common/units.js'
import type { Host } from '../store/hosts.js'
import { hostViews, storageDomains, type HostLease } from '../store/storage-domains.js'
import type { Store } from '../store/store.js'
import type { LeaseObservation } from './lease-reading.js'

export type LeaseReport = LeaseObservation & {
  lease: HostLease
  /** When this reader's record of it was first seen, in this life of the coordinator. */
  knownSince: Seconds
}

/**
 * What the hosts report of each other's records in lockspaces. A report's age is measured here, from the
 * moment it was first seen: clocks of hosts decide nothing.
 */
export class LeaseReports {
  readonly #store: Store
  readonly #isHeard: (hostId: string) => boolean
  readonly #seen = new Map<string, { report: string; at: Seconds }>()
  /** By storage domain and number in the lockspace: the last time stamp, and when it was seen to change. */
  readonly #renewals = new Map<string, { stamp: string; changed: Seconds | null; since: Seconds }>()

  constructor(store: Store, isHeard: (hostId: string) => boolean) {
    this.#store = store
    this.#isHeard = isHeard
  }

  /** Everything that other hosts say of one host, in all storage domains. */
  about(host: Pick<Host, 'id' | 'sanlockHostId' | 'hardwareId'>, now: Seconds): LeaseReport[] {
    const { read } = this.#store
    return storageDomains(read).flatMap(domain =>
      hostViews(read, domain.id).flatMap(view => {
        if (view.hostId === host.id || !this.#isHeard(view.hostId)) return []
        const age = this.#ageOf(`${domain.id}/${view.hostId}`, `${view.lastOk}`, now)
        return view.leases.flatMap(lease => {
          if (lease.sanlockHostId !== host.sanlockHostId || lease.hostName !== host.hardwareId) return []
          if (lease.state === 'unspecified') return []
          const knownSince = this.#noteRenewal(
            `${domain.id}/${view.hostId}/${lease.sanlockHostId}`,
            lease,
            now
          )
          return [
            {
              readerHostId: view.hostId,
              storageDomainId: domain.id,
              state: lease.state,
              watched: seconds(lease.watchedSeconds),
              ioTimeout: seconds(domain.ioTimeoutSeconds),
              age,
              lease,
              knownSince
            }
          ]
        })
      })
    )
  }

  /** When a renewal of the host's lease was last seen, anywhere; null: not in this life of the coordinator. */
  lastRenewal({ sanlockHostId }: Pick<Host, 'sanlockHostId'>): Seconds | null {
    let last: Seconds | null = null
    for (const [key, { changed }] of this.#renewals) {
      if (key.endsWith(`/${sanlockHostId}`) && changed !== null && (last === null || changed > last))
        last = changed
    }
    return last
  }

  #noteRenewal(key: string, { generation, timestamp, state }: HostLease, now: Seconds): Seconds {
    const stamp = `${generation}/${timestamp}`
    const known = this.#renewals.get(key)
    if (known?.stamp === stamp) return known.since
    // The first sight is no renewal, and neither is a record that was freed.
    const changed = known === undefined || state === 'free' ? null : now
    const since = known?.since ?? now
    this.#renewals.set(key, { stamp, changed, since })
    return since
  }

  #ageOf(key: string, report: string, now: Seconds): Seconds {
    const known = this.#seen.get(key)
    if (known?.report === report) return seconds(now - known.at)
    this.#seen.set(key, { report, at: now })
    return seconds(0)
  }
}
