import type { Clock } from '../../common/clock.js'
import type { Seconds } from '../../common/units.js'
import { isKnownVm } from '../known-vms.js'
import type { StaleStore } from '../stale-store.js'
import type { Host } from '../store/hosts.js'
import type { Store } from '../store/store.js'
import { unknownVms } from '../store/vms.js'
import { markLost } from './lost-vms.js'
import { orphansOf } from './orphans.js'

export type HostNow = { row: Host; isHeard: boolean; isWatched: boolean }

/** Finds with each tick which VMs no host has, and whether the store still may be older than the world. */
export class OrphanWatch {
  readonly #store: Store
  readonly #clock: Clock
  readonly #stale: StaleStore
  /** Since when VMs are unknown although their host is in service, or is known to be stopped. */
  readonly #unknownSince = new Map<string, Seconds>()

  constructor({ store, clock, stale }: { store: Store; clock: Clock; stale: StaleStore }) {
    this.#store = store
    this.#clock = clock
    this.#stale = stale
  }

  note(hosts: readonly HostNow[]): void {
    this.#stale.settle(hosts.map(host => ({ hostId: host.row.id, isStopped: isStopped(host) })))
    const unknown = this.#unknown(hosts)
    if (unknown.length === 0) return
    const watched = hosts.filter(({ isWatched }) => isWatched)
    const areAllHeard = watched.every(({ row, isHeard }) => isHeard || row.health === 'proven_stopped')
    const lost = orphansOf(unknown, areAllHeard, this.#clock.monotonic()).filter(id =>
      isKnownVm(this.#store.read, id, this.#stale)
    )
    if (lost.length === 0) return
    this.#store.transaction(tx => {
      for (const { row } of hosts) markLost(tx, row, 'returned', this.#clock.wall(), lost)
    })
  }

  #unknown(hosts: readonly HostNow[]): Array<{ vmId: string; since: Seconds }> {
    const now = this.#clock.monotonic()
    const settled = new Set(hosts.filter(({ row }) => isSettled(row)).map(({ row }) => row.id))
    const vms = unknownVms(this.#store.read).filter(({ hostId }) => settled.has(hostId ?? ''))
    const ids = new Set(vms.map(({ id }) => id))
    for (const id of this.#unknownSince.keys()) if (!ids.has(id)) this.#unknownSince.delete(id)
    return vms.map(({ id }) => {
      const since = this.#unknownSince.get(id) ?? now
      this.#unknownSince.set(id, since)
      return { vmId: id, since }
    })
  }
}

const isSettled = ({ health }: Host) => health === 'up' || health === 'proven_stopped'

/** Of a host in maintenance nobody proves anything; a person can. */
const isStopped = ({ row: { health, proof }, isHeard }: HostNow) =>
  health === 'proven_stopped' || (proof === 'operator' && !isHeard)
