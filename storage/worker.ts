import { pino } from 'pino'
import { systemClock } from '../common/clock.js'
import { Fault } from '../common/fault.js'
import { commandRunner } from '../common/run.js'
import { MiB, seconds } from '../common/units.js'
import { asFault } from './faults.js'
import { Sanlock } from './sanlock.js'
import { type FromWorker, type ToWorker, verbs } from './verbs.js'
import { WorkerLanes } from './worker-lanes.js'
import { WorkerService } from './worker-service.js'
import { parseWorkerSettings } from './worker-settings.js'

// One storage domain's child process: everything that touches its storage happens here, so that a mount that
// hangs hangs nothing else. Verbs come over IPC and are answered by id; when the parent goes, so do we.

// Directories that QEMU's and sanlock's users must pass are made here; what is secret says so by its own mode.
process.umask(0o022)

const settings = parseWorkerSettings(process.argv[2] ?? '{}')
const log = pino(
  { name: 'storage-worker', level: settings.logLevel, base: { storageDomain: settings.storageDomainId } },
  pino.destination({ dest: 2, sync: true })
)
const run = commandRunner(log)
const sanlock = new Sanlock(settings.sanlock, run, systemClock)
const { owner, runDirectory } = settings
const { thinInitialMib } = settings
const thin = thinInitialMib === undefined ? {} : { thinInitial: MiB(thinInitialMib) }
const tools = { run, sanlock, clock: systemClock, log, owner, runDirectory, ...thin }
const service = new WorkerService(settings, tools, {
  onReport: report => send({ kind: 'monitor', report }),
  onManagerWanted: () => send({ kind: 'managerWanted' })
})
const lanes = new WorkerLanes()
let isLeaving = false

process.on('message', (message: ToWorker) => void serve(message))
process.on('disconnect', () => leave())
send({ kind: 'ready', pid: process.pid })

async function serve({ id, verb, arguments: request }: ToWorker): Promise<void> {
  const { lane, limit } = verbs[verb]
  const handler = service.handlers[verb] as (request: unknown, signal: AbortSignal) => Promise<unknown>
  try {
    if (isLeaving) throw new Fault('INTERRUPTED', 'the storage worker is ending')
    const value = await lanes.run(lane, () => handler(request, AbortSignal.timeout(limit * 1000)))
    send({ kind: 'result', id, value })
  } catch (error) {
    const fault = asFault(timedOut(error, verb))
    log[fault instanceof Fault ? 'warn' : 'error']({ err: fault, verb }, 'verb failed')
    send({ kind: 'fault', id, fault: fault instanceof Fault ? fault.toJSON() : { message: String(fault) } })
  }
}

function timedOut(error: unknown, verb: string): unknown {
  if (!(error instanceof Error) || error.name !== 'TimeoutError') return error
  return new Fault('STORAGE_DOMAIN_UNRESPONSIVE', `${verb} did not end in time`, { cause: error })
}

function send(message: FromWorker): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => {})
}

/** Takes nothing new and lets what runs come to its end. A thread stuck in the kernel is not waited for. */
function leave(): void {
  isLeaving = true
  const began = systemClock.monotonic()
  const look = () => {
    const late = systemClock.monotonic() - began > 5
    if (lanes.busy > 0 && !late) return void systemClock.after(seconds(0.05), look)
    void service.stop().finally(() => process.kill(process.pid, 'SIGKILL'))
  }
  look()
}
