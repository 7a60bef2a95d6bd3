import { randomUUID } from 'node:crypto'
import { RpcClient, type Method } from '../../common/client.js'
import { systemClock } from '../../common/clock.js'
import { seconds } from '../../common/units.js'
import type { ImportDiskOpen } from '../../proto/generated/types/drover/v1/ImportDiskOpen.js'
import type { Job__Output as Job } from '../../proto/generated/types/drover/v1/Job.js'
import type { ProgressOf } from './progress.js'
import { coordinatorServices } from '../../proto/load.js'

const ended = new Set(['JOB_STATE_SUCCEEDED', 'JOB_STATE_UNDONE', 'JOB_STATE_STUCK'])

/** The coordinator's gRPC interface, as the lab uses it: through the local socket of the coordinator's host. */
export class Api implements Disposable {
  readonly services = coordinatorServices
  readonly #client: RpcClient

  constructor(socket: string) {
    this.#client = new RpcClient({ unixPath: socket }, systemClock)
  }

  ready(limit: number): Promise<void> {
    return this.#client.ready(seconds(limit))
  }

  ask<Q, R>(method: Method<Q, R>, request: Q, limit = 30): Promise<R> {
    return this.#client.call(method, request, AbortSignal.timeout(limit * 1000), seconds(limit))
  }

  /** Calls a mutation that begins a job, and follows the job to its end. */
  async job<Q>(
    method: Method<Q & { requestId?: string }, Job>,
    request: Q,
    progress: ProgressOf = () => {},
    limit = 120
  ): Promise<Job> {
    return this.follow(await this.ask(method, { requestId: randomUUID(), ...request }), progress, limit)
  }

  async follow(job: Job, progress: ProgressOf = () => {}, limit = 120): Promise<Job> {
    const signal = AbortSignal.timeout(limit * 1000)
    let last = job
    if (!ended.has(last.state)) {
      for await (const next of this.#client.stream(
        coordinatorServices.job.WatchJob,
        { jobId: job.jobId },
        signal
      )) {
        last = next
        progress(described(next))
        if (ended.has(next.state)) break
      }
    }
    if (last.state === 'JOB_STATE_SUCCEEDED') return last
    const why = last.failure ? `${last.failure.reason}: ${last.failure.message}` : last.state
    throw new Error(`job ${last.kind} did not succeed: ${why}`)
  }

  /** Sends a file's bytes, then follows the job that makes a disk of it. */
  async importDisk(
    open: ImportDiskOpen & { sourceFormat: 'DISK_FORMAT_QCOW2' },
    data: Buffer,
    progress: ProgressOf,
    most = 120
  ): Promise<Job> {
    async function* messages() {
      yield { open: { requestId: randomUUID(), size: String(data.length), ...open } }
      for (let at = 0; at < data.length; at += 2 ** 17) yield { data: data.subarray(at, at + 2 ** 17) }
    }
    const limit = seconds(most)
    const job = await this.#client.upload(
      coordinatorServices.disk.ImportDisk,
      messages(),
      AbortSignal.timeout(limit * 1000),
      limit
    )
    return this.follow(job, progress, most)
  }

  /** The serial console, from now on, as text. Ends when the VM moves or stops. */
  async *console(vmId: string, signal: AbortSignal): AsyncGenerator<string> {
    const end = new AbortController()
    async function* keys() {
      yield { open: { vmId, kind: 'CONSOLE_KIND_SERIAL' as const, force: true } }
      await new Promise(resolve => end.signal.addEventListener('abort', resolve, { once: true }))
    }
    const stop = () => end.abort()
    signal.addEventListener('abort', stop, { once: true })
    try {
      const output = this.#client.bidi(coordinatorServices.vm.OpenConsole, keys(), end.signal)
      for await (const { data } of output) yield data.toString('latin1')
    } finally {
      signal.removeEventListener('abort', stop)
      stop()
    }
  }

  [Symbol.dispose](): void {
    this.#client.close()
  }
}

function described({ progress, steps }: Job): string {
  const step = steps.findLast(({ state }) => state === 'STEP_STATE_RUNNING')
  const { percent = 0, phase = '' } = progress ?? {}
  return [`${percent} %`, step?.name ?? '', phase].filter(text => text !== '').join(' · ')
}
