import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { within } from '../common/deadline.js'
import { Fault } from '../common/fault.js'
import type { Run } from '../common/run.js'
import { type Bytes, bytes, seconds } from '../common/units.js'
import type { CopyTarget } from '../storage/copy-image.js'
import type { ImportSource } from '../storage/import-image.js'
import type { MergeVolumes } from '../storage/merge-volumes.js'
import type { Place } from '../storage/storage-domain.js'
import { asStorageUser } from '../storage/storage-user.js'
import type { DataPrograms } from './data-programs.js'
import { isTransient } from './requests.js'
import type { Storage } from './storage.js'
import type { TaskRun } from './tasks.js'

// Operations that move data: the worker begins and ends them, a program of its own moves the bytes in between.
// Each may be repeated at any point: the worker looks first at what is there.

export type CopyRequest = {
  sourceStorageDomainId: string
  source: Place
  storageDomainId: string
  target: CopyTarget
}
export type MergeRequest = MergeVolumes & { storageDomainId: string }
export type ImportRequest = ImportSource & {
  storageDomainId: string
  target: CopyTarget
  sha256: string | null
}
export type Upload = { uploadId: string; storageDomainId: string; size: Bytes }

const never = new AbortController().signal

export class ImageTasks {
  readonly #storage: Storage
  readonly #programs: DataPrograms
  readonly #run: Run

  constructor(storage: Storage, programs: DataPrograms, run: Run) {
    this.#storage = storage
    this.#programs = programs
    this.#run = run
  }

  async copy(taskId: string, request: CopyRequest, run: TaskRun): Promise<Record<string, string>> {
    const { sourceStorageDomainId, source, storageDomainId: id, target } = request
    const plan = await this.#storage.askActive(sourceStorageDomainId, 'copySource', source, run.signal)
    try {
      const program = await this.#storage.askActive(id, 'copyBegin', { ...target, source: plan }, run.signal)
      if (program !== null) {
        const work = () =>
          this.#programs.run(
            taskId,
            program,
            percent => run.progress({ percent, phase: 'copying' }),
            run.signal
          )
        await this.#orUndone(id, target.imageId, work)
      }
    } finally {
      const { imageId } = source
      await this.#storage
        .askActive(sourceStorageDomainId, 'copySourceEnd', { imageId }, never)
        .catch(() => {})
    }
    const { capacity } = await this.#storage.askActive(id, 'copyFinish', target, never)
    return { capacity: String(capacity) }
  }

  /** What is half merged is still a right chain, so nothing is undone: the same merge may be begun again. */
  async merge(taskId: string, request: MergeRequest, run: TaskRun): Promise<Record<string, string>> {
    const { storageDomainId: id, ...merge } = request
    const program = await this.#storage.askActive(id, 'mergeBegin', merge, run.signal)
    if (program !== null) {
      await this.#programs.run(
        taskId,
        program,
        percent => run.progress({ percent, phase: 'merging' }),
        run.signal
      )
    }
    await this.#storage.askActive(id, 'mergeFinish', merge, never)
    return {}
  }

  async import(taskId: string, request: ImportRequest, run: TaskRun): Promise<Record<string, string>> {
    const { storageDomainId: id, source } = request
    const forget = async () => {
      if (source.kind === 'upload') await this.#storage.askActive(id, 'uploadRemove', source, never)
    }
    try {
      const result = await this.#import(taskId, request, run)
      await forget()
      return result
    } catch (error) {
      // Nobody can ask for this import again: what was uploaded for it has no further use.
      if (error instanceof Fault && !comesAgain(error)) await forget().catch(() => {})
      throw error
    }
  }

  async #import(taskId: string, request: ImportRequest, run: TaskRun): Promise<Record<string, string>> {
    const { storageDomainId: id, source, declared, target } = request
    const begun = await this.#storage.askActive(
      id,
      'importBegin',
      { ...target, source, declared },
      run.signal
    )
    let sha256 = ''
    if (begun !== null) {
      const stop = new AbortController()
      const signal = AbortSignal.any([run.signal, stop.signal])
      const onPercent = (percent: number) => run.progress({ percent, phase: 'converting' })
      await this.#orUndone(id, target.imageId, async () => {
        const converted = this.#programs.run(taskId, begun.program, onPercent, signal)
        const summed = this.#sha256(begun.source, signal).then(sum => {
          throwIfOther(sum, request.sha256)
          return sum
        })
        try {
          ;[sha256] = await Promise.all([summed, converted])
        } catch (error) {
          stop.abort(error)
          await Promise.allSettled([summed, converted])
          throw error
        }
      })
    }
    const { capacity } = await this.#storage.askActive(id, 'importFinish', target, never)
    return { sha256, capacity: String(capacity) }
  }

  /** Bytes go from the call straight into a program that writes them; this process only counts and hashes. */
  async upload(
    upload: Upload,
    parts: AsyncIterable<Buffer>,
    signal: AbortSignal
  ): Promise<{ size: Bytes; sha256: string }> {
    const { storageDomainId: id, uploadId, size } = upload
    const program = await this.#storage.askActive(id, 'uploadBegin', { uploadId, size }, signal)
    const { child, ended } = this.#programs.startWriter(program)
    const hash = createHash('sha256')
    let received = 0
    try {
      for await (const part of parts) {
        received += part.length
        if (received > size)
          throw new Fault('INVALID_REQUEST', `more than the announced ${size} bytes have come`)
        hash.update(part)
        if (child.stdin?.write(part) === false) await drained(child.stdin, ended, signal)
      }
      if (received < size)
        throw new Fault('INVALID_REQUEST', `${received} of the announced ${size} bytes have come`)
      child.stdin?.end()
      await ended
      await this.#storage.askActive(id, 'uploadFinish', { uploadId, size }, signal)
      return { size: bytes(received), sha256: hash.digest('hex') }
    } catch (error) {
      child.kill('SIGKILL')
      await ended.catch(() => {})
      await this.#storage.askActive(id, 'uploadRemove', { uploadId }, never).catch(() => {})
      throw error
    }
  }

  /** A new image whose data did not come is worth nothing. What may come yet (a repeat) is left alone. */
  async #orUndone(id: string, imageId: string, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (!comesAgain(error))
        await this.#storage.askActive(id, 'removeImage', { imageId, wipe: false }, never)
      throw error
    }
  }

  async #sha256(path: string, signal: AbortSignal): Promise<string> {
    // openssl uses the CPU's own instructions, sha256sum does not: a factor of nine.
    const words = existsSync('/usr/bin/openssl') ? ['openssl', 'dgst', '-sha256', '-r'] : ['sha256sum', '--']
    const [program = '', ...args] = [...asStorageUser(), ...words]
    const { stdout } = await this.#run(program, [...args, path], signal)
    return stdout.slice(0, 64)
  }
}

const comesAgain = (error: unknown) =>
  error instanceof Fault && (isTransient(error) || error.reason === 'LEASE_HELD')

function throwIfOther(found: string, wanted: string | null): void {
  if (wanted === null || found === wanted) return
  throw new Fault('IMAGE_REFUSED', `sha256: the file has ${found}, not ${wanted}`, {
    facts: { rule: 'sha256', sha256: found }
  })
}

/** Until the pipe takes more, the program fails, or a minute has passed: then the storage hangs. */
async function drained(pipe: NodeJS.EventEmitter, ended: Promise<void>, signal: AbortSignal): Promise<void> {
  const limited = within(seconds(60), signal)
  await new Promise<void>((resolve, reject) => {
    const onAbort = () => {
      const late = new Fault('STORAGE_DOMAIN_UNRESPONSIVE', 'the storage takes no more bytes', {
        cause: limited.reason
      })
      reject(signal.aborted ? signal.reason : late)
    }
    limited.addEventListener('abort', onAbort, { once: true })
    pipe.once('drain', () => {
      limited.removeEventListener('abort', onAbort)
      resolve()
    })
    ended.then(() => reject(new Fault('COMMAND_FAILED', 'the writing program ended early')), reject)
  })
}
