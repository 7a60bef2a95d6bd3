import { execa, ExecaError } from 'execa'
import type { Logger } from 'pino'
import { Fault } from './fault.js'

export type RunOptions = {
  /** Text for the program's standard input: the way of secrets, which never stand in argv. */
  input?: string
  /** Exit codes that are an answer and not a failure. */
  okCodes?: number[]
  /** Added to the few variables that every program gets; never a secret. */
  env?: Record<string, string>
  /**
   * It gets a process group of its own, all of which is killed when the signal comes: for programs that put others
   * between themselves and what they run, and leave them behind when they are ended alone (bubblewrap).
   */
  endsGroup?: boolean
}
export type RunResult = { code: number; stdout: string; stderr: string }
export type Run = (
  command: string,
  args: string[],
  signal: AbortSignal,
  options?: RunOptions
) => Promise<RunResult>

const path = '/usr/sbin:/usr/bin:/sbin:/bin'

/** The one place that starts programs: no shell, nothing inherited, output bounded, logged and timed. */
export function commandRunner(log: Logger): Run {
  return async (command, args, signal, { input = '', okCodes = [0], env = {}, endsGroup = false } = {}) => {
    const started = performance.now()
    try {
      const child = execa(command, args, {
        ...(endsGroup ? { detached: true } : { cancelSignal: signal }),
        extendEnv: false,
        env: { LC_ALL: 'C', PATH: path, LVM_SUPPRESS_FD_WARNINGS: '1', ...env },
        input,
        maxBuffer: 16 * 2 ** 20,
        reject: false
      })
      using _group = endsGroup ? endingGroup(child.pid, signal) : null
      const result = await child
      if (result instanceof Error && !okCodes.includes(result.exitCode ?? -1)) throw result
      const { stdout, stderr, exitCode = 0 } = result
      return { code: exitCode, stdout: String(stdout), stderr: String(stderr) }
    } catch (error) {
      if (signal.aborted) throw signal.reason
      if (!(error instanceof ExecaError)) throw error
      const said = String(error.stderr ?? '')
        .trim()
        .slice(-2000)
      throw new Fault('COMMAND_FAILED', `${error.shortMessage}${said ? `: ${said}` : ''}`, {
        cause: error,
        facts: { command, exitCode: String(error.exitCode ?? '') }
      })
    } finally {
      log.debug({ command, args, ms: Math.round(performance.now() - started) }, 'ran')
    }
  }
}

/** Until it is disposed, the signal kills every process of the group. */
function endingGroup(pid: number | undefined, signal: AbortSignal): Disposable {
  const end = () => {
    try {
      if (pid !== undefined) process.kill(-pid, 'SIGKILL')
    } catch {
      // All of them have ended.
    }
  }
  if (signal.aborted) end()
  signal.addEventListener('abort', end, { once: true })
  return { [Symbol.dispose]: () => signal.removeEventListener('abort', end) }
}
