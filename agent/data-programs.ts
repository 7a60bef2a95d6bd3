import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, open, rm } from 'node:fs/promises'
import { type Clock, sleep } from '../common/clock.js'
import { Fault } from '../common/fault.js'
import type { Logger } from '../common/log.js'
import type { Run } from '../common/run.js'
import { seconds } from '../common/units.js'
import { type DataProgram, percentIn } from '../storage/data-program.js'

export type DataProgramsOptions = {
  /** Where their output goes while they run; not on shared storage. */
  directory: string
  run: Run
  clock: Clock
  log: Logger
  /** As units of systemd they outlive the agent; without it they are children. By default: if systemd runs. */
  asUnits?: boolean
}

const most = 4096
const look = seconds(0.5)

/**
 * Programs that move data for hours. As transient units they outlive a restart of the agent: the same task asked
 * for again finds its program by name and waits for it instead of starting a second one.
 */
export class DataPrograms {
  readonly #options: DataProgramsOptions
  readonly #asUnits: boolean

  constructor(options: DataProgramsOptions) {
    this.#options = options
    this.#asUnits = options.asUnits ?? existsSync('/run/systemd/system')
  }

  /** Runs it to its end. The signal ends it: then what it wrote is worth nothing, and the caller undoes it. */
  async run(
    taskId: string,
    program: DataProgram,
    onPercent: (percent: number) => void,
    signal: AbortSignal
  ): Promise<void> {
    signal.throwIfAborted()
    await mkdir(this.#options.directory, { recursive: true, mode: 0o700 })
    const output = `${this.#options.directory}/${taskId}.out`
    const stop = new AbortController()
    const watched = this.#watch(output, onPercent, stop.signal)
    try {
      if (this.#asUnits) await this.#runUnit(taskId, program, output, signal)
      else await this.#runChild(program, output, signal)
    } finally {
      stop.abort()
      await watched
      await rm(output, { force: true })
    }
  }

  /** A child that takes bytes on its standard input; it ends with the agent. */
  startWriter({ argv }: DataProgram): { child: ChildProcess; ended: Promise<void> } {
    const [program = '', ...args] = argv
    const child = spawn(program, args, { cwd: '/', env: environment, stdio: ['pipe', 'ignore', 'pipe'] })
    return { child, ended: ended(child, argv) }
  }

  async #runChild({ argv }: DataProgram, output: string, signal: AbortSignal): Promise<void> {
    const file = await open(output, 'w', 0o600)
    try {
      signal.throwIfAborted()
      const [program = '', ...args] = argv
      const stdio: StdioOptions = ['ignore', file.fd, 'pipe']
      const child = spawn(program, args, { cwd: '/', env: environment, stdio, detached: true })
      const onAbort = () => killGroup(child)
      signal.addEventListener('abort', onAbort, { once: true })
      await ended(child, argv, () => readTail(output)).finally(() =>
        signal.removeEventListener('abort', onAbort)
      )
    } catch (error) {
      signal.throwIfAborted()
      throw error
    } finally {
      await file.close()
    }
    signal.throwIfAborted()
  }

  async #runUnit(taskId: string, { argv }: DataProgram, output: string, signal: AbortSignal): Promise<void> {
    const { run, log } = this.#options
    const unit = `drover-task-${taskId}.service`
    const never = new AbortController().signal
    // When only the agent ends, the program goes on: the task finds it again.
    const isLeaving = () => Fault.is(signal.reason, 'INTERRUPTED')
    const onAbort = () => {
      if (isLeaving()) return
      run('systemctl', ['stop', '--no-block', unit], never).catch((error: unknown) =>
        log.warn({ err: error, unit }, 'unit not stopped')
      )
    }
    signal.addEventListener('abort', onAbort, { once: true })
    const work = this.#followUnit(unit, argv, output, never)
    try {
      await Promise.race([work, left(signal)])
    } finally {
      signal.removeEventListener('abort', onAbort)
      if (!isLeaving()) await run('systemctl', ['reset-failed', unit], never, { okCodes: [0, 1, 5] })
    }
    signal.throwIfAborted()
  }

  async #followUnit(unit: string, argv: string[], output: string, never: AbortSignal): Promise<void> {
    const { run, log } = this.#options
    if (await this.#isActive(unit)) {
      log.info({ unit }, 'data program found again')
      return this.#awaitUnit(unit, output)
    }
    const outputs = [
      `--property=StandardOutput=truncate:${output}`,
      `--property=StandardError=append:${output}`
    ]
    const properties = ['--slice=drover-jobs.slice', '--property=KillMode=mixed', ...outputs]
    await run('systemctl', ['reset-failed', unit], never, { okCodes: [0, 1, 5] })
    const words = ['--quiet', '--wait', `--unit=${unit}`, ...properties, '--', ...argv]
    const { code } = await run('systemd-run', words, never, { okCodes: allCodes })
    if (code !== 0) throw failed(argv, code, await readTail(output))
  }

  async #state(unit: string): Promise<string> {
    const { stdout } = await this.#options.run(
      'systemctl',
      ['show', '--value', '-p', 'ActiveState', unit],
      AbortSignal.timeout(30_000)
    )
    return stdout.trim()
  }

  async #isActive(unit: string): Promise<boolean> {
    return ['active', 'activating', 'deactivating'].includes(await this.#state(unit))
  }

  /** A unit that succeeds is unloaded; one that fails stays, so that we learn of it. */
  async #awaitUnit(unit: string, output: string): Promise<void> {
    while (await this.#isActive(unit)) await sleep(this.#options.clock, look, new AbortController().signal)
    if ((await this.#state(unit)) === 'failed') throw failed([unit], 1, await readTail(output))
  }

  async #watch(output: string, onPercent: (percent: number) => void, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(this.#options.clock, look, signal).catch(() => {})
      const percent = percentIn(await readTail(output))
      if (percent !== null && !signal.aborted) onPercent(percent)
    }
  }
}

const environment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' }
const allCodes = Array.from({ length: 256 }, (_, code) => code)

/** Rejects when the agent ends; a cancelled program is waited for instead, so that nothing writes any more. */
function left(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const look = () => {
      if (Fault.is(signal.reason, 'INTERRUPTED')) reject(signal.reason)
    }
    if (signal.aborted) look()
    else signal.addEventListener('abort', look, { once: true })
  })
}

/** The child and what it has started: a sandbox that loses its parent while it is set up waits for ever. */
function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

async function readTail(path: string): Promise<string> {
  const file = await open(path, 'r').catch(() => null)
  if (file === null) return ''
  try {
    const { size } = await file.stat()
    const { buffer, bytesRead } = await file.read(Buffer.alloc(most), 0, most, Math.max(0, size - most))
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await file.close()
  }
}

function ended(
  child: ChildProcess,
  argv: string[],
  said: () => Promise<string> = async () => ''
): Promise<void> {
  let stderr = ''
  child.stderr?.on('data', (part: Buffer) => (stderr = `${stderr}${part.toString()}`.slice(-most)))
  return new Promise((resolve, reject) => {
    child.on('error', error =>
      reject(new Fault('COMMAND_FAILED', `${argv[0]} did not start`, { cause: error }))
    )
    child.on('close', code => {
      if (code === 0) resolve()
      else said().then(text => reject(failed(argv, code, `${stderr}\n${text}`)), reject)
    })
  })
}

/** Told apart by number or by the C library's words for them: programs have nothing else. */
function failed(argv: readonly string[], code: number | null, said: string): Fault {
  const program = argv.find(word => /qemu-img|dd$|bwrap|apt-get$|dpkg$/.test(word)) ?? argv[0] ?? ''
  if (/acquire done -24[345]/.test(said))
    return new Fault('LEASE_HELD', 'another program holds the lease of the volume')
  if (/No space left on device/.test(said))
    return new Fault('STORAGE_DOMAIN_FULL', 'the storage domain is full')
  const text = said
    .replaceAll(/\s*\([\d.]+\/100%\)\r?/g, '')
    .replaceAll('\r', '')
    .replaceAll(/^(pm|dl)[a-z]+:.*\n/gm, '')
    .trim()
    .slice(-500)
  return new Fault('COMMAND_FAILED', `${program} failed: ${text}`, {
    facts: { program, exitCode: String(code) }
  })
}
