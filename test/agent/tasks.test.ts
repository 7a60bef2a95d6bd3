import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { Ledger } from '../../agent/ledger.js'
import { lockLevels, Tasks, type Task, type TaskPlan } from '../../agent/tasks.js'
import { systemClock } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import { Locks } from '../../common/locks.js'

const log = pino({ level: 'silent' })
const stamp = (n: number) => ({ requestId: `request-${n}`, coordinatorEpoch: 1, hostGeneration: 1 })
const plan = (n: number, work: TaskPlan['work']): TaskPlan => ({
  stamp: stamp(n),
  kind: 'Test.Work',
  content: { n },
  objects: {},
  locks: [{ level: 'vm', id: 'v', mode: 'exclusive' }],
  work
})
/** A second of patience that is over at once: the tests wait for nothing. */
const hasty = { ...systemClock, after: (_: number, run: () => void) => systemClock.after(0 as never, run) }

async function world(t: Test, file?: string) {
  const dir = file ? join(file, '..') : await mkdtemp('/tmp/drover-tasks-')
  const path = file ?? join(dir, 'ledger')
  const ledger = await Ledger.open(path, systemClock, log)
  const seen: string[] = []
  const onChange = (id: string, task: Task | null) => seen.push(`${id} ${task?.state ?? 'forgotten'}`)
  const locks = new Locks(lockLevels)
  const tasks = new Tasks({ ledger, rememberEpoch: async () => {}, locks, clock: hasty, log, onChange })
  t.teardown(async () => {
    await ledger.close()
    await rm(dir, { recursive: true, force: true })
  })
  return { path, ledger, tasks, seen }
}
const ended = async (tasks: Tasks, id: string) => {
  while (['queued', 'running'].includes(tasks.get(id).state)) await new Promise(setImmediate)
  return tasks.get(id)
}

t.test('a task is shown while it runs, and its result when it has ended', async t => {
  const { tasks, seen } = await world(t)
  let end = () => {}
  const begun = await tasks.run(
    plan(1, async ({ progress }) => {
      progress({ percent: 40, phase: 'copying' })
      progress({ percent: 10 })
      await new Promise<void>(resolve => (end = resolve))
      return { sha256: 'abc' }
    })
  )
  t.match(begun, { state: 'running', progress: { percent: 40, phase: 'copying' } })
  end()
  t.match(await ended(tasks, 'request-1'), { state: 'succeeded', result: { sha256: 'abc' } })
  t.strictSame(seen, ['request-1 queued', 'request-1 running', 'request-1 running', 'request-1 succeeded'])
})

t.test('two tasks that need the same lock run one after the other', async t => {
  const { tasks } = await world(t)
  const order: string[] = []
  let end = () => {}
  await tasks.run(
    plan(1, async () => {
      order.push('first begins')
      await new Promise<void>(resolve => (end = resolve))
      order.push('first ends')
      return {}
    })
  )
  const second = await tasks.run(plan(2, async () => ({ order: String(order.push('second')) })))
  t.equal(second.state, 'queued')
  end()
  await ended(tasks, 'request-2')
  t.strictSame(order, ['first begins', 'first ends', 'second'])
})

t.test('a failure is thrown to whoever still waits, and is final for its id', async t => {
  const { tasks } = await world(t)
  const fault = new Fault('WRONG_STATE', 'VM is down')
  const failing = plan(1, async () => Promise.reject(fault))
  await tasks.run(failing).catch(() => {})
  t.equal((await ended(tasks, 'request-1')).state, 'failed')
  await t.rejects(tasks.run({ ...failing, work: async () => t.fail('ran again') as never }), fault)
})

t.test('a task that its agent did not survive is lost, and runs again under its id', async t => {
  const first = await world(t)
  void first.tasks.run(plan(1, () => new Promise(() => {}))).catch(() => {})
  while (first.ledger.entries().length === 0) await new Promise(setImmediate)
  const second = await world(t, first.path)
  t.equal(second.tasks.get('request-1').state, 'lost')
  await second.tasks.run(plan(1, async () => ({ done: 'yes' })))
  t.match(await ended(second.tasks, 'request-1'), { state: 'succeeded', result: { done: 'yes' } })
})

t.test('a cancelled task ends as cancelled if its work was undone, else as it ends', async t => {
  const { tasks } = await world(t)
  const untilAborted = ({ signal }: { signal: AbortSignal }) =>
    new Promise<Record<string, string>>((_, reject) =>
      signal.addEventListener('abort', () => reject(signal.reason))
    )
  await tasks.run(plan(1, untilAborted))
  await tasks.cancel('request-1')
  t.equal((await ended(tasks, 'request-1')).state, 'cancelled')
  t.equal((await tasks.cancel('request-1')).state, 'cancelled', 'once more changes nothing')
  await tasks.run(plan(2, run => untilAborted(run).catch(() => ({ done: 'all the same' }))))
  await tasks.cancel('request-2')
  t.equal((await ended(tasks, 'request-2')).state, 'succeeded')
})

t.test('an acknowledged task is listed no more', async t => {
  const { tasks } = await world(t)
  await tasks.run(plan(1, async () => ({})))
  await ended(tasks, 'request-1')
  t.equal(tasks.list().length, 1)
  await tasks.acknowledge(['request-1', 'unknown'])
  t.equal(tasks.list().length, 0)
})
