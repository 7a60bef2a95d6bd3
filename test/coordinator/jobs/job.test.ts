import { pino } from 'pino'
import t from 'tap'
import type { Clock } from '../../../common/clock.js'
import { Fault } from '../../../common/fault.js'
import { seconds } from '../../../common/units.js'
import { attemptsOf } from '../../../coordinator/jobs/attempts.js'
import { carryOn, mayTurnBack, type Act, type Step } from '../../../coordinator/jobs/job.js'
import { MemoryJournal } from './memory-journal.js'

const names = ['reserve', 'volume', 'start', 'tidy'] as const
type Name = (typeof names)[number]
type Context = { host: string; excluded: string[] }
type Plan = Step<Context, string[]>

const log = pino({ level: 'silent' })
const job = '11111111-1111-4111-8111-111111111111'
const context: Context = { host: 'a', excluded: [] }

/** Time that jumps to whatever is waited for. */
function jumpingClock(): Clock & { now: number } {
  const clock = {
    now: 0,
    monotonic: () => seconds(clock.now),
    wall: () => clock.now * 1000,
    after: (delay: number, run: () => void) => {
      if (delay >= 60) return () => {}
      const timer = setImmediate(() => {
        clock.now += delay
        run()
      })
      return () => clearImmediate(timer)
    },
    random: () => 0.5,
    newId: () => job
  }
  return clock
}

type Fails = Partial<Record<`run ${Name}` | `undo ${Name}`, Error[]>>

/** Each step writes what it does; it fails with the listed errors, one a call. `start` is the point of no return. */
function plan(trail: string[], fails: Fails = {}, ids: string[] = []): Plan[] {
  const act = (what: 'run' | 'undo', name: Name) => async (act: Act<Context>) => {
    trail.push(`${what} ${name}`)
    ids.push(act.requestId())
    const error = fails[`${what} ${name}`]?.shift()
    if (error) throw error
  }
  return names.map(name => {
    return {
      name,
      run: act('run', name),
      undo: act('undo', name),
      commit: (tx: string[]) => void tx.push(`commit ${name}`),
      uncommit: (tx: string[]) => void tx.push(`uncommit ${name}`),
      ...(name === 'start' ? { pointOfNoReturn: true as const } : {})
    }
  })
}

function go(
  steps: Plan[],
  journal: MemoryJournal<Context>,
  stop = new AbortController().signal,
  cancel = new AbortController().signal
) {
  const attempts = attemptsOf<Context, string[]>({
    jobId: job,
    kind: 'test',
    journal,
    clock: jumpingClock(),
    log,
    stop,
    cancel,
    mayTurnBack: () => mayTurnBack(steps, journal)
  })
  return carryOn(job, steps, journal, attempts, stop)
}

const final = () => new Fault('WRONG_STATE', 'no')

for (const [index, name] of names.slice(0, 3).entries()) {
  t.test(`a final failure of ${name} takes back all that was begun`, async t => {
    const journal = new MemoryJournal(context)
    const steps = plan(journal.trail, { [`run ${name}`]: [final()] })
    t.equal(await go(steps, journal), 'undone')
    const before = names.slice(0, index)
    t.strictSame(journal.trail, [
      ...before.flatMap(step => [`run ${step}`, `commit ${step}`]),
      `run ${name}`,
      `undo ${name}`,
      ...before.toReversed().flatMap(step => [`undo ${step}`, `uncommit ${step}`])
    ])
  })
}

t.test('what says "perhaps later" is asked again with the same request id', async t => {
  const journal = new MemoryJournal(context)
  const ids: string[] = []
  const later = [new Fault('HOST_UNREACHABLE', ''), new Fault('DEADLINE', '')]
  t.equal(await go(plan(journal.trail, { 'run volume': later }, ids), journal), 'succeeded')
  t.equal(journal.trail.filter(line => line === 'run volume').length, 3)
  t.equal(new Set(ids).size, names.length)
})

t.test('what may change its mind gets three attempts with three request ids', async t => {
  const journal = new MemoryJournal(context)
  const ids: string[] = []
  const limit = [1, 2, 3].map(() => new Fault('LIMIT', ''))
  t.equal(await go(plan(journal.trail, { 'run volume': limit }, ids), journal), 'undone')
  t.equal(new Set(ids.slice(1, 4)).size, 3)
  t.equal(journal.trail.filter(line => line === 'run volume').length, 3)
})

t.test('a step that waits for room asks for as long as it may', async t => {
  const journal = new MemoryJournal(context)
  const ids: string[] = []
  const limit = [1, 2, 3, 4, 5].map(() => new Fault('LIMIT', ''))
  const steps = plan(journal.trail, { 'run volume': limit }, ids)
  steps[1] = { ...steps[1], name: 'volume', waitsForRoom: true }
  t.equal(await go(steps, journal), 'succeeded')
  t.equal(new Set(ids.slice(1, 7)).size, 6, 'each time with a new id')
})

t.test('a failure past the point of no return is carried on later, and not undone', async t => {
  const journal = new MemoryJournal(context)
  const ids: string[] = []
  await t.rejects(go(plan(journal.trail, { 'run tidy': [final()] }, ids), journal), final())
  t.equal(await go(plan(journal.trail, {}, ids), journal), 'succeeded')
  t.strictSame(journal.trail.slice(-3), ['run tidy', 'run tidy', 'commit tidy'])
  t.not(ids.at(-1), ids.at(-2), 'the first id has its final answer')
})

t.test(
  'a coordinator that stops leaves the job as it is, and the next one asks with the same id',
  async t => {
    const journal = new MemoryJournal(context)
    const stop = new AbortController()
    const ids: string[] = []
    const steps = plan(journal.trail, {}, ids)
    steps[1] = {
      name: 'volume',
      run: async act => {
        ids.push(act.requestId())
        stop.abort(new Error('stopping'))
        throw new Error('cut short')
      }
    }
    await t.rejects(go(steps, journal, stop.signal), { message: 'stopping' })
    t.equal(journal.turnedBack(), null)
    const before = ids.at(-1)
    ids.length = 0
    t.equal(await go(plan(journal.trail, {}, ids), journal), 'succeeded')
    t.equal(ids[0], before)
  }
)

t.test('an undo that fails is carried on later, under a new id', async t => {
  const journal = new MemoryJournal(context)
  const ids: string[] = []
  const fails = { 'run start': [final()], 'undo volume': [final()] }
  await t.rejects(go(plan(journal.trail, fails, ids), journal), final())
  t.equal(await go(plan(journal.trail, {}, ids), journal), 'undone')
  const tail = journal.trail.slice(journal.trail.indexOf('undo start'))
  t.strictSame(tail, [
    'undo start',
    'undo volume',
    'undo volume',
    'uncommit volume',
    'undo reserve',
    'uncommit reserve'
  ])
  t.equal(new Set(ids).size, ids.length)
})

t.test('a job that somebody cancels ends its step and undoes', async t => {
  const journal = new MemoryJournal(context)
  const cancel = new AbortController()
  const steps = plan(journal.trail)
  steps[1] = {
    ...steps[1],
    name: 'volume',
    run: async ({ signal }) => {
      journal.cancelled = true
      cancel.abort(new Fault('CANCELLED', 'somebody cancelled'))
      signal.throwIfAborted()
    }
  }
  t.equal(await go(steps, journal, undefined, cancel.signal), 'undone')
  t.equal(journal.turnedBack()?.reason, 'CANCELLED')
  t.notOk(journal.trail.includes('run start'))
})

t.test('a cancel past the point of no return changes nothing', async t => {
  const journal = new MemoryJournal(context)
  const steps = plan(journal.trail)
  steps[2] = { name: 'start', pointOfNoReturn: true, commit: () => void (journal.cancelled = true) }
  t.equal(await go(steps, journal), 'succeeded')
})

t.test('a step with another way goes back and chooses again', async t => {
  const journal = new MemoryJournal(context)
  const steps = plan(journal.trail, { 'run start': [final()] })
  steps[1] = {
    ...steps[1],
    name: 'volume',
    commit: (_, { excluded }) => ({ host: excluded.includes('a') ? 'b' : 'a' })
  }
  steps[2] = {
    ...steps[2],
    name: 'start',
    otherwise: ({ host, excluded }) => ({ backTo: 'volume', change: { excluded: [...excluded, host] } })
  }
  t.equal(await go(steps, journal), 'succeeded')
  t.strictSame(journal.context(), { host: 'b', excluded: ['a'] })
  t.equal(journal.attempt('start'), 2)
})

t.test('a crash while it goes back goes on going back', async t => {
  const journal = new MemoryJournal(context)
  const other: Plan['otherwise'] = ({ host, excluded }) => {
    return { backTo: 'volume', change: { excluded: [...excluded, host] } }
  }
  const steps = plan(journal.trail, { 'run start': [final()], 'undo volume': [final()] })
  steps[2] = { ...steps[2], name: 'start', otherwise: other }
  await t.rejects(go(steps, journal), final())
  t.equal(journal.rewindsTo(), 'volume')
  t.equal(await go(plan(journal.trail), journal), 'succeeded')
  t.strictSame(journal.trail.slice(-8), [
    'undo volume',
    'uncommit volume',
    'run volume',
    'commit volume',
    'run start',
    'commit start',
    'run tidy',
    'commit tidy'
  ])
})
