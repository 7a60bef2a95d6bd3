import {
  type ExtendRequest,
  areaSize,
  cleanSlot,
  decodeSlot,
  encodeExtend,
  isPageSealed,
  pageCount,
  pageOf,
  slotBytes,
  slotCount
} from './mailbox.js'

export type PostedRequest = ExtendRequest & { sanlockHostId: number; slot: number }

export type InboxRound = {
  requests: PostedRequest[]
  /** Pages of the outbox to write because the host said CLEAN and got CLEAN. */
  cleaned: number[]
  /** Hosts whose page was torn or damaged; it is read again in the next round. */
  torn: number[]
  /** Hosts whose page says what it said before: if they say it again, they may not have heard the answer. */
  unchanged: number[]
  /** Messages that are no extend request. */
  unknown: Array<{ sanlockHostId: number; slot: number }>
}

/** VDSM's number of a message: it names the slot among all slots of all hosts. */
export const messageNumber = (sanlockHostId: number, slot: number): number => sanlockHostId * 64 + slot

/**
 * The manager's side of the mailbox. A new manager zeroes the whole outbox and begins with an empty previous
 * reading, so every request that nobody answered is new to it: a change of manager loses none.
 */
export class ManagerMailbox {
  readonly #previous = Buffer.alloc(areaSize)
  readonly #outbox = Buffer.alloc(areaSize)

  /** What to write over the outbox before the first reading. */
  get outbox(): Buffer {
    return Buffer.from(this.#outbox)
  }

  outboxPage(sanlockHostId: number): Buffer {
    return Buffer.from(pageOf(this.#outbox, sanlockHostId))
  }

  /** Compares the inbox (250 pages) with the last reading. */
  read(inbox: Buffer): InboxRound {
    const round: InboxRound = { requests: [], cleaned: [], torn: [], unchanged: [], unknown: [] }
    for (let host = 1; host < pageCount; host++) {
      const page = pageOf(inbox, host)
      if (isUnused(page)) pageOf(this.#previous, host).fill(0)
      else if (!isPageSealed(page)) round.torn.push(host)
      else this.#readPage(host, page, round)
    }
    return round
  }

  #readPage(host: number, page: Buffer, round: InboxRound): void {
    const previous = pageOf(this.#previous, host)
    if (page.equals(previous)) round.unchanged.push(host)
    for (let slot = 0; slot < slotCount; slot++) {
      const content = slotBytes(page, slot)
      if (content.equals(slotBytes(previous, slot))) continue
      this.#readSlot(host, slot, content, round)
    }
    page.copy(previous)
  }

  #readSlot(host: number, slot: number, content: Buffer, round: InboxRound): void {
    const message = decodeSlot(content)
    switch (message.kind) {
      case 'empty':
        return
      case 'clean':
        cleanSlot.copy(slotBytes(pageOf(this.#outbox, host), slot))
        if (!round.cleaned.includes(host)) round.cleaned.push(host)
        return
      case 'unknown':
        round.unknown.push({ sanlockHostId: host, slot })
        return
      case 'extend': {
        const { storageDomainId, volumeId, sizeMiB } = message
        round.requests.push({ sanlockHostId: host, slot, storageDomainId, volumeId, sizeMiB })
      }
    }
  }

  /** Answers a request; a failure travels as size 0. Returns the host's page of the outbox, to be written. */
  reply(request: PostedRequest, done: boolean): Buffer {
    const message = encodeExtend({ ...request, sizeMiB: done ? request.sizeMiB : 0 })
    message.copy(slotBytes(pageOf(this.#outbox, request.sanlockHostId), request.slot))
    return this.outboxPage(request.sanlockHostId)
  }
}

function isUnused(page: Buffer): boolean {
  for (let slot = 0; slot < slotCount; slot++) if (page[slot * 64] !== 0) return false
  return true
}
