import { sleep, type Clock } from '../../common/clock.js'
import type { Logger } from '../../common/log.js'
import { seconds, type Seconds } from '../../common/units.js'
import type { ExtendedVolume } from '../extend-volumes.js'
import { eventOf, pageCount } from '../format/mailbox.js'
import { ManagerMailbox, type PostedRequest } from '../format/mailbox-manager.js'
import type { Pages } from './pages.js'

type Parts = {
  storageDomainId: string
  inbox: Pages
  outbox: Pages
  /** Where all ways of asking meet. */
  extend: (volumeId: string, mebibytes: number) => Promise<ExtendedVolume>
  clock: Clock
  log: Logger
}

/** What was ignored, and why. */
export type Ignored = { torn: number; unknown: number; foreign: number; unreadable: number }

const lively = seconds(0.02)
const idle = seconds(0.05)
const stillLively = seconds(10)
/** An event may be lost when two hosts write it at once: so the whole inbox is read this often anyway. */
const whole = seconds(2)
const answerAgainAfter = seconds(2)
const failuresUntilPause = 9
const pauseAfterFailures = seconds(10)

/**
 * The manager's side of the mailbox. The event block is read 20 times a second (50 while somebody writes), the
 * inbox only when it has changed. Requests are answered when they are done, in the order in which they end.
 */
export class MailboxServe {
  readonly #parts: Parts
  readonly #mailbox = new ManagerMailbox()
  readonly ignored: Ignored = { torn: 0, unknown: 0, foreign: 0, unreadable: 0 }
  #seenEvent: string | null = null
  #readAt: Seconds | null = null
  #livelyAt: Seconds
  #readAgain = false
  #served = 0
  /** When each host's page of the outbox was written last. */
  readonly #wroteAt = new Map<number, Seconds>()

  constructor(parts: Parts) {
    this.#parts = parts
    this.#livelyAt = parts.clock.monotonic()
  }

  get served(): number {
    return this.#served
  }

  /** Takes the mailbox over: whatever stood unanswered in the inbox is new to us, so no request is lost. */
  async begin(): Promise<void> {
    await this.#parts.outbox.write(0, this.#mailbox.outbox)
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#parts
    let failures = 0
    while (!signal.aborted) {
      try {
        await this.round(signal)
        failures = 0
      } catch (error) {
        this.ignored.unreadable++
        if (failures++ === 0 && !signal.aborted) log.warn({ err: error }, 'mailbox cannot be read or written')
      }
      const isLively = clock.monotonic() - this.#livelyAt < stillLively
      const pause = failures > failuresUntilPause ? pauseAfterFailures : isLively ? lively : idle
      await sleep(clock, pause, signal).catch(() => {})
    }
  }

  /** One look. Public for tests that want no loop. */
  async round(signal: AbortSignal): Promise<void> {
    const { inbox, clock } = this.#parts
    const event = eventOf(await inbox.read(0, 1))
    const now = clock.monotonic()
    const isNew = event !== this.#seenEvent
    if (!isNew && !this.#readAgain && this.#readAt !== null && now - this.#readAt < whole) return
    this.#seenEvent = event
    this.#readAt = now
    if (isNew) this.#livelyAt = now
    const unchanged = await this.#readInbox(await inbox.read(0, pageCount), signal)
    if (isNew) await this.#answerAgain(unchanged)
  }

  /**
   * A host says the same again every 5 s until it has its answer. A manager that stood still while we took over may
   * have written its last page over ours; so what we have said stands there again.
   */
  async #answerAgain(hosts: readonly number[]): Promise<void> {
    const now = this.#parts.clock.monotonic()
    for (const host of hosts) {
      if (now - (this.#wroteAt.get(host) ?? -Infinity) > answerAgainAfter) await this.#writeOutbox(host)
    }
  }

  async #writeOutbox(host: number): Promise<void> {
    this.#wroteAt.set(host, this.#parts.clock.monotonic())
    await this.#parts.outbox.write(host, this.#mailbox.outboxPage(host))
  }

  async #readInbox(content: Buffer, signal: AbortSignal): Promise<number[]> {
    const { storageDomainId, log } = this.#parts
    const { requests, cleaned, torn, unchanged, unknown } = this.#mailbox.read(content)
    // Torn just now, or damaged for good: the next look tells, and costs little.
    this.#readAgain = torn.length > 0
    this.ignored.torn += torn.length
    this.ignored.unknown += unknown.length
    if (unknown.length > 0) log.warn({ messages: unknown }, 'messages that are no request are ignored')
    for (const host of cleaned) await this.#writeOutbox(host)
    for (const request of requests) {
      if (request.storageDomainId === storageDomainId) void this.#serve(request, signal)
      else {
        this.ignored.foreign++
        log.warn({ request }, 'a request for another storage domain is ignored')
      }
    }
    return unchanged
  }

  async #serve(request: PostedRequest, signal: AbortSignal): Promise<void> {
    const { extend, log } = this.#parts
    try {
      const done = await extend(request.volumeId, request.sizeMiB).then(
        ({ failure }) => failure === null,
        (error: unknown) => {
          log.warn({ err: error, request }, 'request in the mailbox not served')
          return false
        }
      )
      // Whoever lost the role says nothing: the next manager zeroes the outbox and does it again.
      if (signal.aborted) return
      this.#mailbox.reply(request, done)
      await this.#writeOutbox(request.sanlockHostId)
      this.#served++
    } catch (error) {
      log.warn({ err: error, request }, 'answer not written to the mailbox')
    }
  }
}
