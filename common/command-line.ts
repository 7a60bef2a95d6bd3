import { Fault } from './fault.js'

export type Command = (args: string[]) => Promise<number>

/** A daemon's program: its commands by name, its usage, and how it says what went wrong. Sets the exit status. */
export async function runCommand(
  { program, usage, commands }: { program: string; usage: string; commands: Record<string, Command> },
  [name = '', ...args]: string[]
): Promise<void> {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (!command) {
    const isAsked = name === 'help' || name === '--help' || name === '-h'
    const out = isAsked ? process.stdout : process.stderr
    out.write(usage)
    process.exitCode = isAsked ? 0 : 2
    return
  }
  try {
    process.exitCode = await command(args)
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    process.stderr.write(`${program}: ${error.message}\n${error.nextStep}\n`)
    process.exitCode = 1
  }
}
