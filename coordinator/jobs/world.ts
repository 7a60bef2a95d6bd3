import type { Clock } from '../../common/clock.js'
import type { Bytes } from '../../common/units.js'
import type { StaleStore } from '../stale-store.js'
import type { Store } from '../store/store.js'
import type { Power } from './host-power.js'
import type { Hosts } from './hosts.js'

/** What was last measured, where anything was. */
export type Loads = {
  memoryAvailable(hostId: string): Bytes | null
  /** Percent of one host CPU, smoothed. */
  cpuPercent(vmId: string): number | null
  swapUsed(hostId: string): Bytes | null
  /** Percent of all CPUs of the host, smoothed. */
  hostCpuPercent(hostId: string): number | null
  /** For how long without a break the host's CPUs have been busier than so many percent. */
  secondsAbove(hostId: string, percent: number): number
}

/** What jobs work with. */
export type JobWorld = {
  store: Store
  hosts: Hosts
  power: Power
  loads: Loads
  stale: Pick<StaleStore, 'isKnown'>
  clock: Clock
}
