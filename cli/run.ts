import { CommanderError } from 'commander'
import { Fault } from '../common/fault.js'
import { exitCodeOf, exitCodes } from './exit-codes.js'
import { faultText, jsonLine, terminal } from './print.js'
import { buildProgram } from './program.js'
import { Interrupted } from './session.js'

/** Runs one command line; returns the exit code. Failures are told here and nowhere else. */
export async function run(args: string[]): Promise<number> {
  const program = buildProgram()
  for (const command of [program, ...descendants(program)]) command.exitOverride()
  // A reader that has seen enough (`drover vm list | head`) is no failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))
  try {
    await program.parseAsync(args, { from: 'user' })
    return exitCodes.ok
  } catch (error) {
    return told(error, args.includes('--json'))
  }
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
