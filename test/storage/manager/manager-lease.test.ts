import { pino } from 'pino'
import t from 'tap'
import { bytes, seconds } from '../../../common/units.js'
import { ManagerLease } from '../../../storage/manager-lease.js'
import type { Sanlock } from '../../../storage/sanlock.js'

// The lease of the manager in one process, with a daemon that gives it as soon as nobody else has it.

const never = new AbortController().signal
const log = pino({ level: 'silent' })
const resource = { lockspace: 'sd', name: 'SDM', path: '/x', offset: bytes(0) }
const turn = () => new Promise(resolve => setImmediate(resolve))

function world(heldElsewhere = 0) {
  const calls: string[] = []
  const timers = new Set<{ delay: number; run: () => void }>()
  let elsewhere = heldElsewhere
  const sanlock = {
    mode: 'daemon',
    acquire: async (_: object, __: number, ___: AbortSignal, onHeld: () => void) => {
      for (; elsewhere > 0; elsewhere--) {
        onHeld()
        await turn()
      }
      calls.push('acquire')
    },
    release: async () => void calls.push('release')
  }
  const clock = {
    ...{ monotonic: () => seconds(0), wall: () => 0, random: () => 0, newId: () => 'id' },
    after: (delay: number, run: () => void) => {
      const timer = { delay, run }
      timers.add(timer)
      return () => timers.delete(timer)
    }
  }
  const elapse = async () => {
    for (const timer of [...timers]) {
      timers.delete(timer)
      timer.run()
    }
    await turn()
  }
  return {
    lease: new ManagerLease(sanlock as unknown as Sanlock, resource, clock, log),
    calls,
    elapse,
    timers
  }
}

t.test('it stays a moment after its last user, for the next', async t => {
  const { lease, calls, elapse } = world()
  const hold = await lease.hold(never)
  await hold[Symbol.asyncDispose]()
  const again = await lease.hold(never)
  await again[Symbol.asyncDispose]()
  t.strictSame(calls, ['acquire'])
  await elapse()
  t.strictSame(calls, ['acquire', 'release'])
})

t.test('another host that asks gets it at once when nobody here uses it', async t => {
  const { lease, calls } = world()
  const hold = await lease.hold(never)
  await hold[Symbol.asyncDispose]()
  t.equal(await lease.yield(), true)
  t.strictSame(calls, ['acquire', 'release'])
  t.notOk(lease.isHeld)
})

t.test('it gets it as soon as the operation at work ends; what begins meanwhile waits behind it', async t => {
  const { lease, calls } = world()
  const hold = await lease.hold(never)
  const given = lease.yield()
  const next = lease.hold(never)
  await turn()
  t.strictSame(calls, ['acquire'])
  await hold[Symbol.asyncDispose]()
  t.equal(await given, true)
  await next
  t.strictSame(calls, ['acquire', 'release', 'acquire'])
})

t.test('an operation that takes long keeps it, and those that waited go on', async t => {
  const { lease, calls, elapse } = world()
  await lease.hold(never)
  const given = lease.yield()
  const next = lease.hold(never)
  await elapse()
  t.equal(await given, false)
  await next
  t.strictSame(calls, ['acquire'])
  t.ok(lease.isHeld)
})

t.test('an operation inside another one is no deadlock', async t => {
  const { lease, elapse } = world()
  const outer = await lease.hold(never)
  const given = lease.yield()
  const inner = lease.hold(never).then(async hold => hold[Symbol.asyncDispose]())
  await elapse()
  await inner
  await outer[Symbol.asyncDispose]()
  t.equal(await given, false)
  t.equal(await lease.yield(), true, 'the next who asks has it')
})

t.test('whoever waits for another host says so, again and again', async t => {
  const { lease } = world(3)
  let told = 0
  lease.onHeldElsewhere = () => told++
  await lease.hold(never)
  t.equal(told, 3)
})
