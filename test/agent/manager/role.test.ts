import { pino } from 'pino'
import t from 'tap'
import { Role, type RoleParts } from '../../../agent/manager/role.js'
import { Fault } from '../../../common/fault.js'
import { bytes, MiB, seconds } from '../../../common/units.js'

// The role of this host (number 1) beside host2 (number 2), with a lease that a test moves. Time stands still unless a
// test lets it go on.

const sd = 'sd'
const none = new AbortController().signal

function world(change: { owner?: number | null; busy?: boolean; unreachable?: boolean } = {}) {
  const lease = { owner: change.owner ?? null, isManager: false }
  const asked: string[] = []
  const time = { now: 0 }
  const state = {
    busy: change.busy ?? false,
    unreachable: change.unreachable ?? false,
    usable: true as boolean | null
  }
  const parts: RoleParts = {
    worker: {
      state: async () => ({ ...lease }),
      take: async () => {
        if (lease.owner !== null && lease.owner !== 1) throw new Fault('LEASE_HELD', 'another host')
        asked.push('take')
        Object.assign(lease, { owner: 1, isManager: true })
      },
      giveUp: async () => {
        asked.push('giveUp')
        Object.assign(lease, { owner: null, isManager: false })
      },
      handOver: async () => {
        asked.push('handOver')
        if (state.busy) return Object.assign(lease, { isManager: false }) === null
        Object.assign(lease, { owner: null, isManager: false })
        return true
      },
      extend: async (_, volumeId, to) => (asked.push('extend'), { volumeId, size: to, failure: null })
    },
    askFor: async (hostId, _, isForGood) => {
      asked.push(`ask ${hostId}${isForGood ? ' for good' : ''}`)
      if (state.unreachable) throw new Fault('HOST_UNREACHABLE', 'no route')
      if (!state.busy) lease.owner = null
      return !state.busy
    },
    hostIdOf: number => (number === 2 ? 'host2' : null),
    ownSanlockHostId: () => 1,
    isUsable: () => state.usable,
    onChange: () => {},
    stands: () => lease.isManager,
    idle: seconds(30),
    clock: {
      monotonic: () => seconds(time.now),
      wall: () => 0,
      random: () => 0,
      newId: () => 'id',
      after: (delay, run) => {
        time.now += delay
        const timer = setImmediate(run)
        return () => clearImmediate(timer)
      }
    },
    log: pino({ level: 'silent' })
  }
  return { role: new Role(parts), lease, asked, time, state }
}

const settled = () => new Promise(resolve => setTimeout(resolve, 5))

t.test('the preferred host takes a role that nobody has', async t => {
  const { role, asked, lease } = world()
  role.prefer(sd, true, none)
  await settled()
  t.strictSame(asked, ['take'])
  t.equal(lease.owner, 1)
})

t.test('it asks the host that has it, and takes it at once', async t => {
  const { role, asked, lease } = world({ owner: 2 })
  role.prefer(sd, true, none)
  await settled()
  t.strictSame(asked, ['ask host2 for good', 'take'])
  t.ok(lease.isManager)
})

t.test('a lease that an operation elsewhere needs is asked for again, a second later', async t => {
  const { role, asked, time, state } = world({ owner: 2, busy: true })
  role.prefer(sd, true, none)
  await settled()
  await role.round(none)
  t.strictSame(asked, ['ask host2 for good'])
  state.busy = false
  time.now += 1
  await role.round(none)
  t.strictSame(asked, ['ask host2 for good', 'ask host2 for good', 'take'])
})

t.test('a host that does not answer is no obstacle: sanlock decides, again every five seconds', async t => {
  const { role, lease, time, asked } = world({ owner: 2, unreachable: true })
  role.prefer(sd, true, none)
  await settled()
  time.now += 1
  await role.round(none)
  t.strictSame(asked, ['ask host2 for good'])
  lease.owner = null
  time.now += 5
  await role.round(none)
  t.ok(lease.isManager)
})

t.test('the preferred host keeps the role although nobody asks it', async t => {
  const { role, time, asked } = world()
  role.prefer(sd, true, none)
  await settled()
  time.now += 3600
  await role.round(none)
  t.strictSame(asked, ['take'])
})

t.test('one that is not preferred any more keeps it until nobody has asked for so long', async t => {
  const { role, time, asked } = world()
  role.prefer(sd, true, none)
  await settled()
  role.prefer(sd, false, none)
  time.now += 29
  await role.round(none)
  await role.extend(sd, 'v', MiB(128), none)
  time.now += 29
  await role.round(none)
  t.strictSame(asked, ['take', 'extend'])
  time.now += 1
  await role.round(none)
  t.strictSame(asked, ['take', 'extend', 'giveUp'])
})

t.test('a role that came after whoever asked for it had gone is given up when idle', async t => {
  const { role, lease, time, asked } = world()
  // The debug door knows the storage domain, nobody asked.
  await role.extend(sd, 'v', MiB(128), none)
  Object.assign(lease, { owner: 1, isManager: true })
  await role.round(none)
  time.now += 30
  await role.round(none)
  t.strictSame(asked, ['extend', 'giveUp'])
})

t.test('a lent role is taken back after three seconds', async t => {
  const { role, asked, lease, time } = world()
  role.prefer(sd, true, none)
  await settled()
  t.equal(await role.handOver(sd, 'host2', false, none), true)
  lease.owner = 2
  time.now += 2
  await role.round(none)
  t.strictSame(asked, ['take', 'handOver'])
  time.now += 1
  await role.round(none)
  t.strictSame(asked, ['take', 'handOver', 'ask host2 for good', 'take'])
})

t.test('one that was given away for good is not taken back', async t => {
  const { role, asked, lease, time } = world()
  role.prefer(sd, true, none)
  await settled()
  t.equal(await role.handOver(sd, 'host2', true, none), true)
  lease.owner = 2
  time.now += 100
  await role.round(none)
  t.strictSame(asked, ['take', 'handOver'])
})

t.test('whoever comes too late is told who has the role now, for ten seconds', async t => {
  const { role, time } = world()
  role.prefer(sd, true, none)
  await settled()
  await role.handOver(sd, 'host2', true, none)
  const successor = (error: unknown) => (error as Fault).facts['successorHostId']
  const refusal = async () => role.serve(sd, 'v', MiB(128), none).catch((error: unknown) => error)
  t.match(await refusal(), { reason: 'NOT_MANAGER' })
  t.equal(successor(await refusal()), 'host2')
  time.now += 10
  t.equal(successor(await refusal()), '')
})

t.test('while an operation keeps the lease, nobody is sent elsewhere', async t => {
  const { role, lease } = world({ busy: true })
  role.prefer(sd, true, none)
  await settled()
  t.equal(await role.handOver(sd, 'host2', false, none), false)
  lease.owner = null
  const refusal = await role.serve(sd, 'v', MiB(128), none).catch((error: unknown) => error)
  t.equal((refusal as Fault).facts['successorHostId'], '')
})

t.test('a request that is sent on arrives before the role does: it waits for it', async t => {
  const { role, lease } = world({ owner: 2, busy: true })
  void role.wantForOperation(sd, none)
  const served = role.serve(sd, 'v', MiB(256), none)
  setImmediate(() => Object.assign(lease, { owner: 1 }))
  t.equal(await served, MiB(256))
})

t.test(
  'an operation that waits for the lease has whoever stands as manager asked, once a second',
  async t => {
    const { role, asked, time, state } = world({ owner: 2 })
    state.busy = true
    await role.wantForOperation(sd, none)
    await role.wantForOperation(sd, none)
    t.strictSame(asked, ['ask host2'])
    time.now += 1
    await role.wantForOperation(sd, none)
    t.strictSame(asked, ['ask host2', 'ask host2'])
  }
)

t.test('whoever needs room and finds nobody tries until it has the role, or gives up', async t => {
  const { role, lease } = world({ owner: 2 })
  const end = new AbortController()
  const given = role.take(sd, end.signal)
  end.abort(new Error('enough'))
  await t.rejects(given, { message: 'enough' })
  const taken = role.take(sd, none)
  await settled().then(() => (lease.owner = null))
  await taken
  t.ok(lease.isManager)
})

t.test('a storage domain that is not in use here any more is forgotten with what was preferred', async t => {
  const { role, state, lease, asked, time } = world()
  role.prefer(sd, true, none)
  await settled()
  state.usable = null
  await role.round(none)
  Object.assign(lease, { owner: null, isManager: false })
  state.usable = true
  time.now += 100
  await role.round(none)
  t.strictSame(asked, ['take'])
})

t.test('sizes that cannot be had are refused with the reason of the manager', async t => {
  const { role } = world()
  role.prefer(sd, true, none)
  await settled()
  t.equal(await role.serve(sd, 'v', bytes(1), none), 1)
})
