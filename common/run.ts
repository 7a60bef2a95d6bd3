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
  return async (command, args, signal, { input = '', okCodes = [0], env = {} } = {}) => {
    const started = performance.now()
    try {
      const {
        stdout,
        stderr,
        exitCode = 0
      } = await execa(command, args, {
        cancelSignal: signal,
        extendEnv: false,
        env: { LC_ALL: 'C', PATH: path, LVM_SUPPRESS_FD_WARNINGS: '1', ...env },
        input,
        maxBuffer: 16 * 2 ** 20,
        reject: false
      }).then(result => {
        if (result instanceof Error && !okCodes.includes(result.exitCode ?? -1)) throw result
        return result
      })
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
