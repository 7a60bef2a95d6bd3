import { Fault } from '../common/fault.js'
import type { Clock } from '../common/clock.js'
import { seconds, type Seconds } from '../common/units.js'
import type { Domain } from '../libvirt/domain.js'
import type { GuestReport } from './guest-report.js'
import { VmLane } from './vm-lane.js'
import type { VmExit, VmRecord } from './vm-metadata.js'
import { allowedStates, isAllowed, next, type VmEvent, type VmState, type VmVerb } from './vm-status.js'
import type { VmStats } from './vm-stats.js'

export type MigrationView = {
  destinationHostId: string
  percent: number
  doneBytes: number
  totalBytes: number
  iterations: number
  expectedDowntimeMs: number
  bytesPerSecond: number
}

/** A libvirt domain that we only look at. */
export type Foreign = { kind: 'external' | 'quarantined'; why: string }

type Waiter = { isMet: (vm: Vm) => boolean; met: () => void }

/**
 * One VM on this host: what it is, how it is, and who waits for it to change. Verbs go through its lane;
 * events come in at any time. What must survive the agent is in `record`, written into the libvirt domain.
 */
export class Vm {
  readonly id: string
  readonly libvirtDomain: Domain
  readonly lane: VmLane
  readonly #clock: Clock
  readonly #onChange: (vm: Vm) => void
  readonly #waiting = new Set<Waiter>()
  name: string
  record: VmRecord | null
  foreign: Foreign | null = null
  state: VmState = { status: 'down', pause: null }
  isUnresponsive = false
  /** What we asked for and what its end will therefore mean. */
  asked: 'destroy' | 'shutdown' | 'giveUp' | null = null
  guest: GuestReport | null = null
  isGuestAgentConnected = false
  stats: VmStats | null = null
  migration: MigrationView | null = null
  vncSocket = ''
  /** Last libvirt I/O error: libvirt's own pause reason does not tell full from broken. */
  ioError: 'enospc' | 'eio' | null = null
  /** Since when it is in this state, on the monotonic clock. */
  since: Seconds
  /** Disk ids by target, and MAC addresses by tap device: the names that statistics come under. */
  diskIds = new Map<string, string>()
  macs = new Map<string, string>()
  /** Targets of its CD-ROM drives. */
  driveTargets = new Set<string>()
  /** Numbers of its CD-ROM drives whose tray the guest has open. */
  openTrays = new Set<number>()
  /** Whether libvirt keeps a definition of it. */
  isDefined = false

  constructor(parts: {
    domain: Domain
    clock: Clock
    name: string
    record: VmRecord | null
    onChange: (vm: Vm) => void
  }) {
    this.id = parts.domain.uuid
    this.libvirtDomain = parts.domain
    this.lane = new VmLane(this.id)
    this.name = parts.name
    this.record = parts.record
    this.#clock = parts.clock
    this.#onChange = parts.onChange
    this.since = parts.clock.monotonic()
  }

  get exit(): VmExit | null {
    return this.state.status === 'down' ? (this.record?.exit ?? null) : null
  }

  /** Ours, or a fault that says why it is left alone. */
  own(): VmRecord {
    if (this.record) return this.record
    const why = this.foreign?.kind === 'quarantined' ? `is quarantined: ${this.foreign.why}` : 'is external'
    throw new Fault('WRONG_STATE', `VM ${this.id} ${why}; it is shown, never touched`, {
      facts: { vm: this.id }
    })
  }

  throwUnlessAllowed(verb: VmVerb): void {
    this.own()
    const { status } = this.state
    if (isAllowed(verb, status)) return
    const states = allowedStates(verb).join(', ')
    throw new Fault('WRONG_STATE', `VM ${this.id} is ${status}; to ${verb} it, it must be ${states}`, {
      facts: { vm: this.id, status }
    })
  }

  apply(event: VmEvent): void {
    const before = this.state
    this.state = next(before, event)
    if (this.state.status === before.status && this.state.pause === before.pause) return
    // Where it once went is over when it comes back.
    if (before.status === 'down') this.migration = null
    this.since = this.#clock.monotonic()
    this.changed()
  }

  /** Something about it is another now: those who wait look again, watchers hear of it. */
  changed(): void {
    for (const waiter of [...this.#waiting]) if (waiter.isMet(this)) waiter.met()
    this.#onChange(this)
  }

  /** Whether the condition came true in time. Never waits for ever. */
  until(isMet: (vm: Vm) => boolean, limit: Seconds, signal: AbortSignal): Promise<boolean> {
    if (isMet(this)) return Promise.resolve(true)
    return new Promise((resolve, reject) => {
      const end = (settle: () => void) => {
        cancel()
        this.#waiting.delete(waiter)
        signal.removeEventListener('abort', stop)
        settle()
      }
      const stop = () => end(() => reject(signal.reason))
      const waiter = { isMet, met: () => end(() => resolve(true)) }
      const cancel = this.#clock.after(limit, () => end(() => resolve(false)))
      this.#waiting.add(waiter)
      if (signal.aborted) stop()
      else signal.addEventListener('abort', stop, { once: true })
    })
  }

  /** Seconds since QEMU began to run; null if it does not. */
  age(): Seconds | null {
    const startedAt = this.record?.startedAt
    return startedAt == null ? null : seconds((this.#clock.wall() - startedAt) / 1000)
  }
}
