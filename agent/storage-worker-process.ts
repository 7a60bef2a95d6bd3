import { type ChildProcess, spawn } from 'node:child_process'
import type { Logger } from '../common/log.js'
import type { Clock } from '../common/clock.js'
import { Fault } from '../common/fault.js'
import { seconds } from '../common/units.js'
import {
  type FromWorker,
  type MonitorReport,
  type Result,
  type Arguments,
  type Verb,
  verbs
} from '../storage/verbs.js'

/** How a worker is started: the program and its arguments, and what it finds in its environment. */
export type WorkerCommand = { argv: string[]; environment: Record<string, string> }

export type WorkerEvents = {
  onReport(report: MonitorReport): void
  /** Something in it waits for the manager's lease, and another host has that. */
  onManagerWanted(): void
  /** It has ended, whatever the reason; all its verbs have failed by now. */
  onExit(): void
}

type Pending = {
  verb: Verb
  resolve: (value: unknown) => void
  reject: (error: unknown) => void
  isLate: boolean
  cancelTimer: () => void
}

const mostLate = 8
const mostPending = 256

/**
 * One life of one storage worker, as the main process sees it. Every verb has its deadline here: a worker that
 * hangs delays nobody. A late verb stays counted until it answers after all; with eight of them new verbs fail
 * at once.
 */
export class StorageWorkerProcess {
  readonly #child: ChildProcess
  readonly #name: string
  readonly #clock: Clock
  readonly #log: Logger
  readonly #pending = new Map<number, Pending>()
  #next = 1
  #hasEnded = false
  #ended: Promise<void>

  constructor(name: string, command: WorkerCommand, events: WorkerEvents, clock: Clock, log: Logger) {
    this.#name = name
    this.#clock = clock
    this.#log = log
    const [program = '', ...args] = command.argv
    this.#child = spawn(program, args, {
      cwd: '/',
      env: command.environment,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc']
    })
    this.#child.on('message', (message: FromWorker) => this.#receive(message, events))
    this.#child.on('error', error => this.#log.error({ err: error }, 'storage worker failed'))
    this.#ended = new Promise(resolve => {
      const end = (code: number | null, signal: string | null) => {
        if (this.#hasEnded) return
        this.#hasEnded = true
        this.#log.info({ code, signal }, 'storage worker ended')
        this.#failAll()
        events.onExit()
        resolve()
      }
      this.#child.on('exit', end)
      this.#child.on('error', () => {
        if (this.#child.pid === undefined) end(null, null)
      })
    })
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** Verbs whose caller has stopped waiting. */
  get late(): number {
    return [...this.#pending.values()].filter(({ isLate }) => isLate).length
  }

  /** For the debug door. */
  get pending(): string[] {
    return [...this.#pending.values()].map(({ verb, isLate }) => (isLate ? `${verb} (late)` : verb))
  }

  ask<V extends Verb>(verb: V, request: Arguments<V>, signal: AbortSignal): Promise<Result<V>> {
    signal.throwIfAborted()
    if (this.#hasEnded) throw new Fault('INTERRUPTED', `the storage worker of ${this.#name} is not running`)
    if (this.late >= mostLate) throw this.#unresponsive(`${this.late} operations have not ended`)
    if (this.#pending.size >= mostPending)
      throw new Fault('LIMIT', `${mostPending} operations wait for ${this.#name}`)
    const id = this.#next++
    return new Promise<Result<V>>((resolve, reject) => {
      const abandon = (error: unknown) => {
        const entry = this.#pending.get(id)
        if (!entry) return
        entry.isLate = true
        reject(error)
      }
      const cancelTimer = this.#clock.after(verbs[verb].limit, () => {
        this.#log.warn({ verb, late: this.late + 1 }, 'storage worker is late')
        abandon(this.#unresponsive(`${verb} did not end in time`))
      })
      const onAbort = () => abandon(signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      const done =
        <T>(settle: (value: T) => void) =>
        (value: T) => {
          signal.removeEventListener('abort', onAbort)
          settle(value)
        }
      const settled = { resolve: done(resolve as (value: unknown) => void), reject: done(reject) }
      this.#pending.set(id, { verb, ...settled, isLate: false, cancelTimer })
      this.#child.send({ id, verb, arguments: request }, error => {
        if (error) this.#settle(id, ({ reject: fail }) => fail(this.#interrupted(verb)))
      })
    })
  }

  /** Asks it to end; kills it when it does not. False: it hangs in the kernel and was left behind. */
  async stop(): Promise<boolean> {
    if (this.#hasEnded) return true
    if (this.#child.connected) this.#child.disconnect()
    if (await this.#endsWithin(7)) return true
    this.#child.kill('SIGKILL')
    if (await this.#endsWithin(2)) return true
    this.#log.error({ pid: this.#child.pid }, 'storage worker cannot be killed; left behind')
    this.#child.unref()
    return false
  }

  /** At once, for a worker that no longer answers. */
  kill(): void {
    this.#child.kill('SIGKILL')
  }

  async #endsWithin(limit: number): Promise<boolean> {
    let cancel = () => {}
    const late = new Promise<boolean>(resolve => {
      cancel = this.#clock.after(seconds(limit), () => resolve(false))
    })
    const ended = await Promise.race([this.#ended.then(() => true), late])
    cancel()
    return ended
  }

  #receive(message: FromWorker, events: WorkerEvents): void {
    switch (message.kind) {
      case 'ready':
        return
      case 'monitor':
        return events.onReport(message.report)
      case 'managerWanted':
        return events.onManagerWanted()
      case 'result':
        return this.#settle(message.id, ({ resolve }) => resolve(message.value))
      case 'fault':
        return this.#settle(message.id, ({ reject }) => reject(Fault.fromJSON(message.fault)))
    }
  }

  #settle(id: number, settle: (pending: Pending) => void): void {
    const entry = this.#pending.get(id)
    if (!entry) return
    this.#pending.delete(id)
    entry.cancelTimer()
    if (entry.isLate)
      this.#log.info({ verb: entry.verb, late: this.late }, 'late operation has ended after all')
    settle(entry)
  }

  #failAll(): void {
    for (const [id, { verb }] of [...this.#pending])
      this.#settle(id, ({ reject }) => reject(this.#interrupted(verb)))
  }

  #interrupted(verb: Verb): Fault {
    return new Fault('INTERRUPTED', `the storage worker of ${this.#name} ended during ${verb}`)
  }

  #unresponsive(why: string): Fault {
    return new Fault('STORAGE_DOMAIN_UNRESPONSIVE', `storage domain ${this.#name} does not answer: ${why}`, {
      facts: { storageDomainId: this.#name }
    })
  }
}
