import t from 'tap'
import { systemClock } from '../../common/clock.js'
import type { Run } from '../../common/run.js'
import { MiB } from '../../common/units.js'
import { parseHosts, resourceText, Sanlock } from '../../storage/sanlock.js'

const resource = { lockspace: 'L', name: 'vm1', path: '/a:b/xleases', offset: MiB(3) }
const never = new AbortController().signal
const hasty = { ...systemClock, after: (_: number, run: () => void) => systemClock.after(0 as never, run) }

/** A sanlock that answers as it is told, call by call. */
function answering(outputs: string[]) {
  const calls: string[] = []
  const run: Run = async (command, args) => {
    calls.push([command, ...args].join(' '))
    const stdout = outputs.shift() ?? ''
    return { code: / done (0|[1-9])/.test(stdout) ? 0 : 1, stdout, stderr: '' }
  }
  return { calls, sanlock: new Sanlock({ mode: 'daemon', runDirectory: null }, run, hasty) }
}

t.test('a colon in a path is escaped', async t => {
  t.equal(resourceText(resource), 'L:vm1:/a\\:b/xleases:3145728')
})

t.test('hosts are those of the asked lockspace', async t => {
  const text = 's A:1:/a:0 \nh 1 gen 1 timestamp 5 LIVE\ns L:2:/l:0 \nh 2 gen 4 timestamp 9 FAIL\n'
  t.same(parseHosts(text, 'L'), [{ sanlockHostId: 2, generation: 4, timestamp: 9, state: 'FAIL' }])
})

for (const outcome of [-243, -244, -245]) {
  t.test(`a lease that another host has is tried again after ${outcome}`, async t => {
    const { calls, sanlock } = answering([`acquire done ${outcome}`, 'acquire done 0'])
    await sanlock.acquire(resource, 42, never)
    t.equal(calls.length, 2)
  })
}

t.test('any other failure ends the attempt, with its number', async t => {
  const { sanlock } = answering(['acquire done -202'])
  await t.rejects(sanlock.acquire(resource, 42, never), /could not acquire the lease vm1: -202/)
})

t.test('who runs out of patience learns that it is held', async t => {
  const { sanlock } = answering(Array.from({ length: 1000 }, () => 'acquire done -243'))
  await t.rejects(sanlock.acquire(resource, 42, AbortSignal.timeout(50)), /another host holds the lease vm1/)
})

t.test('being in the lockspace already is no failure', async t => {
  const { sanlock } = answering(['add_lockspace_timeout done -17'])
  await t.resolves(sanlock.join({ name: 'L', sanlockHostId: 1, path: '/ids' }, 10 as never, never))
})

t.test('joining that is under way is asked about again', async t => {
  const { calls, sanlock } = answering(['add_lockspace_timeout done -115', 'add_lockspace_timeout done 0'])
  await sanlock.join({ name: 'L', sanlockHostId: 1, path: '/ids' }, 10 as never, never)
  t.equal(calls[1], 'sanlock client add_lockspace -s L:1:/ids:0 -o 10')
})

t.test('a data program is started through sanlock, so that it holds the lease itself', async t => {
  const { sanlock } = answering([])
  t.equal(sanlock.holding(resource).join(' '), 'sanlock client command -r L:vm1:/a\\:b/xleases:3145728 -c')
})
