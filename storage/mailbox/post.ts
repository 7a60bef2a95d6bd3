import { sleep, type Clock } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import type { Logger } from '../../common/log.js'
import { seconds, type Seconds } from '../../common/units.js'
import { eventPage, type ExtendRequest, slotCount } from '../format/mailbox.js'
import { HostMailbox } from '../format/mailbox-host.js'
import type { Pages } from './pages.js'

type Parts = { inbox: Pages; outbox: Pages; sanlockHostId: number; clock: Clock; log: Logger }
type Waiter = { request: ExtendRequest; answer: (done: boolean) => void; fail: (error: unknown) => void }

const look = seconds(0.05)
/** A page whose oldest request nobody answered is written again: it may have been torn, or lost. */
const rewriteAfter = seconds(5)
const failuresUntilPause = 9
const pauseAfterFailures = seconds(10)

/**
 * A host's side of the mailbox: requests go into its page of the inbox, answers come from its page of the outbox.
 * It reads only while something is on its way.
 */
export class MailboxPost {
  readonly #parts: Parts
  readonly #mailbox: HostMailbox
  readonly #waiters = new Set<Waiter>()
  readonly #queue: Waiter[] = []
  readonly #end = new AbortController()
  #looking: Promise<void> | null = null
  #writtenAt: Seconds
  #writing: Promise<void> = Promise.resolve()
  /** Answers to requests of an earlier life in a slot that is used again. */
  foreign = 0

  private constructor(parts: Parts, mailbox: HostMailbox) {
    this.#parts = parts
    this.#mailbox = mailbox
    this.#writtenAt = parts.clock.monotonic()
  }

  /** What an earlier life of this host asked for is taken away; whoever still wants it asks again. */
  static async open(parts: Parts): Promise<MailboxPost> {
    const baseline = await parts.outbox.read(parts.sanlockHostId, 1)
    const post = new MailboxPost(parts, new HostMailbox(baseline))
    await post.#write()
    return post
  }

  get inFlight(): number {
    return this.#mailbox.inFlight + this.#queue.length
  }

  /**
   * Whether the manager says that it is done. When the signal comes first the request stays where it is: a
   * manager may be doing it. The answer then finds nobody, and the slot is freed all the same.
   */
  request(request: ExtendRequest, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const settled = () => signal.removeEventListener('abort', stop)
      const waiter: Waiter = {
        request,
        answer: done => (settled(), resolve(done)),
        fail: error => (settled(), reject(error))
      }
      const stop = () => {
        this.#waiters.delete(waiter)
        const at = this.#queue.indexOf(waiter)
        if (at >= 0) this.#queue.splice(at, 1)
        waiter.fail(signal.reason)
      }
      signal.addEventListener('abort', stop, { once: true })
      // No slot is free: it waits its turn. A page that cannot be written now is written by the next look.
      if (this.#mailbox.inFlight >= slotCount) this.#queue.push(waiter)
      else this.#post([waiter]).catch((error: unknown) => this.#warn(error))
      this.#looking ??= this.#untilAnswered()
    })
  }

  /** Zeroes the page: nobody waits for answers any more. */
  async close(): Promise<void> {
    this.#end.abort()
    await this.#looking
    const ended = new Fault('INTERRUPTED', 'the mailbox is closed')
    for (const { fail } of [...this.#waiters, ...this.#queue]) fail(ended)
    const { inbox, sanlockHostId } = this.#parts
    await this.#writing.catch(() => {})
    await inbox.write(sanlockHostId, Buffer.alloc(this.#mailbox.page.length))
  }

  async #post(waiters: readonly Waiter[]): Promise<void> {
    let isChanged = false
    for (const waiter of waiters) {
      isChanged = this.#mailbox.post(waiter.request).changed || isChanged
      this.#waiters.add(waiter)
    }
    if (isChanged) await this.#write()
  }

  /** The page, then the event that tells the manager of it. */
  #write(): Promise<void> {
    const mine = this.#writing.then(async () => {
      const { inbox, sanlockHostId, clock } = this.#parts
      await inbox.write(sanlockHostId, this.#mailbox.page)
      await inbox.write(0, eventPage(clock.newId()))
      this.#writtenAt = clock.monotonic()
    })
    // Not on storage yet: the next look writes again.
    this.#writing = mine.catch(() => void (this.#writtenAt = seconds(-Infinity)))
    return mine
  }

  async #untilAnswered(): Promise<void> {
    const { clock } = this.#parts
    let failures = 0
    while (this.inFlight > 0 && !this.#end.signal.aborted) {
      await sleep(clock, failures > failuresUntilPause ? pauseAfterFailures : look, this.#end.signal).catch(
        () => {}
      )
      try {
        if (!this.#end.signal.aborted) await this.#round()
        failures = 0
      } catch (error) {
        if (failures++ === 0) this.#warn(error)
      }
    }
    this.#looking = null
  }

  async #round(): Promise<void> {
    const { outbox, sanlockHostId, clock } = this.#parts
    const { replies, changed, foreign } = this.#mailbox.read(await outbox.read(sanlockHostId, 1))
    this.foreign += foreign.length
    for (const { request, done } of replies) this.#answer(request, done)
    const free = Math.max(0, slotCount - this.#mailbox.inFlight)
    const next = this.#queue.splice(0, free)
    if (next.length > 0) await this.#post(next)
    if (changed || clock.monotonic() - this.#writtenAt > rewriteAfter) await this.#write()
  }

  #warn(error: unknown): void {
    this.#parts.log.warn({ err: error }, 'mailbox cannot be read or written')
  }

  #answer(request: ExtendRequest, done: boolean): void {
    for (const waiter of this.#waiters) {
      const { volumeId, sizeMiB } = waiter.request
      if (volumeId !== request.volumeId || sizeMiB !== request.sizeMiB) continue
      this.#waiters.delete(waiter)
      waiter.answer(done)
    }
  }
}
