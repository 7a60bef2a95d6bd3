import type { Clock } from '../common/clock.js'
import { orAborted } from '../common/deadline.js'
import { Fault } from '../common/fault.js'
import type { Seconds } from '../common/units.js'

/** A guest has one place of each kind: a steering call must get past a stuck ordinary one. */
export type Kind = 'ordinary' | 'steering' | 'guest' | 'long'

/** One connection's worth of places. */
export type Line = { readonly limit: number }

export type Ask<L extends Line> = {
  /** Where the call may go; asked again whenever a place is free, so that the list may grow. */
  lines: () => readonly L[]
  kind: Kind
  /** The guest that the call is about, and whose place it takes; null if none. */
  about: string | null
  /** How long the call may wait for its turn, and then how long for its reply. Null: for ever. */
  patience: Seconds | null
}

type Running<L> = { line: L; kind: Kind; about: string | null; late: boolean }
type Queued<L extends Line> = Ask<L> & { admit: (call: Running<L>) => void; refuse: (why: Fault) => void }

/**
 * What keeps connections to libvirtd alive. libvirtd stops reading a client that has 5 calls outstanding
 * (max_client_requests), and its keepalives with them; so a connection has at most 4, and a guest whose
 * monitor hangs has at most one of those.
 *
 * The protocol has no cancel: a call whose patience ended keeps its place until libvirtd answers, and until
 * then other calls of its kind about that guest are refused at once. A caller who merely lost interest (its
 * signal) leaves the same way, but says nothing about the guest until the patience is over.
 */
export class CallSlots<L extends Line> {
  readonly #clock: Clock
  readonly #running = new Set<Running<L>>()
  #queue: Queued<L>[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  async run<T>(ask: Ask<L>, send: (line: L) => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted()
    const call = await this.#admitted(ask, signal)
    let giveUp: (why: Fault) => void = () => {}
    const late = new Promise<never>((_, reject) => (giveUp = reject))
    const cancel = this.#after(ask.patience, () => giveUp(this.#markLate(call)))
    const reply = send(call.line).finally(() => {
      cancel()
      this.#leave(call)
    })
    late.catch(() => {})
    reply.catch(() => {})
    return await orAborted(Promise.race([reply, late]), signal)
  }

  /** The guests that some call has waited for too long. */
  unresponsive(): Set<string> {
    return new Set([...this.#running].flatMap(({ late, about }) => (late && about !== null ? [about] : [])))
  }

  /** How many calls hold a place on this line, and how many of them are late. */
  held(line: L): { all: number; late: number } {
    const calls = [...this.#running].filter(call => call.line === line)
    return { all: calls.length, late: calls.filter(call => call.late).length }
  }

  get waiting(): number {
    return this.#queue.length
  }

  async #admitted(ask: Ask<L>, signal: AbortSignal): Promise<Running<L>> {
    if (this.#isLate(ask)) throw unresponsive(ask.about)
    let queued: Queued<L> | undefined
    const leaveQueue = () => (this.#queue = this.#queue.filter(other => other !== queued))
    const admitted = new Promise<Running<L>>((admit, reject) => {
      // Out of the queue in the same moment: a place that becomes free next must not go to it.
      const refuse = (why: Fault) => {
        leaveQueue()
        reject(why)
      }
      queued = { ...ask, admit, refuse }
      this.#queue.push(queued)
    })
    admitted.catch(() => {})
    const cancel = this.#after(ask.patience, () => queued?.refuse(crowded(ask.about)))
    this.#admitNext()
    try {
      return await orAborted(admitted, signal)
    } catch (error) {
      // Admitted in the same moment in which the signal came: the place goes back.
      void admitted.then(
        call => this.#leave(call),
        () => {}
      )
      throw error
    } finally {
      cancel()
      leaveQueue()
    }
  }

  /** Oldest first, passing over those whose guest or whose lines have no place. */
  #admitNext(): void {
    for (const next of [...this.#queue]) {
      if (next.about !== null && this.#isBusy(next)) continue
      const line = next.lines().find(candidate => this.held(candidate).all < candidate.limit)
      if (!line) continue
      this.#queue = this.#queue.filter(other => other !== next)
      const call = { line, kind: next.kind, about: next.about, late: false }
      this.#running.add(call)
      next.admit(call)
    }
  }

  #leave(call: Running<L>): void {
    this.#running.delete(call)
    this.#admitNext()
  }

  #markLate(call: Running<L>): Fault {
    call.late = true
    for (const queued of this.#queue) {
      if (sameGuest(queued, call)) queued.refuse(unresponsive(call.about))
    }
    // A line that is held by late calls alone may make `lines` grow.
    this.#admitNext()
    return unresponsive(call.about)
  }

  #isBusy(ask: Ask<L>): boolean {
    return [...this.#running].some(call => sameGuest(ask, call))
  }

  #isLate(ask: Ask<L>): boolean {
    return [...this.#running].some(call => call.late && sameGuest(ask, call))
  }

  #after(patience: Seconds | null, run: () => void): () => void {
    return patience === null ? () => {} : this.#clock.after(patience, run)
  }
}

type Place = { kind: Kind; about: string | null }
const sameGuest = (a: Place, b: Place) => a.about !== null && a.about === b.about && a.kind === b.kind

function unresponsive(about: string | null): Fault {
  if (about === null) return new Fault('LIBVIRT_UNAVAILABLE', 'libvirtd has not answered in time')
  return new Fault('VM_UNRESPONSIVE', `libvirt has not answered for VM ${about}`, { facts: { vm: about } })
}

function crowded(about: string | null): Fault {
  const what = about === null ? 'the host' : `VM ${about}`
  return new Fault('BUSY', `calls before this one keep libvirtd busy; the call about ${what} was not sent`)
}
