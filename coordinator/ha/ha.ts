import { sleep, type Clock } from '../../common/clock.js'
import type { Logger } from '../../common/log.js'
import { seconds } from '../../common/units.js'
import type { Hosts } from '../jobs/hosts.js'
import type { Loads } from '../jobs/world.js'
import type { AllJobs } from '../jobs/kinds.js'
import type { StaleStore } from '../stale-store.js'
import type { Store } from '../store/store.js'
import { LeaseClearing } from './clear-leases.js'
import type { HostPower } from './fencing/host-power.js'
import { LeaseReports } from './lease-reports.js'
import { HaLoop } from './loop.js'
import { noStorageFencing, type StorageFencing } from './storage-fencing.js'
import { StoreWorld } from './store-world.js'

export type HaOptions = {
  store: Store
  loads: Loads
  clock: Clock
  log: Logger
  jobs: AllJobs
  hosts: Pick<Hosts, 'runTask'>
  power: HostPower
  stale: StaleStore
  /** Only where there is storage with reservations. */
  storageFencing?: StorageFencing
  /** Whether the host's stream is up and its last heartbeat is fresh (3 s). */
  isHeard(hostId: string): boolean
  /** Whether more hosts obey this coordinator than another one. */
  mayActUnasked(): boolean
}

/** High availability, composed: the loop, its world, and the clearing of leases. */
export class Ha {
  readonly #loop: HaLoop
  readonly #clearing: LeaseClearing
  readonly #clock: Clock

  constructor(options: HaOptions) {
    const { store, loads, clock, log, jobs, hosts, power, stale, isHeard, mayActUnasked } = options
    const { storageFencing = noStorageFencing } = options
    const leases = new LeaseReports(store, isHeard)
    const world = new StoreWorld({
      ...{ store, loads, clock, jobs, power, storageFencing, leases, stale, isHeard, mayActUnasked }
    })
    const loop = new HaLoop(world, clock, log)
    const offSince = (hostId: string) => loop.offSince(hostId)
    this.#clock = clock
    this.#loop = loop
    this.#clearing = new LeaseClearing({ store, clock, hosts, leases, log, offSince })
  }

  /** Until the coordinator stops. */
  async run(stop: AbortSignal): Promise<void> {
    await Promise.all([this.#loop.run(stop), this.#clear(stop)])
  }

  async #clear(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      this.#clearing.tick(stop)
      await sleep(this.#clock, seconds(1), stop).catch(() => {})
    }
  }
}
