import type { Fault } from '../../../common/fault.js'
import type { AttemptLog } from '../../../coordinator/jobs/attempts.js'
import type { Journal, StepState } from '../../../coordinator/jobs/job.js'

/** A journal that survives a "crash" as long as the test keeps it. Transactions get the trail of the test. */
export class MemoryJournal<C extends object> implements Journal<C, string[]>, AttemptLog<C> {
  #context: C
  readonly states = new Map<string, StepState>()
  readonly #attempts = new Map<string, number>()
  readonly #closed = new Set<string>()
  readonly #undoAttempts = new Map<string, number>()
  readonly trail: string[]
  #turnedBack: Fault | null = null
  #rewindsTo: string | null = null
  cancelled = false
  failures: string[] = []

  constructor(context: C, trail: string[] = []) {
    this.#context = context
    this.trail = trail
  }

  context = () => this.#context
  state = (step: string) => this.states.get(step)
  turnedBack = () => this.#turnedBack
  isCancelled = () => this.cancelled
  rewindsTo = () => this.#rewindsTo

  turnBack(why: Fault) {
    this.#turnedBack ??= why
  }

  rewind(backTo: string, change: Partial<C>) {
    this.#context = { ...this.#context, ...change }
    this.#rewindsTo = backTo
  }

  rewound() {
    this.#rewindsTo = null
  }

  done(step: string, commit: (tx: string[]) => Partial<C> | void) {
    this.#context = { ...this.#context, ...commit(this.trail) }
    this.states.set(step, 'done')
  }

  undone(step: string, uncommit: (tx: string[]) => Partial<C> | void) {
    this.#context = { ...this.#context, ...uncommit(this.trail) }
    this.states.set(step, 'undone')
  }

  attempt = (step: string) => this.#attempts.get(step) ?? 0
  isOpen = (step: string) => this.states.get(step) === 'running' && !this.#closed.has(step)

  begin(step: string, attempt: number) {
    this.states.set(step, 'running')
    this.#attempts.set(step, attempt)
    this.#closed.delete(step)
  }

  failed(step: string, fault: Fault, isFinal: boolean) {
    this.failures.push(`${step}: ${fault.reason}`)
    if (isFinal) this.#closed.add(step)
  }

  undoAttempt = (step: string) => this.#undoAttempts.get(step) ?? 1

  undoFailed(step: string, fault: Fault, isFinal: boolean) {
    this.failures.push(`undo ${step}: ${fault.reason}`)
    if (isFinal) this.#undoAttempts.set(step, this.undoAttempt(step) + 1)
  }

  progress() {}
}
