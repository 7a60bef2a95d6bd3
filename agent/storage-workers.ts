import type { Clock } from '../common/clock.js'
import { Fault } from '../common/fault.js'
import type { Logger } from '../common/log.js'
import { delayBefore } from '../common/retry.js'
import { seconds, type Seconds } from '../common/units.js'
import { sanlockEnvironment, type SanlockSettings } from '../storage/sanlock.js'
import { asStorageUser } from '../storage/storage-user.js'
import type { Arguments, MonitorReport, Result, Verb } from '../storage/verbs.js'
import type { StoragePlace, WorkerSettings } from '../storage/worker-settings.js'
import { StorageWorkerProcess, type WorkerCommand } from './storage-worker-process.js'

export type StorageWorkersOptions = {
  /** What all workers are told alike. */
  settings: Omit<WorkerSettings, 'storageDomainId' | keyof StoragePlace>
  clock: Clock
  log: Logger
  /** The program that becomes a worker; by default Node with storage/worker beside this file. */
  program?: string[]
  onReport?: (storageDomainId: string, report: MonitorReport) => void
  /** Something here waits for the manager's lease, and another host has that. */
  onManagerWanted?: (storageDomainId: string) => void
  /** A worker runs again after it had ended: what was active in it has to be activated again. */
  onRestart?: (storageDomainId: string) => void
}

type Slot = {
  place: StoragePlace
  process: StorageWorkerProcess
  restarts: number
  abandoned: number
  lastReport: { report: MonitorReport; at: Seconds } | null
  isWanted: boolean
  cancelRestart: () => void
}

export type WorkerHealth = {
  isRunning: boolean
  late: number
  pending: string[]
  restarts: number
  abandoned: number
  report: MonitorReport | null
  /** Seconds since the last report; null before the first. */
  reportAge: Seconds | null
}

const backoff = { first: seconds(1), most: seconds(30) }
/** A monitor that has not reported for so long hangs in a read. */
const silence = seconds(20)

/** One child process per storage domain: starts, watches, asks them, and starts them again. */
export class StorageWorkers {
  readonly #options: StorageWorkersOptions
  readonly #slots = new Map<string, Slot>()
  #isStopping = false

  constructor(options: StorageWorkersOptions) {
    this.#options = options
  }

  get ids(): string[] {
    return [...this.#slots.keys()]
  }

  /** Idempotent; another place than before is a mistake of the caller. */
  start(storageDomainId: string, place: StoragePlace): void {
    const known = this.#slots.get(storageDomainId)
    if (known) {
      if (JSON.stringify(known.place) === JSON.stringify(place)) return
      throw new Fault('WRONG_STATE', `storage domain ${storageDomainId} is connected by another way`)
    }
    const slot: Slot = {
      place,
      process: null as never,
      ...{ restarts: 0, abandoned: 0, lastReport: null, isWanted: true },
      cancelRestart: () => {}
    }
    this.#slots.set(storageDomainId, slot)
    slot.process = this.#spawn(storageDomainId, slot)
  }

  /** The same storage domain on more or fewer devices; the worker has been told. For its next life. */
  moved(storageDomainId: string, place: StoragePlace): void {
    const slot = this.#slots.get(storageDomainId)
    if (slot) slot.place = place
  }

  async ask<V extends Verb>(
    storageDomainId: string,
    verb: V,
    request: Arguments<V>,
    signal: AbortSignal
  ): Promise<Result<V>> {
    const slot = this.#slots.get(storageDomainId)
    if (!slot) throw new Fault('NOT_FOUND', `storage domain ${storageDomainId} is not connected to this host`)
    return slot.process.ask(verb, request, signal)
  }

  /** A question to a worker of its own, which ends after it: for directories that are not connected. */
  async askOnce<V extends Verb>(
    place: { storageDomainId: string | null } & StoragePlace,
    verb: V,
    request: Arguments<V>,
    signal: AbortSignal
  ): Promise<Result<V>> {
    const name = place.storageDomainId ?? place.devices?.[0] ?? place.mount
    const events = { onReport: () => {}, onManagerWanted: () => {}, onExit: () => {} }
    const process = new StorageWorkerProcess(
      name,
      this.#command(place),
      events,
      this.#options.clock,
      this.#options.log
    )
    try {
      return await process.ask(verb, request, signal)
    } finally {
      void process.stop()
    }
  }

  async stop(storageDomainId: string): Promise<void> {
    const slot = this.#slots.get(storageDomainId)
    if (!slot) return
    slot.isWanted = false
    slot.cancelRestart()
    this.#slots.delete(storageDomainId)
    await slot.process.stop()
  }

  async stopAll(): Promise<void> {
    this.#isStopping = true
    await Promise.all(this.ids.map(id => this.stop(id)))
  }

  /** The process behind a storage domain; another one after it died. */
  pid(storageDomainId: string): number | undefined {
    return this.#slots.get(storageDomainId)?.process.pid
  }

  health(storageDomainId: string): WorkerHealth | null {
    const slot = this.#slots.get(storageDomainId)
    if (!slot) return null
    const { process, restarts, abandoned, lastReport } = slot
    return {
      isRunning: !process.hasEnded,
      late: process.late,
      pending: process.pending,
      restarts,
      abandoned,
      report: lastReport?.report ?? null,
      reportAge: lastReport === null ? null : seconds(this.#options.clock.monotonic() - lastReport.at)
    }
  }

  /** Whether the storage domain answers: its monitor reports, and no pile of late operations. */
  isResponsive(storageDomainId: string): boolean {
    const health = this.health(storageDomainId)
    return health !== null && health.isRunning && health.late < 8 && (health.reportAge ?? 0) <= silence
  }

  /** What was active before is not any more: an old report says nothing. */
  forgetReport(storageDomainId: string): void {
    const slot = this.#slots.get(storageDomainId)
    if (slot) slot.lastReport = null
  }

  #spawn(storageDomainId: string, slot: Slot): StorageWorkerProcess {
    const log = this.#options.log.child({ storageDomain: storageDomainId })
    const command = this.#command({ storageDomainId, ...slot.place })
    const events = {
      onReport: (report: MonitorReport) => {
        slot.lastReport = { report, at: this.#options.clock.monotonic() }
        this.#options.onReport?.(storageDomainId, report)
      },
      onManagerWanted: () => this.#options.onManagerWanted?.(storageDomainId),
      onExit: () => this.#restartLater(storageDomainId, slot)
    }
    return new StorageWorkerProcess(storageDomainId, command, events, this.#options.clock, log)
  }

  #restartLater(storageDomainId: string, slot: Slot): void {
    if (this.#isStopping || !slot.isWanted) return
    const { clock, log, onRestart } = this.#options
    const delay = delayBefore(slot.restarts++, backoff, clock.random())
    log.warn({ storageDomain: storageDomainId, delay }, 'storage worker is started again')
    slot.cancelRestart = clock.after(delay, () => {
      slot.process = this.#spawn(storageDomainId, slot)
      onRestart?.(storageDomainId)
    })
  }

  #command(place: { storageDomainId: string | null } & StoragePlace): WorkerCommand {
    const { settings, program = defaultProgram() } = this.#options
    const argument = JSON.stringify({ ...settings, ...place } satisfies WorkerSettings)
    const registered = registering(settings.sanlock)
    const user = place.asOwner ? asStorageUser() : []
    return { argv: [...registered, ...user, ...program, argument], environment: environment() }
  }
}

/** The program registers with the sanlock daemon, then becomes the worker: the same process, its IPC intact. */
function registering(settings: SanlockSettings): string[] {
  if (settings.mode === 'direct') return []
  return [...sanlockEnvironment(settings), 'sanlock', 'client', 'command', '-c']
}

function defaultProgram(): string[] {
  const isSource = import.meta.filename.endsWith('.ts')
  const path = `${import.meta.dirname}/../storage/worker.${isSource ? 'ts' : 'js'}`
  const flags = isSource ? ['--import', import.meta.resolve('tsx')] : ['--max-old-space-size=128']
  return [process.execPath, ...flags, path]
}

const passedOn = ['NODE_ENV', 'DROVER_CRASHPOINTS', 'DROVER_CRASHPOINTS_LOG']

function environment(): Record<string, string> {
  const values: Record<string, string> = {
    PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    LC_ALL: 'C',
    UV_THREADPOOL_SIZE: '16'
  }
  for (const name of passedOn) {
    const value = process.env[name]
    if (value !== undefined) values[name] = value
  }
  return values
}
