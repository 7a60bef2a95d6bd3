import fc from 'fast-check'
import t from 'tap'
import { HostMailbox } from '../../../storage/format/mailbox-host.js'
import { ManagerMailbox, messageNumber } from '../../../storage/format/mailbox-manager.js'
import {
  type ExtendRequest,
  areaSize,
  cleanSlot,
  decodeSlot,
  encodeExtend,
  eventOf,
  eventPage,
  isPageSealed,
  pageChecksum,
  pageOf,
  pageSize,
  sealPage,
  slotBytes,
  slotCount,
  usedSlots
} from '../../../storage/format/mailbox.js'

const request: ExtendRequest = {
  storageDomainId: '8adbc85e-e554-4ae0-b318-8a5465fe5fe1',
  volumeId: 'd772f1c6-3ebb-43c3-a42e-73fcd8255a5f',
  sizeMiB: 7680
}
const other = (n: number): ExtendRequest => ({
  ...request,
  volumeId: `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`
})

// The worked example of the format's description.
const hex =
  '3178746e64e15ffe65548a18b3e04a54e55ec8db8a5f5a25d8fc732ea4c343bb3ec6f172d7' +
  '303030303030303030303030316530303030303030303030303030'

t.test('a message has the bytes of the description', async t => {
  t.equal(encodeExtend(request).toString('hex'), hex)
  t.strictSame(decodeSlot(Buffer.from(hex, 'hex')), { kind: 'extend', version: '1', ...request })
})

t.test('checksums are those of the description', async t => {
  const page = Buffer.alloc(pageSize)
  encodeExtend(request).copy(page)
  t.equal(pageChecksum(page), 6501)
  t.equal(sealPage(page).toString('hex', 4092), '65190000')
  t.equal(pageChecksum(Buffer.alloc(pageSize, 0xff)), 1_043_460)
})

t.test('every single bit that flips in a page is noticed', async t => {
  const page = new HostMailbox(Buffer.alloc(pageSize))
  page.post(request)
  for (let bit = 0; bit < 64 * 8; bit++) {
    const flipped = page.page
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    t.notOk(isPageSealed(flipped))
  }
})

t.test('an event block carries its UUID as written', async t => {
  const page = eventPage(request.volumeId)
  t.equal(page.toString('latin1', 0, 4), '\0evt')
  t.equal(eventOf(page), request.volumeId)
  t.equal(eventOf(Buffer.alloc(pageSize)), null)
})

t.test('sizes that have no 32 bits are refused', async t => {
  for (const sizeMiB of [-1, 1.5, 2 ** 32, Number.NaN]) {
    t.throws(() => encodeExtend({ ...request, sizeMiB }), { name: 'FormatError', reason: 'overflow' })
  }
})

/** Host and manager over one storage, page by page, as the protocol goes. */
class Storage {
  readonly inbox = Buffer.alloc(areaSize)
  readonly outbox = Buffer.alloc(areaSize)
  manager = new ManagerMailbox()

  write(hostId: number, host: HostMailbox): void {
    host.page.copy(pageOf(this.inbox, hostId))
  }

  serve(done: boolean | null) {
    const round = this.manager.read(this.inbox)
    for (const hostId of round.cleaned) this.manager.outboxPage(hostId).copy(pageOf(this.outbox, hostId))
    if (done === null) return round
    for (const posted of round.requests) {
      this.manager.reply(posted, done).copy(pageOf(this.outbox, posted.sanlockHostId))
    }
    return round
  }

  newManager(): void {
    this.manager = new ManagerMailbox()
    this.manager.outbox.copy(this.outbox)
  }
}

for (const done of [true, false]) {
  t.test(
    `a request is answered (${done ? 'done' : 'failed'}), both sides forget it, and the slot is free`,
    async t => {
      const storage = new Storage()
      const host = new HostMailbox(pageOf(storage.outbox, 3))
      t.strictSame(host.post(request), { slot: 0, changed: true })
      storage.write(3, host)
      t.strictSame(storage.serve(done).requests, [{ ...request, sanlockHostId: 3, slot: 0 }])

      const answered = host.read(pageOf(storage.outbox, 3))
      t.strictSame(answered, { replies: [{ slot: 0, request, done }], changed: true, foreign: [] })
      storage.write(3, host)
      t.strictSame(storage.serve(true).requests, [])

      const freed = host.read(pageOf(storage.outbox, 3))
      t.strictSame(freed, { replies: [], changed: true, foreign: [] })
      t.equal(host.inFlight, 0)
      t.ok(host.page.equals(Buffer.alloc(pageSize)))
      t.ok(slotBytes(pageOf(storage.outbox, 3), 0).equals(cleanSlot), 'CLEAN stays in the outbox')
      storage.write(3, host)
      t.strictSame(storage.serve(null).requests, [])
    }
  )
}

t.test('a slot is used again while its old CLEAN is still in the outbox', async t => {
  const storage = new Storage()
  const host = new HostMailbox(pageOf(storage.outbox, 7))
  for (let round = 0; round < 3; round++) {
    t.equal(host.post(other(round)).slot, 0)
    for (const _step of ['ask', 'clean', 'free']) {
      storage.write(7, host)
      storage.serve(true)
      host.read(pageOf(storage.outbox, 7))
    }
    t.equal(host.inFlight, 0, `round ${round}`)
  }
})

t.test('the same request is not posted twice, and the 64th waits', async t => {
  const host = new HostMailbox(Buffer.alloc(pageSize))
  for (let n = 0; n < slotCount; n++) t.equal(host.post(other(n)).slot, n)
  t.strictSame(host.post(other(5)), { slot: 5, changed: false })
  t.throws(() => host.post(other(99)), { name: 'FormatError', reason: 'noSpace' })
})

t.test('a new manager serves again everything that was not answered', async t => {
  const storage = new Storage()
  const hosts = [3, 17, 249].map(id => ({ id, host: new HostMailbox(pageOf(storage.outbox, id)) }))
  for (const { id, host } of hosts) {
    host.post(request)
    host.post(other(id))
    storage.write(id, host)
  }
  storage.serve(null) // read, and died before answering
  storage.newManager()
  t.strictSame(
    storage.serve(true).requests.map(({ sanlockHostId, slot }) => messageNumber(sanlockHostId, slot)),
    [192, 193, 1088, 1089, 15_936, 15_937]
  )
  for (const { id, host } of hosts) t.equal(host.read(pageOf(storage.outbox, id)).replies.length, 2)
})

t.test('a torn page is ignored this round and read in the next', async t => {
  const storage = new Storage()
  const host = new HostMailbox(pageOf(storage.outbox, 3))
  host.post(request)
  host.post(other(1))
  host.page.copy(pageOf(storage.inbox, 3), 0, 0, 512) // only one sector arrived
  t.match(storage.serve(true), { requests: [], torn: [3] })
  storage.write(3, host)
  t.match(storage.serve(true), { torn: [], requests: { length: 2 } })
})

t.test('a late reply for a request from before a restart leaves the new request alone', async t => {
  const storage = new Storage()
  const before = new HostMailbox(pageOf(storage.outbox, 3))
  before.post(request)
  storage.write(3, before)
  const after = new HostMailbox(pageOf(storage.outbox, 3))
  after.post(other(1))
  storage.serve(true)
  t.strictSame(after.read(pageOf(storage.outbox, 3)), { replies: [], changed: false, foreign: [0] })
  storage.write(3, after)
  storage.serve(true)
  t.match(after.read(pageOf(storage.outbox, 3)), { replies: [{ slot: 0, done: true }] })
})

t.test('messages that ask for anything else are reported and not served', async t => {
  const storage = new Storage()
  const page = pageOf(storage.inbox, 5)
  page.write('1evil')
  sealPage(page)
  t.match(storage.serve(true), { requests: [], unknown: [{ sanlockHostId: 5, slot: 0 }] })
})

t.test('page 0 is never served', async t => {
  const storage = new Storage()
  eventPage(request.volumeId).copy(storage.inbox)
  t.match(storage.serve(true), { requests: [], torn: [] })
})

t.test('every request survives its message', async () => {
  const requests = fc.record(
    { storageDomainId: fc.uuid(), volumeId: fc.uuid(), sizeMiB: fc.nat({ max: 2 ** 31 - 1 }) },
    { noNullPrototype: true }
  )
  fc.assert(
    fc.property(requests, written => {
      const slot = decodeSlot(encodeExtend(written))
      return slot.kind === 'extend' && t.strictSame(slot, { kind: 'extend', version: '1', ...written })
    })
  )
})

t.test('any page gives slots, any inbox a round of the manager', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 256 }), fc.boolean(), (raw, isTrue) => {
      const area = Buffer.alloc(areaSize)
      const page = pageOf(area, 9)
      Buffer.from(raw).copy(page)
      if (isTrue) sealPage(page)
      const round = new ManagerMailbox().read(area)
      return round.requests.length <= 4 && usedSlots(page).length <= 4
    }),
    { numRuns: 50 }
  )
})
