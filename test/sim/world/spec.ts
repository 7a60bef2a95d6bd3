/** A world before anything happens to it: what a scenario's world.json holds. */
export type WorldSpec = {
  hosts: number | HostSpec[]
  vms: VmSpec[]
  policy?: Partial<PolicySpec>
  /** Whether hosts take turns as manager of the storage domain, and write its metadata. */
  hasManager?: boolean
  /** Hosts out of service at once in an upgrade. */
  upgradeAtOnce?: number
}
export type HostSpec = {
  id?: string
  /** Power devices: how many supplies, and whether there is a second way besides. None by default in HostSpec[]. */
  power?: 'none' | 'one' | 'two' | 'ways'
  hasKdump?: boolean
  canSoftFence?: boolean
  /** Its storage has reservations. */
  hasReservations?: boolean
  /** How many VMs fit. */
  room?: number
}
export type VmSpec = {
  id: string
  on: string
  lease?: boolean
  ha?: boolean
  priority?: number
  dependsOn?: string[]
  /** Hosts where it may run; all when absent. */
  pinned?: string[]
  /** Seconds a migration of it takes. */
  moves?: number
}
export type PolicySpec = {
  silence: number
  fencing: boolean
  statusGap: number
  startGrace: number
  skipsWhileLeaseLives: boolean
}

/** One command of a script, with the second at which it is given. */
export type Event = { at: number; command: string }

export type Finding = { time: number; invariant: string; text: string }
