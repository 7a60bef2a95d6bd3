import type { Logger } from 'pino'
import type { Clock } from '../common/clock.js'
import { Fault } from '../common/fault.js'
import type { Locks, Want } from '../common/locks.js'
import { seconds, type Seconds } from '../common/units.js'
import type { Entry } from './ledger.js'
import type { Stamp } from './gate.js'
import { Lanes } from './lanes.js'
import { digestOf, isTransient, throwIfReused, type RequestLedger, type RememberEpoch } from './requests.js'

/** Order in which locks are taken: architecture.md, "Locks". */
export const lockLevels = ['hostNetwork', 'vm', 'storageDomain', 'image', 'volume'] as const
export type LockLevel = (typeof lockLevels)[number]

export type Progress = { percent: number; doneBytes: number; totalBytes: number; phase: string }
export type TaskState = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled' | 'lost'
export type Task = {
  id: string
  kind: string
  state: TaskState
  objects: Record<string, string>
  progress: Progress
  created: number
  ended: number | null
  fault: Fault | null
  result: Record<string, string>
  epoch: number
}

export type TaskRun = {
  /** Aborted by CancelTask and at the agent's end. The RPC that began the task has no say. */
  signal: AbortSignal
  /** Never goes back; what is left out stays. */
  progress(change: Partial<Progress>): void
  log: Logger
}
export type TaskPlan = {
  stamp: Stamp
  /** Method that began it, for example "StorageService.CopyImage". */
  kind: string
  /** Everything that was asked for, without the stamp. */
  content: object
  /** Ids of the objects it works on, by kind: `{ vm: … }`. */
  objects: Record<string, string>
  /** Taken as one sorted set before the work begins, held to its end. */
  locks: ReadonlyArray<Want<LockLevel>>
  /** Must bear being repeated: it looks first at what is there. Its result is a few facts by name. */
  work(run: TaskRun): Promise<Record<string, string>>
}

export type TasksOptions = {
  ledger: RequestLedger & { entries(): Entry[]; acknowledge(ids: string[]): Promise<void> }
  rememberEpoch: RememberEpoch
  locks: Locks<LockLevel>
  clock: Clock
  log: Logger
  /** How many of one kind run at once, where that is fewer than all. */
  perKind?: Record<string, number>
  /** The state of a task is another now; null: it is forgotten. */
  onChange?: (id: string, task: Task | null) => void
}

type Live = { digest: string; task: Task; abort: AbortController; begun: Promise<void>; ended: Promise<void> }

const mostRunning = 64
const mostQueued = 1000
const noProgress: Progress = { percent: 0, doneBytes: 0, totalBytes: 0, phase: '' }

/** Requests that may outlast their call. The id of a task is the request id that began it. */
export class Tasks {
  readonly #options: TasksOptions
  readonly #lanes: Lanes
  readonly #live = new Map<string, Live>()
  readonly #lost = new Map<string, Fault>()
  #isStopping = false

  constructor(options: TasksOptions) {
    this.#options = options
    this.#lanes = new Lanes(mostRunning, mostQueued, options.perKind ?? {})
  }

  /**
   * Begins a task, or finds it by its request id. Answers when it has ended, or after a second with how far
   * it is. A failure that comes in that time is thrown: the caller learns it as the status of its call.
   */
  async run(plan: TaskPlan): Promise<Task> {
    const live = await this.#begin(plan)
    if (live) await this.#wait(live.ended, seconds(1))
    const task = this.get(plan.stamp.requestId)
    if (task.fault && task.state !== 'running' && task.state !== 'queued') throw task.fault
    return task
  }

  get(id: string): Task {
    const live = this.#live.get(id)
    if (live) return live.task
    const entry = this.#options.ledger.find(id)
    if (!entry?.isTask) throw new Fault('NOT_FOUND', `there is no task ${id}`)
    return this.#taskOf(entry)
  }

  /** Newest first, without those that the coordinator has acknowledged. */
  list(): Task[] {
    const entries = this.#options.ledger
      .entries()
      .filter(({ isTask, isAcknowledged }) => isTask && !isAcknowledged)
    return entries.toReversed().map(({ id }) => this.get(id))
  }

  /** A wish. The task ends as cancelled only if nothing durable remains. */
  async cancel(id: string): Promise<Task> {
    const task = this.get(id)
    const live = this.#live.get(id)
    if (!live) return task
    live.abort.abort(new Fault('CANCELLED', `task ${id} was cancelled`))
    await this.#wait(live.ended, seconds(1))
    return this.get(id)
  }

  /** Cancels what else works on an object, for a verb that cannot wait for it. */
  async interrupt(object: Record<string, string>, exceptId: string): Promise<void> {
    const [[kind = '', objectId = ''] = []] = Object.entries(object)
    const others = [...this.#live.values()].filter(
      ({ task }) => task.id !== exceptId && task.objects[kind] === objectId
    )
    for (const { task, abort } of others) {
      abort.abort(new Fault('CANCELLED', `task ${task.id} gave way to task ${exceptId}`))
    }
    await this.#wait(Promise.all(others.map(({ ended }) => ended)), seconds(1))
  }

  async acknowledge(ids: string[]): Promise<void> {
    await this.#options.ledger.acknowledge(ids)
    for (const id of ids) {
      if (this.#options.ledger.find(id)?.isAcknowledged) this.#options.onChange?.(id, null)
    }
  }

  /** Takes nothing new, and gives what runs a moment. What is not over then is lost, and asked for again. */
  async stop(patience: Seconds): Promise<void> {
    this.#isStopping = true
    const running = [...this.#live.values()]
    await this.#wait(Promise.all(running.map(({ ended }) => ended)), patience)
    for (const { abort } of this.#live.values()) {
      abort.abort(new Fault('INTERRUPTED', 'the agent was stopped meanwhile'))
    }
    await this.#wait(Promise.all(running.map(({ ended }) => ended)), seconds(2))
  }

  /** Null when it has ended already. */
  async #begin(plan: TaskPlan): Promise<Live | null> {
    const { ledger, rememberEpoch, clock } = this.#options
    const { requestId: id, coordinatorEpoch: epoch } = plan.stamp
    const digest = digestOf(plan)
    const known = this.#live.get(id)
    throwIfReused(id, known ?? ledger.find(id), digest)
    if (known) return known.begun.then(() => known)
    if (ledger.find(id)?.answer) return null
    if (this.#isStopping) throw new Fault('INTERRUPTED', 'the agent is stopping')

    const { kind, objects } = plan
    const task: Task = {
      ...{ id, kind, objects, epoch, state: 'queued', progress: noProgress },
      ...{ created: clock.wall(), ended: null, fault: null, result: {} }
    }
    const abort = new AbortController()
    const begun = (async () => {
      await rememberEpoch(epoch)
      const entry = ledger.find(id)
      if (entry) task.created = entry.begun
      else await ledger.begin({ id, digest, kind, objects, epoch, isTask: true })
    })()
    const ended = begun.then(
      () => this.#perform(plan, task, abort.signal),
      () => {}
    )
    const live = { digest, task, abort, begun, ended: ended.finally(() => this.#live.delete(id)) }
    this.#live.set(id, live)
    await begun
    return live
  }

  async #perform(plan: TaskPlan, task: Task, signal: AbortSignal): Promise<void> {
    const { log, locks, ledger, clock } = this.#options
    const scoped = log.child({ task: task.id, kind: task.kind })
    this.#lost.delete(task.id)
    this.#changed(task)
    try {
      using _place = await this.#lanes.enter(plan.kind, signal)
      using _held = await locks.acquire(plan.locks, signal)
      signal.throwIfAborted()
      task.state = 'running'
      this.#changed(task)
      const progress = (change: Partial<Progress>) => this.#progress(task, change)
      task.result = await plan.work({ signal, progress, log: scoped })
      await ledger.finish(task.id, { ok: true, value: task.result })
      task.progress = { ...task.progress, percent: 100 }
      task.state = 'succeeded'
    } catch (error) {
      await this.#fail(task, error, scoped)
    }
    task.ended = clock.wall()
    this.#changed(task)
  }

  async #fail(task: Task, error: unknown, log: Logger): Promise<void> {
    log.warn({ err: error }, 'task failed')
    const isExpected = error instanceof Fault
    task.fault = isExpected
      ? error
      : new Fault('INTERRUPTED', 'internal error; the log of the agent has the rest')
    if (!isExpected || isTransient(error)) {
      task.state = 'lost'
      this.#lost.set(task.id, task.fault)
      return
    }
    task.state = error.reason === 'CANCELLED' ? 'cancelled' : 'failed'
    await this.#options.ledger.finish(task.id, { ok: false, fault: error })
  }

  #progress(task: Task, change: Partial<Progress>): void {
    if (task.state !== 'running') return
    const before = task.progress
    const percent = Math.min(99, Math.max(before.percent, Math.floor(change.percent ?? 0)))
    const doneBytes = Math.max(before.doneBytes, change.doneBytes ?? 0)
    const after = { ...before, ...change, percent, doneBytes }
    task.progress = after
    if (after.percent !== before.percent || after.phase !== before.phase) this.#changed(task)
  }

  #changed(task: Task): void {
    this.#options.onChange?.(task.id, { ...task })
  }

  #taskOf({ id, kind, objects, epoch, begun, ended, answer }: Entry): Task {
    const task = { id, kind, objects, epoch, created: begun, ended, progress: noProgress, result: {} }
    if (!answer) return { ...task, state: 'lost', fault: this.#lost.get(id) ?? null }
    if (answer.ok) {
      const progress = { ...noProgress, percent: 100 }
      return {
        ...task,
        progress,
        state: 'succeeded',
        fault: null,
        result: answer.value as Record<string, string>
      }
    }
    const state = answer.fault.reason === 'CANCELLED' ? 'cancelled' : 'failed'
    return { ...task, state, fault: answer.fault }
  }

  async #wait(work: Promise<unknown>, limit: Seconds): Promise<void> {
    let cancel = () => {}
    const late = new Promise<void>(resolve => (cancel = this.#options.clock.after(limit, resolve)))
    await Promise.race([work, late])
    cancel()
  }
}
