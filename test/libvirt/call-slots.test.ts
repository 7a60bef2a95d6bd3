import { setMaxListeners } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { Fault } from '../../common/fault.js'
import { seconds, type Seconds } from '../../common/units.js'
import { CallSlots, type Kind } from '../../libvirt/call-slots.js'
import { ManualClock } from './manual-clock.js'

const open = new AbortController().signal
setMaxListeners(0, open)

/** A clock that stands still until the test moves it, and a libvirtd whose replies come when the test says so. */
function world(limits: number[] = [4]) {
  const clock = new ManualClock()
  const lines = limits.map(limit => ({ limit }))
  const slots = new CallSlots<{ limit: number }>(clock)
  const sent: string[] = []
  const replies = new Map<string, () => void>()
  const call = (
    name: string,
    about: string | null = name,
    { kind = 'ordinary' as Kind, patience = seconds(10) as Seconds | null, signal = open } = {}
  ) => {
    const send = () => {
      sent.push(name)
      return new Promise<string>(resolve => replies.set(name, () => resolve(name)))
    }
    const reply = slots.run({ lines: () => lines, kind, about, patience }, send, signal)
    reply.catch(() => {})
    return reply
  }
  const reply = async (name: string) => {
    replies.get(name)?.()
    await setImmediate()
  }
  return { slots, lines, sent, call, reply, clock, advance: (by: number) => clock.advance(by) }
}

const late = new Fault('VM_UNRESPONSIVE', 'libvirt has not answered for VM g')

t.test('no more than four calls are outstanding; the fifth waits its turn', async t => {
  const { sent, call, reply } = world()
  const calls = ['a', 'b', 'c', 'd', 'e'].map(name => call(name))
  await setImmediate()
  t.strictSame(sent, ['a', 'b', 'c', 'd'])
  await reply('c')
  t.strictSame(sent, ['a', 'b', 'c', 'd', 'e'])
  for (const name of sent) await reply(name)
  t.strictSame(await Promise.all(calls), ['a', 'b', 'c', 'd', 'e'])
})

t.test('a guest has one call of a kind at a time, and others pass it by', async t => {
  const { sent, call } = world()
  void call('first', 'g')
  void call('second', 'g')
  void call('steer', 'g', { kind: 'steering' })
  void call('other', 'h')
  await setImmediate()
  t.strictSame(sent, ['first', 'steer', 'other'])
})

t.test('a guest whose call is late is refused at once, until libvirtd answers', async t => {
  const { slots, sent, call, reply, advance } = world()
  const suspend = call('suspend', 'g')
  const queued = call('queued', 'g', { patience: seconds(60) })
  await advance(10)
  await t.rejects(suspend, late)
  await t.rejects(queued, late)
  await t.rejects(call('more', 'g'), late)
  t.strictSame(slots.unresponsive(), new Set(['g']))
  void call('steer', 'g', { kind: 'steering' })

  await reply('suspend')
  void call('again', 'g')
  await setImmediate()
  t.strictSame(sent, ['suspend', 'steer', 'again'])
  t.strictSame(slots.unresponsive(), new Set())
})

t.test('a caller who loses interest says nothing about the guest, but the place stays taken', async t => {
  const { slots, sent, call, reply, advance } = world()
  const impatient = new AbortController()
  const first = call('first', 'g', { signal: impatient.signal })
  await setImmediate()
  impatient.abort(new Error('client gone'))
  await t.rejects(first, new Error('client gone'))
  t.strictSame(slots.unresponsive(), new Set())
  void call('second', 'g', { patience: seconds(60) })
  await setImmediate()
  t.strictSame(sent, ['first'])
  await reply('first')
  t.strictSame(sent, ['first', 'second'])
  await advance(1)
})

t.test('a caller who leaves the queue leaves no trace', async t => {
  const { slots, sent, call, reply, clock } = world([1])
  const impatient = new AbortController()
  void call('first', 'g')
  const queued = call('queued', 'h', { signal: impatient.signal })
  await setImmediate()
  impatient.abort(new Error('gone'))
  await t.rejects(queued, new Error('gone'))
  await reply('first')
  t.strictSame(sent, ['first'])
  t.equal(slots.waiting, 0)
  t.equal(clock.waiting, 0)
})

t.test('a call whose turn does not come is BUSY, and was never sent', async t => {
  const { sent, call, advance } = world([1])
  void call('first', 'g', { patience: null })
  const second = call('second', 'h')
  await advance(10)
  await t.rejects(second, { reason: 'BUSY' } as unknown as Fault)
  t.strictSame(sent, ['first'])
})

t.test('four stuck guests hold this line, and no call is lost when one comes back', async t => {
  const { slots, lines, call, reply, advance } = world()
  const stuck = ['a', 'b', 'c', 'd'].map(name => call(name))
  const lookup = call('lookup', null, { patience: seconds(60) })
  await advance(10)
  await Promise.allSettled(stuck)
  t.strictSame(slots.held(lines[0] ?? { limit: 0 }), { all: 4, late: 4 })
  await reply('b')
  await reply('lookup')
  t.equal(await lookup, 'lookup')
})

t.test('a line that is added while all others are held late takes the waiting call', async t => {
  const { sent, lines, call, advance } = world([1])
  void call('stuck', 'g')
  void call('waits', 'h', { patience: seconds(60) })
  await setImmediate()
  lines.push({ limit: 1 })
  await advance(10)
  t.strictSame(sent, ['stuck', 'waits'])
})

t.test('a call without a guest that is late blames libvirtd', async t => {
  const { call, advance } = world()
  const lookup = call('lookup', null)
  await advance(10)
  await t.rejects(lookup, new Fault('LIBVIRT_UNAVAILABLE', 'libvirtd has not answered in time'))
})

t.test(
  'a call that is refused in the moment in which a place becomes free does not take the place',
  async t => {
    const { slots, lines, sent, call, reply, advance } = world([1])
    void call('first', 'g')
    void call('refused', 'h')
    await advance(10)
    void call('next', 'i')
    await reply('first')
    t.strictSame(sent, ['first', 'next'])
    await reply('next')
    t.equal(slots.held(lines[0] ?? { limit: 0 }).all, 0)
  }
)
