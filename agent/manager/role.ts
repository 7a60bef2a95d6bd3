import { type Clock, sleep } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import type { Logger } from '../../common/log.js'
import { type Bytes, seconds, type Seconds } from '../../common/units.js'
import type { ExtendedVolume } from '../../storage/extend-volumes.js'

/** This host's worker of a storage domain, as far as the role goes. */
export type RoleWorker = {
  state(id: string, signal: AbortSignal): Promise<{ isManager: boolean; owner: number | null }>
  /** Waits for the lease so long; LEASE_HELD when another host still has it then. */
  take(id: string, within: Seconds, signal: AbortSignal): Promise<void>
  giveUp(id: string, signal: AbortSignal): Promise<void>
  /** Whether the lease is free now. */
  handOver(id: string, signal: AbortSignal): Promise<boolean>
  extend(id: string, volumeId: string, to: Bytes, signal: AbortSignal): Promise<ExtendedVolume>
}

export type RoleParts = {
  worker: RoleWorker
  /** Asks another host for the lease; for good where this host is to manage, else for one operation. */
  askFor(hostId: string, id: string, isForGood: boolean, signal: AbortSignal): Promise<boolean>
  hostIdOf(sanlockHostId: number): string | null
  ownSanlockHostId(): number
  /** Whether the storage domain can be used here; null where it is not in use here at all. */
  isUsable(id: string): boolean | null
  /** The role came, or goes to another host: what was known of who has it is old. */
  onChange(id: string): void
  /** Whether this host stands as the manager, as its last report says. */
  stands(id: string): boolean
  /** A manager that nobody asks for so long, and that nobody prefers, lets others have their turn. */
  idle: Seconds
  clock: Clock
  log: Logger
}

type Held = {
  /** The coordinator wants this host to manage. */
  isPreferred: boolean
  /** Of a manager that is not preferred: when it was asked last. */
  askedAt: Seconds | null
  /** The role is on its way to this host: whoever asks already waits a moment. */
  coming: number
  /** Who got the role from here, and when: those who come too late are told. */
  successor: { hostId: string; at: Seconds } | null
  /** No try to get the role back before. */
  notBefore: Seconds
  askedElsewhereAt: Seconds
}

const attempt = seconds(2)
/** A host that borrowed the lease for an operation keeps it so long at least. */
const lent = seconds(3)
const afterFailure = seconds(5)
const successorKnown = seconds(10)
const untilHere = seconds(1.5)
const look = seconds(0.05)
const askAgain = seconds(1)

/**
 * This host as the manager of storage domains. The coordinator says which it is to manage: those it takes, keeps,
 * and takes back when another host borrowed the lease. Where the coordinator said nothing, whoever needs room first
 * is the manager, until nobody asks any more. The lease alone decides who it is; all else makes that quick.
 *
 *     preferred       another host manages
 *       ask it to hand over  ──►  ends what it was asked for, frees the lease, names us to those who come later
 *       take the lease       ◄──
 */
export class Role {
  readonly #parts: RoleParts
  readonly #held = new Map<string, Held>()

  constructor(parts: RoleParts) {
    this.#parts = parts
  }

  /** What the coordinator wants. Returns at once: its own look at the host tells what came of it. */
  prefer(id: string, isPreferred: boolean, signal: AbortSignal): void {
    const held = this.#of(id)
    if (isPreferred === held.isPreferred) return
    held.isPreferred = isPreferred
    // Not wanted any more is as if somebody had asked just now: it stands until it is taken, or idle.
    held.askedAt = isPreferred ? null : this.#parts.clock.monotonic()
    held.notBefore = seconds(-Infinity)
    if (isPreferred) void this.#tend(id, held, signal).catch((error: unknown) => this.#warn(id, error))
  }

  /** Nobody manages, as far as this host knows, and it needs room. */
  async take(id: string, signal: AbortSignal): Promise<void> {
    await this.#coming(id, async () => {
      for (;;) {
        signal.throwIfAborted()
        try {
          await this.#parts.worker.take(id, attempt, signal)
          break
        } catch (error) {
          if (!Fault.is(error, 'LEASE_HELD')) throw error
        }
        await sleep(this.#parts.clock, look, signal)
      }
    })
    const held = this.#of(id)
    if (!held.isPreferred) held.askedAt = this.#parts.clock.monotonic()
  }

  async extend(id: string, volumeId: string, to: Bytes, signal: AbortSignal): Promise<ExtendedVolume> {
    const held = this.#of(id)
    if (held.askedAt !== null) held.askedAt = this.#parts.clock.monotonic()
    return this.#parts.worker.extend(id, volumeId, to, signal)
  }

  /** For a peer: only while this host is the manager, or has the lease for an operation of its own. */
  async serve(id: string, volumeId: string, to: Bytes, signal: AbortSignal): Promise<Bytes> {
    const { worker, clock } = this.#parts
    const began = clock.monotonic()
    for (;;) {
      const { isManager, owner } = await worker.state(id, signal)
      if (isManager || owner === this.#parts.ownSanlockHostId()) break
      const isComing = this.#of(id).coming > 0 && clock.monotonic() - began < untilHere
      if (!isComing) throw this.#notManager(id, owner)
      await sleep(clock, look, signal)
    }
    const { size, failure } = await this.extend(id, volumeId, to, signal)
    if (failure) throw new Fault(failure.reason, failure.text)
    return size
  }

  /** For a peer that is to manage, or needs the lease for an operation. */
  async handOver(id: string, toHostId: string, isForGood: boolean, signal: AbortSignal): Promise<boolean> {
    const { worker, clock, log } = this.#parts
    const held = this.#of(id)
    const now = clock.monotonic()
    if (isForGood) held.isPreferred = false
    const before = held.successor
    held.successor = { hostId: toHostId, at: now }
    held.notBefore = seconds(now + lent)
    this.#parts.onChange(id)
    const isFree = await worker.handOver(id, signal)
    held.askedAt = null
    if (!isFree) held.successor = before
    log.info(
      { storageDomain: id, host: toHostId, isForGood, isFree },
      'another host asked for the manager role'
    )
    return isFree
  }

  /** Who got the role from here in the last seconds, and may not have the lease yet. */
  successorOf(id: string): string | null {
    const successor = this.#held.get(id)?.successor ?? null
    const isNew = successor !== null && this.#parts.clock.monotonic() - successor.at < successorKnown
    return isNew ? successor.hostId : null
  }

  /** Something of this host waits for the lease: whoever stands as the manager is asked to lend it. */
  async wantForOperation(id: string, signal: AbortSignal): Promise<void> {
    const { worker, clock } = this.#parts
    const held = this.#of(id)
    const now = clock.monotonic()
    if (held.coming > 0 || now - held.askedElsewhereAt < askAgain) return
    held.askedElsewhereAt = now
    await this.#coming(id, async () => {
      const { owner } = await worker.state(id, signal)
      if (!(await this.#ask(id, owner, false, signal))) return
      // Whoever asks us for room meanwhile is served as soon as the operation has the lease.
      await sleep(clock, seconds(1), signal)
    })
  }

  async round(signal: AbortSignal): Promise<void> {
    await Promise.all(
      [...this.#held].map(async ([id, held]) => {
        const isUsable = this.#parts.isUsable(id)
        if (isUsable === null) this.#held.delete(id)
        if (isUsable) await this.#tend(id, held, signal).catch((error: unknown) => this.#warn(id, error))
      })
    )
  }

  /** For the debug door. */
  dump(): object {
    return Object.fromEntries(this.#held)
  }

  async #tend(id: string, held: Held, signal: AbortSignal): Promise<void> {
    const { worker, clock, idle, stands } = this.#parts
    const now = clock.monotonic()
    if (held.isPreferred) {
      if (stands(id) || held.coming > 0 || now < held.notBefore) return
      return this.#claim(id, held, signal)
    }
    // One that was asked for and came late.
    if (held.askedAt === null && stands(id)) held.askedAt = now
    if (held.askedAt === null || now - held.askedAt < idle) return
    held.askedAt = null
    await worker.giveUp(id, signal)
  }

  async #claim(id: string, held: Held, signal: AbortSignal): Promise<void> {
    const { worker, clock, log, onChange } = this.#parts
    await this.#coming(id, async () => {
      const { isManager, owner } = await worker.state(id, signal)
      if (isManager) return
      const isFree = await this.#ask(id, owner, true, signal)
      if (isFree === false) {
        held.notBefore = seconds(clock.monotonic() + askAgain)
        return
      }
      try {
        await worker.take(id, attempt, signal)
        onChange(id)
      } catch (error) {
        held.notBefore = seconds(clock.monotonic() + (isFree ? askAgain : afterFailure))
        if (!Fault.is(error, 'LEASE_HELD')) throw error
        log.info({ storageDomain: id, owner }, 'the manager role cannot be had yet')
      }
    })
  }

  /** True: it is free. False: an operation holds it there. Null: nobody has it, or who has it does not answer. */
  async #ask(
    id: string,
    owner: number | null,
    isForGood: boolean,
    signal: AbortSignal
  ): Promise<boolean | null> {
    const { hostIdOf, ownSanlockHostId, askFor, log } = this.#parts
    const hostId = owner === null || owner === ownSanlockHostId() ? null : hostIdOf(owner)
    if (hostId === null) return null
    try {
      return await askFor(hostId, id, isForGood, signal)
    } catch (error) {
      if (signal.aborted || !(error instanceof Fault)) throw error
      log.warn(
        { err: error, storageDomain: id, host: hostId },
        'a host could not be asked for the manager role'
      )
      return null
    }
  }

  async #coming<T>(id: string, work: () => Promise<T>): Promise<T> {
    const held = this.#of(id)
    held.coming++
    try {
      return await work()
    } finally {
      held.coming--
    }
  }

  #notManager(id: string, owner: number | null): Fault {
    return new Fault('NOT_MANAGER', `this host does not manage storage domain ${id}`, {
      facts: { ownerSanlockHostId: String(owner ?? 0), successorHostId: this.successorOf(id) ?? '' }
    })
  }

  #of(id: string): Held {
    const known = this.#held.get(id)
    if (known) return known
    const fresh: Held = {
      ...{ isPreferred: false, askedAt: null, coming: 0, successor: null },
      ...{ notBefore: seconds(-Infinity), askedElsewhereAt: seconds(-Infinity) }
    }
    this.#held.set(id, fresh)
    return fresh
  }

  #warn(id: string, error: unknown): void {
    this.#parts.log.warn({ err: error, storageDomain: id }, 'the manager role could not be tended')
  }
}
