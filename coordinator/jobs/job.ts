import type { Logger } from 'pino'
import { Fault } from '../../common/fault.js'
import type { Seconds } from '../../common/units.js'
import type { Progress } from './progress.js'
import { faultFrom } from './verdict.js'

// A job is a table of steps. Each step acts on the world (`run`), then changes the store (`commit`) in the
// same transaction that records it as done; each has the opposites of both. Whatever a step decides goes
// into the job's context in that transaction, so that a resumed job never decides twice.
//
//   forward    reserve ──► createVolumes ──► publish            done
//                  ▲            │ failed
//   turned back    └── undo ◄───┘                               undone
//   another way    choose ◄── undo ── start failed              forward again, with a changed context

/** What a step's work is given. */
export type Act<Context> = {
  jobId: string
  context: Readonly<Context>
  /** Ends when somebody cancels, when the coordinator stops, or with the step's time limit. */
  signal: AbortSignal
  /** Ends only when the coordinator stops: for what has to be found out in any case. */
  stop: AbortSignal
  log: Logger
  attempt: number
  /** Id for one request of this attempt: the same after a restart, another one for another attempt. */
  requestId(part?: string): string
  /** Ids that the attempts at the step's work have used for a part: what an undo has to look after. */
  forwardIds(part?: string): string[]
  progress(change: Partial<Progress>): void
}

/** Idempotent in all its parts: after a crash it may be asked to run, or to undo, once more. */
export type Step<Context, Tx> = {
  name: string
  /** Its share of the job's progress; 1 unless it says otherwise. */
  weight?: number
  /** How long it may be tried; 10 minutes unless it says otherwise, null for ever. */
  limit?: Seconds | null | ((context: Readonly<Context>) => Seconds | null)
  /** A host without room (LIMIT) is asked again for as long as the step may take, and not three times. */
  waitsForRoom?: true
  /** What to tell people when that is over. */
  late?(context: Readonly<Context>): string
  /** The host it works on, for people. */
  host?(context: Readonly<Context>): string | null
  /** Acts outside of the store. What it finds out goes into the context. */
  run?(act: Act<Context>): Promise<Partial<Context> | void>
  /** Changes the store, in the transaction that records the step as done. */
  commit?(tx: Tx, context: Readonly<Context>, jobId: string): Partial<Context> | void
  /** Takes back `run`, also a half-done one. Taking back what is not there succeeds. */
  undo?(act: Act<Context>): Promise<void>
  /** Takes back `commit`, in the transaction that records the step as undone. */
  uncommit?(tx: Tx, context: Readonly<Context>, jobId: string): Partial<Context> | void
  /** Its commit happened in the transaction that created the job. */
  atCreation?: true
  /** Once this step is done (with that outcome) the job is finished, however long that takes, and never undone. */
  pointOfNoReturn?: true | ((context: Readonly<Context>) => boolean)
  /** Begins although somebody cancelled: it finds out what the step before it has really done. */
  evenIfCancelled?: true
  /** Another way after a final failure: back to an earlier step, with another choice. */
  otherwise?(context: Readonly<Context>, fault: Fault): { backTo: string; change: Partial<Context> } | null
}

/** What a kind of job does. The kind and the names of the steps stand in journals: they never change. */
export type JobTable<Context, Tx> = {
  kind: string
  steps: ReadonlyArray<Step<Context, Tx>>
  /** How many jobs of this kind run at once; the others wait. */
  atOnce?: number
  /** Facts for whoever asked, by name, when it has succeeded. */
  result?(context: Readonly<Context>): Record<string, string>
}

export type StepState = 'running' | 'done' | 'undone'

/** Durable: what it has recorded survives a crash of the coordinator. */
export type Journal<Context, Tx> = {
  context(): Readonly<Context>
  state(step: string): StepState | undefined
  /** Why the job undoes, or null. The first reason stays. */
  turnedBack(): Fault | null
  isCancelled(): boolean
  /** The earlier step to go back to, or null. */
  rewindsTo(): string | null
  turnBack(why: Fault): void
  rewind(backTo: string, change: Partial<Context>): void
  rewound(): void
  done(step: string, commit: (tx: Tx) => Partial<Context> | void): void
  undone(step: string, uncommit: (tx: Tx) => Partial<Context> | void): void
}

/** Tries one direction of one step, with all its retries; throws when that is over without success. */
export type Attempts<Context, Tx> = {
  run(step: Step<Context, Tx>): Promise<Partial<Context> | void>
  undo(step: Step<Context, Tx>): Promise<void>
}

export type Outcome = 'succeeded' | 'undone'

/**
 * Carries a job on from wherever its journal says it is. An error thrown out of here means "not over":
 * the daemon is stopping, or the job is past its point of no return, or an undo failed. The job is then
 * carried on again later.
 */
export async function carryOn<Context, Tx>(
  jobId: string,
  steps: ReadonlyArray<Step<Context, Tx>>,
  journal: Journal<Context, Tx>,
  attempts: Attempts<Context, Tx>,
  stop: AbortSignal
): Promise<Outcome> {
  const undoDownTo = async (first: number) => {
    for (const step of steps.slice(first).toReversed()) {
      const state = journal.state(step.name)
      if (state === undefined || state === 'undone') continue
      stop.throwIfAborted()
      await attempts.undo(step)
      journal.undone(step.name, tx =>
        state === 'done' ? step.uncommit?.(tx, journal.context(), jobId) : undefined
      )
    }
  }

  for (;;) {
    stop.throwIfAborted()
    if (journal.turnedBack()) {
      await undoDownTo(0)
      return 'undone'
    }
    const target = journal.rewindsTo()
    if (target !== null) {
      await undoDownTo(steps.findIndex(({ name }) => name === target))
      journal.rewound()
    }
    const step = steps.find(({ name }) => journal.state(name) !== 'done')
    if (!step) return 'succeeded'
    try {
      if (!step.evenIfCancelled && mayTurnBack(steps, journal)) throwIfCancelled(journal)
      const found = await attempts.run(step)
      written(() =>
        journal.done(step.name, tx => {
          const context = { ...journal.context(), ...found }
          return { ...found, ...step.commit?.(tx, context, jobId) }
        })
      )
    } catch (error) {
      if (error instanceof NotWritten) throw error.fault
      if (stop.aborted || !mayTurnBack(steps, journal)) throw error
      const fault = faultFrom(error)
      const other = journal.isCancelled() ? null : step.otherwise?.(journal.context(), fault)
      if (other) journal.rewind(other.backTo, other.change)
      else journal.turnBack(fault)
    }
  }
}

/** The journal could not be written: that is nobody's failure, and the job goes on when it can be again. */
class NotWritten extends Error {
  readonly fault: Fault

  constructor(fault: Fault) {
    super(fault.message)
    this.fault = fault
  }
}

/** Writes to the journal, and tells a full store from a failure of the step. */
export function written<T>(write: () => T): T {
  try {
    return write()
  } catch (error) {
    throw Fault.is(error, 'STORE_FULL') ? new NotWritten(error) : error
  }
}

/** Whether no point of no return is behind the job. */
export function mayTurnBack<Context, Tx>(
  steps: ReadonlyArray<Step<Context, Tx>>,
  journal: Pick<Journal<Context, Tx>, 'state' | 'context'>
): boolean {
  return !steps.some(({ name, pointOfNoReturn }) => {
    if (!pointOfNoReturn || journal.state(name) !== 'done') return false
    return pointOfNoReturn === true || pointOfNoReturn(journal.context())
  })
}

function throwIfCancelled(journal: { isCancelled(): boolean }): void {
  if (journal.isCancelled()) throw new Fault('CANCELLED', 'somebody cancelled the job')
}
