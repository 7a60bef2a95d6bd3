import { sleep, type Clock } from '../../common/clock.js'
import { crashpoint, idempotent } from '../../common/crashpoint.js'
import { Fault } from '../../common/fault.js'
import { derivedId } from '../../common/ids.js'
import type { Logger } from '../../common/log.js'
import { delayBefore } from '../../common/retry.js'
import { seconds, type Seconds } from '../../common/units.js'
import { written, type Act, type Attempts, type Step } from './job.js'
import type { Progress } from './progress.js'
import { faultFrom, mostAttempts, verdictOn } from './verdict.js'

/** What is written down about the attempts at a step. */
export type AttemptLog<Context> = {
  context(): Readonly<Context>
  /** The number of the last attempt, from 1; 0 before the first. */
  attempt(step: string): number
  /** Whether the last attempt has no final answer yet: a crash, a stop or a time limit left it open. */
  isOpen(step: string): boolean
  begin(step: string, attempt: number, hostId: string | null): void
  /** `isFinal`: its request ids have their last word. */
  failed(step: string, fault: Fault, isFinal: boolean): void
  /** Number of the undo to try now, from 1; grows with each final failure. */
  undoAttempt(step: string): number
  undoFailed(step: string, fault: Fault, isFinal: boolean): void
  progress(step: string, change: Partial<Progress>): void
}

export type AttemptOptions<Context> = {
  jobId: string
  kind: string
  journal: AttemptLog<Context>
  clock: Clock
  log: Logger
  /** The coordinator stops: everything is left as it is. */
  stop: AbortSignal
  /** Somebody cancels: what runs forward ends, unless a point of no return is behind it. */
  cancel: AbortSignal
  mayTurnBack(): boolean
}

const backoff = { first: seconds(0.2), most: seconds(10) }
const usualLimit = seconds(600)

/** Undo is tried in place for a while; then the job is stuck, and carried on later. */
const undoLimit = seconds(60)

/** Tries steps by the rules of architecture.md §9.2: same id while nothing was decided, a new one a few times. */
export function attemptsOf<Context, Tx>(options: AttemptOptions<Context>): Attempts<Context, Tx> {
  const { kind } = options
  return {
    run: async step => {
      const { run } = step
      const { limit: own = usualLimit } = step
      const limit = typeof own === 'function' ? own(options.journal.context()) : own
      const name = `job.${kind}.${step.name}`
      const found = await tried(options, step, 'run', limit, act =>
        idempotent(`${name}.run`, async () => run?.call(step, act))
      )
      await crashpoint(`${name}.done`)
      return found
    },
    undo: async step => {
      const name = `job.${kind}.${step.name}`
      await tried(options, step, 'undo', undoLimit, act =>
        idempotent(`${name}.undo`, async () => step.undo?.(act))
      )
      await crashpoint(`${name}.undone`)
    }
  }
}

/** One direction of one step, again and again until it works or there is no point in going on. */
async function tried<Context, Tx, Found>(
  options: AttemptOptions<Context>,
  step: Step<Context, Tx>,
  direction: 'run' | 'undo',
  limit: Seconds | null,
  work: (act: Act<Context>) => Promise<Found>
): Promise<Found> {
  const { journal, clock, stop, cancel, log } = options
  const ends = direction === 'run' && options.mayTurnBack() ? [stop, cancel] : [stop]
  const late = () => step.late?.(journal.context()) ?? `step ${step.name} was not over after ${limit} s`
  using patience = timeLimit(clock, limit, late)
  const signal = AbortSignal.any([...ends, ...(patience ? [patience.signal] : [])])
  for (let round = 0, finals = 0; ; round++) {
    const attempt = direction === 'run' ? begin(journal, step) : journal.undoAttempt(step.name)
    try {
      return await work(actOf(options, step, direction, attempt, signal))
    } catch (error) {
      if (stop.aborted) throw stop.reason
      const fault = faultFrom(signal.aborted ? signal.reason : error)
      const verdict = signal.aborted ? 'again' : verdictOn(fault)
      const isFinal = verdict !== 'again'
      written(() =>
        direction === 'run'
          ? journal.failed(step.name, fault, isFinal)
          : journal.undoFailed(step.name, fault, isFinal)
      )
      if (verdict === 'newAttempt' && !(step.waitsForRoom && fault.reason === 'LIMIT')) finals++
      const isOver = signal.aborted || verdict === 'final' || finals >= mostAttempts
      const what = { job: options.jobId, step: step.name, attempt, direction, isOver, err: error }
      log.info(what, 'a step of a job failed')
      if (isOver) throw fault
    }
    await sleep(clock, delayBefore(round, backoff, clock.random()), signal).catch(() => {})
  }
}

/** An attempt that has no final answer is asked again; else a new one begins. */
function begin<Context, Tx>(journal: AttemptLog<Context>, step: Step<Context, Tx>): number {
  const attempt = journal.attempt(step.name) + (journal.isOpen(step.name) ? 0 : 1)
  written(() => journal.begin(step.name, attempt, step.host?.(journal.context()) ?? null))
  return attempt
}

function actOf<Context, Tx>(
  { jobId, journal, log, stop }: AttemptOptions<Context>,
  step: Step<Context, Tx>,
  direction: 'run' | 'undo',
  attempt: number,
  signal: AbortSignal
): Act<Context> {
  const id = (way: string, number: number, part: string) =>
    derivedId(jobId, [step.name, ...(way === 'undo' ? ['undo'] : []), number, part].join('/'))
  return {
    jobId,
    context: journal.context(),
    signal,
    stop,
    log: log.child({ job: jobId, step: step.name }),
    attempt,
    requestId: (part = '') => id(direction, attempt, part),
    forwardIds: (part = '') =>
      Array.from({ length: journal.attempt(step.name) }, (_, index) => id('run', index + 1, part)),
    progress: change => journal.progress(step.name, change)
  }
}

function timeLimit(
  clock: Clock,
  limit: Seconds | null,
  late: () => string
): (Disposable & { signal: AbortSignal }) | null {
  if (limit === null) return null
  const abort = new AbortController()
  const end = clock.after(limit, () => abort.abort(new Fault('DEADLINE', late())))
  return { signal: abort.signal, [Symbol.dispose]: end }
}
