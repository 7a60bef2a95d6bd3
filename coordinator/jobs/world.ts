import type { Clock } from '../../common/clock.js'
import type { Bytes } from '../../common/units.js'
import type { Store } from '../store/store.js'
import type { Power } from './host-power.js'
import type { Hosts } from './hosts.js'

/** What was last measured, where anything was. */
export type Loads = {
  memoryAvailable(hostId: string): Bytes | null
  /** Percent of one host CPU. */
  cpuPercent(vmId: string): number | null
}

/** What jobs work with. */
export type JobWorld = {
  store: Store
  hosts: Hosts
  power: Power
  loads: Loads
  clock: Clock
}
