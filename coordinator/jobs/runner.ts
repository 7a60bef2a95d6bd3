import type { Clock } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import type { Logger } from '../../common/log.js'
import { delayBefore } from '../../common/retry.js'
import { seconds, type Seconds } from '../../common/units.js'
import type { Claim } from '../store/claims.js'
import { addEvent } from '../store/events.js'
import {
  addJobResult,
  cancelJob,
  endJob,
  insertJob,
  jobOrNull,
  jobSteps,
  setJobState,
  unfinishedJobs,
  type Job
} from '../store/jobs.js'
import { StoreJournal } from '../store/journal.js'
import { sql, type Tx } from '../store/query.js'
import type { Store } from '../store/store.js'
import { attemptsOf } from './attempts.js'
import { carryOn, mayTurnBack, type JobTable } from './job.js'
import { subjectOf, toldOf } from './told.js'
import { faultFrom } from './verdict.js'

/** What a kind's context is, by the kind's name. */
export type Contexts = Record<string, object>
export type Kinds<C extends Contexts> = { readonly [K in keyof C]: JobTable<C[K], Tx> }

export type JobOrder<Context> = {
  /** Given where the caller must find it again, for example as a child; else a new one. */
  id?: string
  context: Context
  /** Ids of what it works on, by kind: "vm", "disk", "storageDomain", … */
  objects: Record<string, string>
  claims: readonly Claim[]
  /** "local", "admin/NAME" or "system". */
  actor: string
  requestId?: string
}

export type RunnerOptions<C extends Contexts> = {
  store: Store
  kinds: Kinds<C>
  clock: Clock
  log: Logger
  epoch: number
}

type Live = { kind: string; cancel: AbortController; over: Promise<void> }

const mostAtOnce = 256
const usualAtOnce = 16
/** For jobs that are not over although they ended: stuck ones, and those past their point of no return. */
const patience = { first: seconds(10), most: seconds(300) }
const goodbye: Seconds = seconds(5)

/** Carries jobs on: those asked for now, and those that an earlier coordinator left. */
export class Jobs<C extends Contexts> {
  readonly #options: RunnerOptions<C>
  readonly #stop = new AbortController()
  readonly #live = new Map<string, Live>()
  /** Not over, and not at work: how often that was so, and what wakes them. */
  readonly #resting = new Map<string, () => void>()
  readonly #rests = new Map<string, number>()
  #unlisten = () => {}

  constructor(options: RunnerOptions<C>) {
    this.#options = options
  }

  /** A job, in the transaction of whatever else it reserves; it begins when that is committed. */
  create<K extends keyof C & string>(tx: Tx, kind: K, order: JobOrder<C[K]>): string {
    const { clock, epoch, kinds } = this.#options
    const { id = clock.newId(), context, objects, claims, actor, requestId = '' } = order
    const now = clock.wall()
    const { steps } = kinds[kind]
    insertJob(tx, {
      ...{ id, kind, kindVersion: 1, context, objects, claims, actor, requestId, epoch, created: now },
      steps: steps.map(({ name, weight = 1 }) => ({ name, weight }))
    })
    addJobResult(tx, id, { subject: subjectOf(tx, kind, objects) })
    for (const { name, atCreation } of steps) {
      if (!atCreation) continue
      const done = { state: 'done' as const, attempt: 1, started: now, ended: now }
      tx.run(sql.updateTable('jobStep').set(done).where('jobId', '=', id).where('name', '=', name))
    }
    return id
  }

  /** A job that found nothing to do: over at once, so that the caller has an answer of the same shape. */
  createOver<K extends keyof C & string>(
    tx: Tx,
    kind: K,
    order: Omit<JobOrder<C[K]>, 'context' | 'claims'>,
    result: Record<string, string>
  ): string {
    const { clock, epoch } = this.#options
    const { id = clock.newId(), objects, actor, requestId = '' } = order
    const now = clock.wall()
    const nothing = { context: {}, steps: [], claims: [] }
    insertJob(tx, {
      ...{ id, kind, kindVersion: 1, objects, actor, requestId, epoch, created: now },
      ...nothing
    })
    addJobResult(tx, id, result)
    endJob(tx, id, 'succeeded', now)
    return id
  }

  /** Goes on with all that is unfinished, and with what comes. */
  start(): void {
    const { store } = this.#options
    this.#unlisten = store.listen(changes => {
      if (changes.some(({ kind, id }) => kind === 'job' && !this.#live.has(id) && !this.#resting.has(id))) {
        this.#pump()
      }
    })
    this.#pump()
  }

  /** Leaves all jobs as they are; what runs gets a moment to come to rest. */
  async stop(): Promise<void> {
    this.#unlisten()
    this.#stop.abort(new Fault('INTERRUPTED', 'the coordinator stops'))
    for (const wake of this.#resting.values()) wake()
    const all = Promise.allSettled([...this.#live.values()].map(({ over }) => over))
    await Promise.race([all, new Promise<void>(resolve => this.#options.clock.after(goodbye, resolve))])
  }

  /** A wish. A job that is over, or past its point of no return, stays as it is. */
  cancel(tx: Tx, id: string): void {
    const job = jobOrNull(tx, id)
    if (!job) throw new Fault('NOT_FOUND', `no job ${id}`, { facts: { job: id } })
    if (job.ended !== null || job.turnedBack || !this.#mayTurnBack(tx, job)) return
    cancelJob(tx, id)
    const live = this.#live.get(id)
    if (live) queueMicrotask(() => live.cancel.abort(cancelled()))
  }

  /** Until a job is over; also for jobs that wait for others. */
  async untilOver(id: string, signal: AbortSignal): Promise<Job> {
    const { store } = this.#options
    return new Promise((resolve, reject) => {
      const look = () => {
        const job = jobOrNull(store.read, id)
        if (job && job.ended === null) return
        end()
        if (job) resolve(job)
        else reject(new Fault('NOT_FOUND', `no job ${id}`))
      }
      const stop = () => {
        end()
        reject(signal.reason)
      }
      const end = () => {
        unlisten()
        signal.removeEventListener('abort', stop)
      }
      const unlisten = store.listen(changes => {
        if (changes.some(change => change.kind === 'job' && change.id === id)) look()
      })
      signal.addEventListener('abort', stop, { once: true })
      if (signal.aborted) return stop()
      look()
    })
  }

  /** For the debug door. */
  dump(): Array<{ job: string; kind: string }> {
    return [...this.#live].map(([job, { kind }]) => ({ job, kind }))
  }

  #mayTurnBack(tx: Tx, { id, kind, context }: Job): boolean {
    const steps = jobSteps(tx, id)
    const state = (name: string) => steps.find(step => step.name === name)?.state ?? undefined
    const table = this.#options.kinds[kind] as JobTable<object, Tx> | undefined
    return table !== undefined && mayTurnBack(table.steps, { state, context: () => context })
  }

  #pump(): void {
    if (this.#stop.signal.aborted) return
    for (const job of unfinishedJobs(this.#options.store.read)) {
      if (this.#live.has(job.id) || this.#resting.has(job.id)) continue
      const table = this.#options.kinds[job.kind]
      if (!table) {
        this.#rest(job, new Fault('UNSUPPORTED', `this version knows no jobs of kind ${job.kind}`))
        continue
      }
      if (!this.#hasRoom(job.kind, table.atOnce ?? usualAtOnce)) continue
      this.#begin(job, table as JobTable<object, Tx>)
    }
  }

  #hasRoom(kind: string, most: number): boolean {
    const same = [...this.#live.values()].filter(live => live.kind === kind).length
    return same < most && this.#live.size < mostAtOnce
  }

  #begin(job: Job, table: JobTable<object, Tx>): void {
    const cancel = new AbortController()
    if (job.isCancelled) cancel.abort(cancelled())
    const live: Live = { kind: job.kind, cancel, over: Promise.resolve() }
    this.#live.set(job.id, live)
    live.over = this.#carryOn(job, table, cancel.signal).finally(() => {
      this.#live.delete(job.id)
      this.#pump()
    })
  }

  async #carryOn({ id, kind }: Job, table: JobTable<object, Tx>, cancel: AbortSignal): Promise<void> {
    const { store, clock, epoch } = this.#options
    const log = this.#options.log.child({ job: id, kind })
    const stop = this.#stop.signal
    const journal = new StoreJournal<object>(store, id, clock)
    // The transaction that created it ends before its work begins.
    await Promise.resolve()
    try {
      if (!journal.turnedBack()) store.transaction(tx => setJobState(tx, id, 'running', epoch))
      const attempts = attemptsOf<object, Tx>({
        ...{ jobId: id, kind, journal, clock, log, stop, cancel },
        mayTurnBack: () => mayTurnBack(table.steps, journal)
      })
      const outcome = await carryOn(id, table.steps, journal, attempts, stop)
      store.transaction(tx => this.#end(tx, id, table, outcome, journal))
      this.#rests.delete(id)
      log.info({ outcome }, 'job over')
    } catch (error) {
      if (stop.aborted) return
      log.error({ err: error }, 'job is not over; it is carried on later')
      const job = jobOrNull(store.read, id)
      if (job && job.ended === null) this.#rest(job, faultFrom(error))
    }
  }

  #end(
    tx: Tx,
    id: string,
    { kind, result }: JobTable<object, Tx>,
    outcome: 'succeeded' | 'undone',
    journal: StoreJournal<object>
  ): void {
    const now = this.#options.clock.wall()
    const { objects, actor } = jobOrNull(tx, id) ?? { objects: {}, actor: 'system' }
    if (outcome === 'succeeded' && result) addJobResult(tx, id, result(journal.context()))
    const why = journal.turnedBack()
    const isFailure = outcome === 'undone'
    const { result: facts = {} } = jobOrNull(tx, id) ?? {}
    const subject = facts['subject'] ?? subjectOf(tx, kind, objects)
    addEvent(
      tx,
      {
        severity: isFailure && why?.reason !== 'CANCELLED' ? 'warning' : 'info',
        kind: isFailure ? `${kind}.failed` : `${kind}.done`,
        text: toldOf(kind, subject, isFailure ? (why?.message ?? 'no reason given') : null, facts['did']),
        ...{ objects, jobId: id, actor }
      },
      now
    )
    endJob(tx, id, outcome, now)
  }

  /** Not over and nothing to do at once: an alert the first time, and another try later. */
  #rest(job: Job, fault: Fault): void {
    const { store, clock, log, epoch } = this.#options
    const { id, kind, objects } = job
    const times = this.#rests.get(id) ?? 0
    this.#rests.set(id, times + 1)
    const cancelWait = clock.after(delayBefore(times, patience, clock.random()), () => {
      this.#resting.delete(id)
      this.#pump()
    })
    this.#resting.set(id, cancelWait)
    try {
      store.transaction(tx => {
        if (job.turnedBack) setJobState(tx, id, 'stuck', epoch)
        if (times > 0 || fault.reason === 'STORE_FULL') return
        const subject = job.result['subject'] ?? subjectOf(tx, kind, objects)
        const what = job.turnedBack ? 'cannot be undone' : 'cannot be finished'
        const text = `${subject}: ${kind} ${what} now, and is tried again: ${fault.message}`
        addEvent(tx, { severity: 'alert', kind: 'job.stuck', text, objects, jobId: id }, clock.wall())
      })
    } catch (error) {
      log.warn({ err: error, job: id }, 'that a job is stuck could not be written down')
    }
  }
}

const cancelled = () => new Fault('CANCELLED', 'somebody cancelled the job')
