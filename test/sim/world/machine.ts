import type { HostSpec } from './spec.js'

/** What a power device does: the truth, or one of the ways in which they fail. */
export type DeviceMode =
  | 'works'
  | 'fails' // refuses every command, and every read
  | 'mute' // does as told, and its answers get lost
  | 'deaf' // says OK to the off command and does nothing; reads tell the truth
  | 'lies' // says off, always
  | 'slow' // 25 s for each answer

/** A machine with its paths; what runs on it is in SimWorld.copies. */
export type Machine = {
  readonly id: string
  readonly spec: HostSpec
  isOn: boolean
  boot: number
  bootsAt: number | null
  /** Whether commands reach it, and whether it is heard. */
  netIn: boolean
  netOut: boolean
  storage: boolean
  /** Agent stopped until then (SIGSTOP), or for ever. */
  frozenUntil: number
  /** The whole machine hangs until then: no CPU runs, nothing is renewed. */
  hungUntil: number
  /** The agent finds out what runs here until then. */
  recoversUntil: number
  joinedAt: number
  inLockspace: boolean
  killedAt: number | null
  /** Its crash kernel sends messages until then. */
  dumpsUntil: number
  device: DeviceMode
  /** Grows with everything that the agent would report. */
  changes: number
  version: number
  upgradeFails: boolean
  // The agent's memory.
  rule: { coordinatorEpoch: number; coordinatorIncarnation: string; hostGeneration: number }
  durableEpoch: number
  /** Outcome of each request. */
  ledger: Map<string, string>
  /** VMs that ended here, with the reason that is told. */
  ended: Map<string, { generation: number; exitReason: string; to: string | null }>
  /** Leases of processes that ended while nothing could be written. */
  owes: Set<string>
}

export const machine = (id: string, spec: HostSpec): Machine => ({
  ...{ id, spec, isOn: true, boot: 1, bootsAt: null, netIn: true, netOut: true, storage: true },
  ...{ frozenUntil: -1, hungUntil: -1, recoversUntil: -1, joinedAt: -100, inLockspace: true, killedAt: null },
  ...{ dumpsUntil: -1, device: 'works' as const, changes: 0, version: 1, upgradeFails: false },
  ...{ rule: { coordinatorEpoch: 0, coordinatorIncarnation: '', hostGeneration: 1 }, durableEpoch: 0 },
  ...{ ledger: new Map(), ended: new Map(), owes: new Set() }
})

/** One QEMU. */
export type Copy = {
  vm: string
  host: string
  generation: number
  isLeased: boolean
  state: 'running' | 'paused' | 'leaving' | 'arriving'
  /** Where a migration goes, and when it is over. */
  to: string | null
  switchesAt: number
}

/** Whether its guest may write: the destination of a migration may not. */
export const writes = ({ state }: Copy) => state !== 'arriving'
