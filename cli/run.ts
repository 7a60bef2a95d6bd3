import { CommanderError } from 'commander'
import { Fault } from '../common/fault.js'
import { exitCodeOf, exitCodes } from './exit-codes.js'
import { candidates } from './completion.js'
import { faultText, jsonLine, terminal } from './print.js'
import { buildProgram } from './program.js'
import { Interrupted } from './session.js'

/** Runs one command line; returns the exit code. Failures are told here and nowhere else. */
export async function run(args: string[]): Promise<number> {
  const program = buildProgram()
  if (args[0] === '__complete') return completed(program, args.slice(1))
  for (const command of [program, ...descendants(program)]) command.exitOverride()
  try {
    await program.parseAsync(args, { from: 'user' })
    return exitCodes.ok
  } catch (error) {
    return told(error, args.includes('--json'))
  }
}

async function completed(program: Program, words: string[]): Promise<number> {
  for (const candidate of await candidates(program, words)) terminal.print(candidate)
  return exitCodes.ok
}

function told(error: unknown, asJson: boolean): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
  if (error instanceof Interrupted) {
    terminal.complain('interrupted')
    return exitCodes.interrupted
  }
  if (!(error instanceof Fault)) {
    terminal.complain(error instanceof Error ? (error.stack ?? error.message) : String(error))
    return exitCodes.failed
  }
  terminal.complain(
    asJson
      ? jsonLine({ error: { ...error.toJSON(), status: error.status, nextStep: error.nextStep } })
      : faultText(error)
  )
  return exitCodeOf(error)
}

type Program = ReturnType<typeof buildProgram>

function descendants(command: Program): Program[] {
  return command.commands.flatMap(each => [each, ...descendants(each)])
}
