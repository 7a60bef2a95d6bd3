import type { Updateable } from 'kysely'
import type { Clock } from '../../common/clock.js'
import type { Fault } from '../../common/fault.js'
import type { AttemptLog } from '../jobs/attempts.js'
import type { Journal, StepState } from '../jobs/job.js'
import { advanced, noProgress, overall, type Progress } from '../jobs/progress.js'
import { faultOrNull, jobSteps, setJobProgress, type JobStep } from './jobs.js'
import { bit, parsed, sql, type Tx } from './query.js'
import type { Store } from './store.js'
import type { JobStepTable } from './tables.js'

const progressEvery = 0.5

/** The journal of one job in the store: what a coordinator after a crash goes on from. */
export class StoreJournal<Context extends object> implements Journal<Context, Tx>, AttemptLog<Context> {
  readonly #store: Store
  readonly #jobId: string
  readonly #clock: Clock
  // Progress is written now and then; between that it is here.
  readonly #progress = new Map<string, Progress>()
  #progressWritten = 0

  constructor(store: Store, jobId: string, clock: Clock) {
    this.#store = store
    this.#jobId = jobId
    this.#clock = clock
  }

  context(): Readonly<Context> {
    return parsed(this.#job('contextJson'))
  }

  state(step: string): StepState | undefined {
    return this.#step(step).state ?? undefined
  }

  turnedBack(): Fault | null {
    return faultOrNull(this.#job('turnedBackJson'))
  }

  isCancelled(): boolean {
    return this.#job('isCancelled') === 1
  }

  rewindsTo(): string | null {
    return this.#job('rewindsTo')
  }

  turnBack(why: Fault): void {
    this.#store.transaction(tx => {
      tx.run(
        sql
          .updateTable('job')
          .set({ turnedBackJson: JSON.stringify(why), rewindsTo: null, state: 'undoing' })
          .where('id', '=', this.#jobId)
          .where('turnedBackJson', 'is', null)
      )
    })
  }

  rewind(backTo: string, change: Partial<Context>): void {
    this.#store.transaction(tx => {
      this.#changeContext(tx, change)
      tx.run(sql.updateTable('job').set({ rewindsTo: backTo }).where('id', '=', this.#jobId))
    })
  }

  rewound(): void {
    this.#store.transaction(tx => {
      tx.run(sql.updateTable('job').set({ rewindsTo: null }).where('id', '=', this.#jobId))
    })
  }

  done(step: string, commit: (tx: Tx) => Partial<Context> | void): void {
    this.#end(step, 'done', commit)
  }

  undone(step: string, uncommit: (tx: Tx) => Partial<Context> | void): void {
    this.#end(step, 'undone', uncommit)
  }

  attempt(step: string): number {
    return this.#step(step).attempt
  }

  isOpen(step: string): boolean {
    const { state, isOpen } = this.#step(step)
    return state === 'running' && isOpen
  }

  begin(step: string, attempt: number, hostId: string | null): void {
    this.#store.transaction(tx => {
      const started = this.#clock.wall()
      this.#changeStep(tx, step, { state: 'running', attempt, hostId, started, ended: null, isOpen: 1 })
    })
  }

  failed(step: string, fault: Fault, isFinal: boolean): void {
    this.#store.transaction(tx => {
      const faultJson = JSON.stringify(fault)
      this.#changeStep(tx, step, isFinal ? { faultJson, isOpen: 0 } : { faultJson })
    })
  }

  undoAttempt(step: string): number {
    return this.#step(step).undoAttempt
  }

  undoFailed(step: string, fault: Fault, isFinal: boolean): void {
    this.#store.transaction(tx => {
      const undoAttempt = this.undoAttempt(step) + (isFinal ? 1 : 0)
      this.#changeStep(tx, step, { faultJson: JSON.stringify(fault), undoAttempt })
    })
  }

  /** Losing the latest is no harm: a store that cannot be written does not stop the work for it. */
  progress(step: string, change: Partial<Progress>): void {
    const before = this.#progress.get(step) ?? this.#step(step).progress ?? noProgress
    const next = advanced(before, change)
    this.#progress.set(step, next)
    const now = this.#clock.monotonic()
    const isNews = next.phase !== before.phase || next.percent === 100
    if (!isNews && now - this.#progressWritten < progressEvery) return
    this.#progressWritten = now
    if (this.#store.isFull) return
    this.#store.transaction(tx => this.#writeProgress(tx, step))
  }

  #end(step: string, state: 'done' | 'undone', change: (tx: Tx) => Partial<Context> | void): void {
    this.#store.transaction(tx => {
      this.#changeContext(tx, change(tx) ?? {})
      const ended = this.#clock.wall()
      this.#writeProgress(tx, step)
      this.#changeStep(tx, step, { state, ended, isOpen: bit(false) })
      this.#writeOverall(tx)
    })
  }

  #changeContext(tx: Tx, change: Partial<Context>): void {
    if (Object.keys(change).length === 0) return
    const contextJson = JSON.stringify({ ...this.context(), ...change })
    tx.run(sql.updateTable('job').set({ contextJson }).where('id', '=', this.#jobId))
  }

  #changeStep(tx: Tx, step: string, change: Updateable<JobStepTable>): void {
    tx.run(sql.updateTable('jobStep').set(change).where('jobId', '=', this.#jobId).where('name', '=', step))
  }

  #writeProgress(tx: Tx, step: string): void {
    const progress = this.#progress.get(step)
    if (!progress) return
    this.#changeStep(tx, step, { progressJson: JSON.stringify(progress) })
    this.#writeOverall(tx)
  }

  #writeOverall(tx: Tx): void {
    const steps = jobSteps(tx, this.#jobId)
    const before = this.#job('progressJson')
    const now = overall(steps.map(weighed), before === null ? noProgress : parsed(before))
    setJobProgress(tx, this.#jobId, now)
  }

  #job<K extends 'contextJson' | 'turnedBackJson' | 'isCancelled' | 'rewindsTo' | 'progressJson'>(column: K) {
    const row = this.#store.read.first(
      sql
        .selectFrom('job')
        .select(['contextJson', 'turnedBackJson', 'isCancelled', 'rewindsTo', 'progressJson'])
        .where('id', '=', this.#jobId)
    )
    if (!row) throw new Error(`no job ${this.#jobId} in the store`)
    return row[column]
  }

  #step(name: string): JobStep {
    const found = jobSteps(this.#store.read, this.#jobId).find(step => step.name === name)
    if (!found) throw new Error(`job ${this.#jobId} has no step ${name} in the store`)
    return found
  }
}

const weighed = ({ weight, state, progress }: JobStep) => ({
  weight,
  isDone: state === 'done',
  isRunning: state === 'running',
  progress: progress ?? noProgress
})
