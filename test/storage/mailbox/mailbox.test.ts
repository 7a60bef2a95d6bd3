import { randomUUID } from 'node:crypto'
import t from 'tap'
import { systemClock } from '../../../common/clock.js'
import { MiB, seconds } from '../../../common/units.js'
import type { ExtendedVolume, ExtendVolume } from '../../../storage/extend-volumes.js'
import {
  cleanSlot,
  encodeExtend,
  eventPage,
  pageSize,
  sealPage,
  slotBytes,
  slotCount
} from '../../../storage/format/mailbox.js'
import { MailboxServe } from '../../../storage/mailbox/serve.js'
import { ExtendQueue } from '../../../storage/manager/extend-queue.js'
import { mailboxWorld, never, silent, storageDomainId, until, volumeOf } from './mailbox-world.js'

const isZero = (page: Buffer) => page.every(byte => byte === 0)

t.test('a request is done, answered, and its slot is free again on both sides', async t => {
  const { sizes, manager, host, ask, inbox, outbox } = await mailboxWorld(t)
  sizes.set(volumeOf(1), MiB(2560))
  const { run } = await manager()
  run()
  const post = await host(7)
  t.equal(await post.request(ask(1), never), true)
  t.equal(sizes.get(volumeOf(1)), MiB(5120))
  await until(() => post.inFlight === 0)
  t.ok(isZero(await inbox.read(7, 1)), 'the page of the inbox is empty')
  t.strictSame(slotBytes(await outbox.read(7, 1), 0), cleanSlot)
})

t.test('an extend that failed is answered as failed, with no reason', async t => {
  const { manager, host, ask } = await mailboxWorld(t)
  const { run } = await manager()
  run()
  t.equal(await (await host(7)).request(ask(1), never), false)
})

t.test('more requests than slots all get their turn, several hosts at once', async t => {
  const { sizes, manager, host, ask, batches } = await mailboxWorld(t)
  const { run, queue } = await manager()
  run()
  const hosts = await Promise.all([host(1), host(2), host(249)])
  const asked = hosts.flatMap((post, h) => {
    return Array.from({ length: slotCount + 10 }, (_, i) => {
      sizes.set(volumeOf(h * 100 + i), MiB(128))
      return post.request(ask(h * 100 + i), never)
    })
  })
  t.ok((await Promise.all(asked)).every(done => done))
  t.equal(queue.counts.extends, asked.length)
  t.ok(batches.length < asked.length, 'many in one batch')
})

t.test('the same request twice is posted once and done once', async t => {
  const { sizes, manager, host, ask, batches } = await mailboxWorld(t)
  sizes.set(volumeOf(1), MiB(128))
  const { run } = await manager()
  const post = await host(7)
  const both = [post.request(ask(1), never), post.request(ask(1), never)]
  run()
  t.strictSame(await Promise.all(both), [true, true])
  t.equal(batches.flat().length, 1)
})

t.test('a new manager does what the old one left unanswered', async t => {
  const { sizes, manager, host, ask } = await mailboxWorld(t)
  sizes.set(volumeOf(1), MiB(128))
  const stuck = await manager(() => new Promise<ExtendedVolume[]>(() => {}))
  const post = await host(7)
  const asked = post.request(ask(1), never)
  await until(async () => {
    await stuck.serve.round(never)
    return stuck.queue.counts.requests > 0
  })
  await stuck.stop()
  const { run } = await manager()
  run()
  t.equal(await asked, true)
  t.equal(sizes.get(volumeOf(1)), MiB(5120))
})

t.test('an answer that another manager wrote over is written again when the host repeats itself', async t => {
  const { sizes, extend, inbox, outbox, ask } = await mailboxWorld(t)
  sizes.set(volumeOf(1), MiB(128))
  let ahead = 0
  const clock = { ...systemClock, monotonic: () => seconds(systemClock.monotonic() + ahead) }
  const queue = new ExtendQueue(extend)
  const serve = new MailboxServe({
    ...{ storageDomainId, inbox, outbox, clock, log: silent },
    extend: (volumeId, mebibytes) => queue.add(volumeId, MiB(mebibytes))
  })
  await serve.begin()
  const page = Buffer.alloc(pageSize)
  encodeExtend(ask(1)).copy(slotBytes(page, 0))
  const say = async () => {
    await inbox.write(7, sealPage(Buffer.from(page)))
    await inbox.write(0, eventPage(randomUUID()))
    await serve.round(never)
  }
  const isAnswered = async () => !isZero(await outbox.read(7, 1))
  await say()
  await until(isAnswered)
  await outbox.write(7, Buffer.alloc(pageSize))
  await say()
  t.notOk(await isAnswered(), 'not at once: the host may be reading it')
  ahead = 5
  await say()
  t.ok(await isAnswered())
  t.equal(queue.counts.extends, 1, 'and nothing is done twice')
})

t.test('a manager that lost its role answers nothing any more', async t => {
  const { sizes, manager, host, ask, outbox, extend } = await mailboxWorld(t)
  sizes.set(volumeOf(1), MiB(128))
  let goOn = () => {}
  const gate = new Promise<void>(resolve => (goOn = resolve))
  const late = async (volumes: readonly ExtendVolume[]) => (await gate, extend(volumes))
  const old = await manager(late)
  const post = await host(7)
  const end = new AbortController()
  const asked = post.request(ask(1), end.signal)
  old.run()
  await until(() => old.queue.counts.requests > 0)
  await old.stop()
  goOn()
  await until(() => sizes.get(volumeOf(1)) === MiB(5120))
  t.ok(isZero(await outbox.read(7, 1)))
  end.abort()
  await t.rejects(asked)
})

t.test('whoever gives up waiting leaves the request, and the slot is freed when it is answered', async t => {
  const { sizes, manager, host, ask } = await mailboxWorld(t)
  sizes.set(volumeOf(1), MiB(128))
  const post = await host(7)
  const end = new AbortController()
  const asked = post.request(ask(1), end.signal)
  end.abort(new Error('enough'))
  await t.rejects(asked, /enough/)
  t.equal(post.inFlight, 1)
  const { run } = await manager()
  run()
  await until(() => post.inFlight === 0)
  t.equal(sizes.get(volumeOf(1)), MiB(5120))
})

t.test('a host that starts again takes its old requests away', async t => {
  const { host, ask, inbox } = await mailboxWorld(t)
  const first = await host(7)
  void first.request(ask(1), never).catch(() => {})
  await until(async () => !isZero(await inbox.read(7, 1)))
  await host(7)
  t.ok(isZero(await inbox.read(7, 1)))
})

t.test('an answer to a request of an earlier life is counted, and the right one is waited for', async t => {
  const { host, ask, outbox } = await mailboxWorld(t)
  const post = await host(7)
  const asked = post.request(ask(1), never)
  const page = Buffer.alloc(pageSize)
  encodeExtend(ask(2)).copy(slotBytes(page, 0))
  await outbox.write(7, page)
  await until(() => post.foreign > 0)
  t.equal(post.inFlight, 1)
  encodeExtend(ask(1)).copy(slotBytes(page, 0))
  await outbox.write(7, page)
  t.equal(await asked, true)
})

/** One page as somebody else might have left it, and what the manager makes of it. */
type Odd = [why: string, page: (ask: (n: number) => Buffer) => Buffer, counted: object, done: number]
const pageWith = (...messages: Buffer[]) => {
  const page = Buffer.alloc(pageSize)
  messages.forEach((message, slot) => message.copy(slotBytes(page, slot)))
  return page
}
const none = { torn: 0, unknown: 0, foreign: 0, unreadable: 0 }
const odd: Odd[] = [
  ['a torn page is ignored', ask => pageWith(ask(1)), { ...none, torn: 1 }, 0],
  [
    'a page with one flipped bit is ignored',
    ask => {
      const page = sealPage(pageWith(ask(1)))
      page.writeUInt8(page.readUInt8(700) ^ 4, 700)
      return page
    },
    { ...none, torn: 1 },
    0
  ],
  ['a page of noise is ignored', () => Buffer.alloc(pageSize, 0xa5), { ...none, torn: 1 }, 0],
  [
    'an unknown operation is ignored, its neighbour is served',
    ask => sealPage(pageWith(Buffer.from('1what'.padEnd(64, '0')), ask(1))),
    { ...none, unknown: 1 },
    1
  ],
  [
    'a size that is no number is ignored',
    ask => {
      const message = ask(1)
      message.write('zzzz', 40)
      return sealPage(pageWith(message))
    },
    { ...none, unknown: 1 },
    0
  ],
  [
    'a request for another storage domain is ignored',
    () => {
      const request = { storageDomainId: randomUUID(), volumeId: volumeOf(1), sizeMiB: 5120 }
      return sealPage(pageWith(encodeExtend(request)))
    },
    { ...none, foreign: 1 },
    0
  ],
  ['a good page is served', ask => sealPage(pageWith(ask(1))), none, 1]
]

for (const [why, make, counted, done] of odd) {
  t.test(why, async t => {
    const { sizes, manager, ask, inbox, batches } = await mailboxWorld(t)
    sizes.set(volumeOf(1), MiB(128))
    const { serve } = await manager()
    await inbox.write(
      9,
      make(n => encodeExtend(ask(n)))
    )
    await inbox.write(0, eventPage(randomUUID()))
    await serve.round(never)
    await until(() => batches.flat().length === done)
    t.strictSame(serve.ignored, counted)
    t.equal(batches.flat().length, done)
  })
}

t.test('a page that was torn is read again at the next look, without an event', async t => {
  const { sizes, manager, ask, inbox, batches } = await mailboxWorld(t)
  sizes.set(volumeOf(1), MiB(128))
  const { serve } = await manager()
  const page = pageWith(encodeExtend(ask(1)))
  await inbox.write(9, page)
  await inbox.write(0, eventPage(randomUUID()))
  await serve.round(never)
  await inbox.write(9, sealPage(page))
  await serve.round(never)
  await until(() => batches.length > 0)
  t.equal(batches.flat().length, 1)
})

t.test('a page that is written again, and one replayed after an empty one, extend nothing twice', async t => {
  const { sizes, manager, ask, inbox } = await mailboxWorld(t)
  sizes.set(volumeOf(1), MiB(128))
  const { serve, queue } = await manager()
  const page = sealPage(pageWith(encodeExtend(ask(1))))
  for (const content of [page, page, Buffer.alloc(pageSize), page]) {
    await inbox.write(9, content)
    await inbox.write(0, eventPage(randomUUID()))
    await serve.round(never)
    await until(() => queue.length === 0)
  }
  t.equal(queue.counts.requests, 2, 'the page that is written again is no news')
  t.equal(sizes.get(volumeOf(1)), MiB(5120), 'sizes are absolute')
})

t.test('without an event the inbox is not read', async t => {
  const { sizes, manager, ask, inbox, batches } = await mailboxWorld(t)
  sizes.set(volumeOf(1), MiB(128))
  const { serve } = await manager()
  await serve.round(never)
  await inbox.write(9, sealPage(pageWith(encodeExtend(ask(1)))))
  await serve.round(never)
  t.equal(batches.length, 0)
})
