import t from 'tap'
import { Fault } from '../../../common/fault.js'
import { seconds } from '../../../common/units.js'
import type { JobTable } from '../../../coordinator/jobs/job.js'
import { Jobs } from '../../../coordinator/jobs/runner.js'
import { holdersOf } from '../../../coordinator/store/claims.js'
import { job as jobRow } from '../../../coordinator/store/jobs.js'
import { sql, type Tx } from '../../../coordinator/store/query.js'
import { fixture, idOf, log, testClock, type Fixture } from './fixture.js'

type Context = { number: number }
type Table = JobTable<Context, Tx>

/** Jobs of one kind, `test`, on a store of their own. */
async function house(
  t: { teardown(end: () => unknown): void },
  table: Table,
  { store }: Pick<Fixture, 'store'>
) {
  const clock = { ...testClock, after: (_: number, run: () => void) => testClock.after(seconds(0.002), run) }
  const jobs = new Jobs<{ test: Context }>({ store, kinds: { test: table }, clock, log, epoch: 1 })
  t.teardown(() => jobs.stop())
  const create = (number: number) =>
    store.transaction(tx =>
      jobs.create(tx, 'test', {
        ...{ id: idOf(`job ${number}`), context: { number }, objects: {}, actor: 'local' },
        claims: [{ type: 'vm', id: idOf(`vm ${number}`), mode: 'change' }]
      })
    )
  return { jobs, create }
}

async function room(t: { teardown(end: () => unknown): void }) {
  const whole = await fixture({ start: false })
  t.teardown(whole.close)
  return whole
}

const events = ({ store }: Fixture) => store.read.all(sql.selectFrom('event').selectAll().orderBy('sequence'))
const over = () => AbortSignal.timeout(10_000)

t.test('an undo that fails makes the job stuck, with one alert; it is tried until it works', async t => {
  const place = await room(t)
  let failures = 3
  const table: Table = {
    kind: 'test',
    steps: [
      {
        name: 'only',
        run: async () => {
          throw new Fault('WRONG_STATE', 'no')
        },
        undo: async () => {
          if (failures-- > 0) throw new Fault('LIBVIRT_FAILED', 'still there')
        }
      }
    ]
  }
  const { jobs, create } = await house(t, table, place)
  const states = new Set<string>()
  const id = create(1)
  t.teardown(place.store.listen(() => states.add(jobRow(place.store.read, id).state)))
  jobs.start()
  const job = await jobs.untilOver(id, over())
  t.match(job, { state: 'undone', turnedBack: { reason: 'WRONG_STATE' } })
  t.ok(states.has('stuck'))
  t.equal(events(place).filter(({ kind }) => kind === 'job.stuck').length, 1)
  t.strictSame(holdersOf(place.store.read, 'vm', idOf('vm 1')), [], 'its claim is gone')
})

t.test('what one job holds is refused to another, by the name of the first', async t => {
  const place = await room(t)
  const { jobs, create } = await house(t, { kind: 'test', steps: [] }, place)
  const first = create(1)
  const second = () =>
    place.store.transaction(tx =>
      jobs.create(tx, 'test', {
        ...{ context: { number: 2 }, objects: {}, actor: 'local' },
        claims: [{ type: 'vm', id: idOf('vm 1'), mode: 'change' }]
      })
    )
  t.throws(second, new Fault('BUSY', `VM ${idOf('vm 1')} is held by job ${first} (test)`))
  t.equal(place.store.read.all(sql.selectFrom('job').selectAll()).length, 1, 'nothing of it is kept')
})

t.test('no more jobs of a kind run than the kind allows; the others wait in order', async t => {
  const place = await room(t)
  const running = new Set<number>()
  const order: number[] = []
  let most = 0
  const table: Table = {
    kind: 'test',
    atOnce: 2,
    steps: [
      {
        name: 'only',
        run: async ({ context: { number } }) => {
          order.push(number)
          running.add(number)
          most = Math.max(most, running.size)
          await new Promise(setImmediate)
          running.delete(number)
        }
      }
    ]
  }
  const { jobs, create } = await house(t, table, place)
  const all = [1, 2, 3, 4, 5].map(create)
  jobs.start()
  await Promise.all(all.map(id => jobs.untilOver(id, over())))
  t.equal(most, 2)
  t.equal(order.length, 5)
})

t.test('a job that waits can be cancelled before it begins', async t => {
  const place = await room(t)
  let ran = 0
  const table: Table = { kind: 'test', steps: [{ name: 'only', run: async () => void ran++ }] }
  const { jobs, create } = await house(t, table, place)
  const id = create(1)
  place.store.transaction(tx => jobs.cancel(tx, id))
  jobs.start()
  t.match(await jobs.untilOver(id, over()), { state: 'undone', turnedBack: { reason: 'CANCELLED' } })
  t.equal(ran, 0)
})

t.test('a coordinator that stops leaves its jobs to the next one', async t => {
  const place = await room(t)
  let isNext = false
  const table: Table = {
    kind: 'test',
    steps: [
      {
        name: 'only',
        run: ({ signal }) =>
          isNext
            ? Promise.resolve()
            : new Promise((_, reject) =>
                signal.addEventListener('abort', () => reject(signal.reason as Error))
              )
      }
    ]
  }
  const first = await house(t, table, place)
  const id = first.create(1)
  first.jobs.start()
  await new Promise(setImmediate)
  await first.jobs.stop()
  t.match(jobRow(place.store.read, id), { state: 'running', turnedBack: null, ended: null })
  isNext = true
  const second = await house(t, table, place)
  second.jobs.start()
  t.equal((await second.jobs.untilOver(id, over())).state, 'succeeded')
})

t.test('a kind that this version does not know waits for one that does', async t => {
  const place = await room(t)
  const { create } = await house(t, { kind: 'test', steps: [] }, place)
  const id = create(1)
  place.store.transaction(tx => tx.run(sql.updateTable('job').set({ kind: 'future' }).where('id', '=', id)))
  const { jobs } = await house(t, { kind: 'test', steps: [] }, place)
  jobs.start()
  await new Promise(setImmediate)
  t.equal(jobRow(place.store.read, id).ended, null)
  t.equal(events(place).filter(({ kind }) => kind === 'job.stuck').length, 1)
})
