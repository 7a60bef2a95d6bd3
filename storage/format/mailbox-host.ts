import { FormatError } from './format-error.js'
import {
  type ExtendRequest,
  cleanSlot,
  decodeSlot,
  emptySlot,
  encodeExtend,
  pageSize,
  sealPage,
  slotBytes,
  slotCount
} from './mailbox.js'

export type Reply = { slot: number; request: ExtendRequest; done: boolean }

export type ReplyRound = {
  replies: Reply[]
  /** True when the host's page changed and must be written, followed by an event. */
  changed: boolean
  /** Slots whose answer is for another request, from before a restart. Ignored: the right one is still to come. */
  foreign: number[]
}

type InFlight = { request: ExtendRequest; state: 'asked' | 'cleaning' }

/**
 * A host's side of the mailbox: its page of the inbox and what it last saw in its page of the outbox. It only
 * computes; the caller reads and writes the pages. At the start it reads the outbox once as the baseline and
 * writes its own page, all zero.
 */
export class HostMailbox {
  readonly #page = Buffer.alloc(pageSize)
  readonly #inFlight = new Map<number, InFlight>()
  #seen: Buffer

  constructor(outboxPage: Buffer) {
    this.#seen = Buffer.from(outboxPage)
  }

  /** The page to write, with its checksum. */
  get page(): Buffer {
    return sealPage(Buffer.from(this.#page))
  }

  get inFlight(): number {
    return this.#inFlight.size
  }

  /** Takes the lowest free slot. A request that is already on its way is not posted twice. */
  post(request: ExtendRequest): { slot: number; changed: boolean } {
    const message = encodeExtend(request)
    for (let slot = 0; slot < slotCount; slot++) {
      if (slotBytes(this.#page, slot).equals(message)) return { slot, changed: false }
    }
    for (let slot = 0; slot < slotCount; slot++) {
      if (this.#inFlight.has(slot)) continue
      message.copy(slotBytes(this.#page, slot))
      this.#inFlight.set(slot, { request, state: 'asked' })
      return { slot, changed: true }
    }
    throw new FormatError('noSpace', `${slotCount} requests are on their way; another has to wait`)
  }

  /** What the manager wrote since the last reading. */
  read(outboxPage: Buffer): ReplyRound {
    const round: ReplyRound = { replies: [], changed: false, foreign: [] }
    for (const [slot, entry] of this.#inFlight) {
      const content = slotBytes(outboxPage, slot)
      if (content.equals(slotBytes(this.#seen, slot)) || content[0] === 0) continue
      if (entry.state === 'asked') this.#answer(slot, entry, content, round)
      else if (content.equals(cleanSlot)) this.#free(slot, round)
    }
    this.#seen = Buffer.from(outboxPage)
    return round
  }

  #answer(slot: number, entry: InFlight, content: Buffer, round: ReplyRound): void {
    const asked = encodeExtend(entry.request)
    if (!content.subarray(0, 37).equals(asked.subarray(0, 37))) {
      round.foreign.push(slot)
      return
    }
    const reply = decodeSlot(content)
    round.replies.push({ slot, request: entry.request, done: reply.kind === 'extend' && reply.sizeMiB > 0 })
    cleanSlot.copy(slotBytes(this.#page, slot))
    entry.state = 'cleaning'
    round.changed = true
  }

  #free(slot: number, round: ReplyRound): void {
    emptySlot.copy(slotBytes(this.#page, slot))
    this.#inFlight.delete(slot)
    round.changed = true
  }
}
