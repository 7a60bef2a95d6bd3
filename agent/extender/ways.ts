import { sleep, type Clock } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import type { Logger } from '../../common/log.js'
import { type Bytes, seconds, type Seconds } from '../../common/units.js'
import type { ExtendedVolume } from '../../storage/extend-volumes.js'
import { slowerOf } from './policy.js'

/** How a request reached the manager. */
export type Way = 'here' | 'fast' | 'mailbox'

export type ManagerView = { isManager: boolean; ownerSanlockHostId: number | null }
export type Wanted = { storageDomainId: string; volumeId: string; to: Bytes }

export type WaysParts = {
  /** This host's own worker of the storage domain. */
  worker: {
    extend(wanted: Wanted, signal: AbortSignal): Promise<ExtendedVolume>
    askManager(wanted: Wanted, signal: AbortSignal): Promise<boolean>
    manager(storageDomainId: string, signal: AbortSignal): Promise<ManagerView>
    takeManager(storageDomainId: string, signal: AbortSignal): Promise<void>
  }
  /** The manager's agent, over the network. */
  peer(hostId: string, wanted: Wanted, signal: AbortSignal): Promise<Bytes>
  hostIdOf(sanlockHostId: number): string | null
  ownHostId(): string | null
  clock: Clock
  log: Logger
}

/** The least and the most that the network alone is waited for; then the mailbox is written as well. */
const patience = { least: seconds(0.05), most: seconds(1) }
/** So long nobody answers until this host would be the manager itself. */
const untilTaken = seconds(5)
const untilLooked = seconds(0.5)
/** Answers that no other way would change. */
const final = ['STORAGE_DOMAIN_FULL', 'VOLUME_NOT_FOUND', 'WRONG_STATE', 'NO_SPACE'] as const

/**
 * Asks for room, by every way that may still lead there. Sizes are absolute, so the same request may go by several
 * ways, and the first answer counts.
 *
 *       0 ms   manager here: its queue · known elsewhere: the network · nobody: this host takes the role, and 1 s
 *              later writes the mailbox as well
 *      50 ms   no answer yet: the mailbox as well (at once when the network says no; later where twice the usual time
 *              of an answer is longer, so that a busy manager is not asked everything twice)
 *       5 s    still none: this host tries for the role too; sanlock decides
 */
export class Ways {
  readonly #parts: WaysParts
  readonly #known = new Map<string, ManagerView>()
  /** How long the network's answers take, by storage domain. */
  readonly #usual = new Map<string, Seconds>()

  constructor(parts: WaysParts) {
    this.#parts = parts
  }

  async extend(wanted: Wanted, signal: AbortSignal): Promise<Way> {
    const view = this.#known.get(wanted.storageDomainId) ?? (await this.#look(wanted.storageDomainId, signal))
    const over = new AbortController()
    const end = AbortSignal.any([signal, over.signal])
    try {
      const way = await Promise.race([Promise.any(this.#attempts(view, wanted, end)), givenUp(signal)])
      // The network did not answer: the manager may be another by now.
      if (way === 'mailbox') this.#known.delete(wanted.storageDomainId)
      return way
    } catch (error) {
      this.#known.delete(wanted.storageDomainId)
      throw reasonOf(error)
    } finally {
      over.abort()
    }
  }

  /** After a change of manager, as far as anybody told. */
  forget(storageDomainId: string): void {
    this.#known.delete(storageDomainId)
  }

  #attempts(view: ManagerView, wanted: Wanted, signal: AbortSignal): Array<Promise<Way>> {
    if (view.isManager) return [this.#here(wanted, signal)]
    const owner = view.ownerSanlockHostId
    // Another host may be quicker in taking the role: then the mailbox reaches it.
    const inTime = async () => {
      await this.#later(patience.most, signal)
      return this.#byMailbox(wanted, signal)
    }
    if (owner === null) return [this.#asManager(wanted, signal), inTime()]
    const hostId = this.#parts.hostIdOf(owner)
    const fast = hostId === null ? null : this.#fast(hostId, wanted, signal)
    // A final refusal ends the waiting on all ways.
    const refusal = fast?.catch((error: unknown) => (isFinal(error) ? Promise.reject(error) : never()))
    const slower = async () => {
      const refused = fast ? fast.then(never, () => {}) : Promise.resolve()
      await Promise.race([refused, this.#later(this.#patience(wanted.storageDomainId), signal)])
      return this.#byMailbox(wanted, signal)
    }
    const late = async () => {
      await this.#later(untilTaken, signal)
      return this.#asManager(wanted, signal)
    }
    const ways = [...(fast ? [fast] : []), slower(), late()]
    return refusal ? [Promise.race([refusal, Promise.any(ways)])] : ways
  }

  async #here(wanted: Wanted, signal: AbortSignal): Promise<Way> {
    try {
      const { failure } = await this.#parts.worker.extend(wanted, signal)
      if (failure) throw new Fault(failure.reason, failure.text)
      return 'here'
    } catch (error) {
      if (!Fault.is(error, 'NOT_MANAGER')) throw error
      // It is being handed over just now.
      return this.#afterChange(wanted, signal)
    }
  }

  async #asManager(wanted: Wanted, signal: AbortSignal): Promise<Way> {
    const { worker, log } = this.#parts
    await worker.takeManager(wanted.storageDomainId, signal)
    log.info({ storageDomain: wanted.storageDomainId }, 'nobody managed the storage domain; this host does')
    this.#known.set(wanted.storageDomainId, { isManager: true, ownerSanlockHostId: null })
    return this.#here(wanted, signal)
  }

  async #fast(
    hostId: string,
    wanted: Wanted,
    signal: AbortSignal,
    tried: ReadonlySet<string> = new Set()
  ): Promise<Way> {
    const { clock, peer } = this.#parts
    const { storageDomainId: id } = wanted
    const began = clock.monotonic()
    try {
      await peer(hostId, wanted, signal)
      const took = seconds(clock.monotonic() - began)
      this.#usual.set(id, slowerOf(this.#usual.get(id) ?? took, took))
      return 'fast'
    } catch (error) {
      if (!Fault.is(error, 'NOT_MANAGER')) throw error
      // It has handed the role over just now, and knows to whom.
      const successor = (error as Fault).facts['successorHostId'] ?? ''
      const isOther = successor !== '' && successor !== hostId && successor !== this.#parts.ownHostId()
      if (isOther && !tried.has(successor)) {
        const way = await this.#fast(successor, wanted, signal, new Set([...tried, hostId]))
        this.#known.delete(id)
        return way
      }
      return this.#afterChange(wanted, signal)
    }
  }

  /** The host that was the manager is not any more: looks until it is clear who is, or that nobody is. */
  async #afterChange(wanted: Wanted, signal: AbortSignal): Promise<Way> {
    const before = this.#known.get(wanted.storageDomainId)?.ownerSanlockHostId ?? null
    for (;;) {
      const view = await this.#look(wanted.storageDomainId, signal)
      if (view.isManager) return this.#here(wanted, signal)
      if (view.ownerSanlockHostId === null) return this.#asManager(wanted, signal)
      const hostId = this.#parts.hostIdOf(view.ownerSanlockHostId)
      const isNew = view.ownerSanlockHostId !== before
      if (isNew && hostId !== null) return this.#fast(hostId, wanted, signal)
      await this.#later(untilLooked, signal)
    }
  }

  async #byMailbox(wanted: Wanted, signal: AbortSignal): Promise<Way> {
    const isDone = await this.#parts.worker.askManager(wanted, signal)
    // The mailbox has no words for a reason.
    if (!isDone) throw new Fault('COMMAND_FAILED', `the manager could not extend volume ${wanted.volumeId}`)
    return 'mailbox'
  }

  async #look(storageDomainId: string, signal: AbortSignal): Promise<ManagerView> {
    const view = await this.#parts.worker.manager(storageDomainId, signal)
    this.#known.set(storageDomainId, view)
    return view
  }

  #patience(storageDomainId: string): Seconds {
    const { least, most } = patience
    return seconds(Math.min(most, Math.max(least, 2 * (this.#usual.get(storageDomainId) ?? 0))))
  }

  #later(delay: Seconds, signal: AbortSignal): Promise<void> {
    return sleep(this.#parts.clock, delay, signal)
  }
}

/** Rejects when the caller gives up. */
function givenUp(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    if (signal.aborted) reject(signal.reason)
  })
}

const never = () => new Promise<never>(() => {})

const isFinal = (error: unknown) => final.some(reason => Fault.is(error, reason))

/** Of several failures the one that says most. */
function reasonOf(error: unknown): unknown {
  if (!(error instanceof AggregateError)) return error
  const errors: unknown[] = error.errors
  return errors.find(isFinal) ?? errors[0]
}
