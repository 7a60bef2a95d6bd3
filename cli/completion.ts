import type { Command, Option } from 'commander'
import { RpcClient } from '../common/client.js'
import { systemClock } from '../common/clock.js'
import { seconds } from '../common/units.js'
import { terminal } from './print.js'
import { pairsOf } from './resource.js'
import { Session, type GlobalOptions } from './session.js'
import { readSettings, targetOf } from './settings.js'

/** Prints the code that makes a shell complete: it asks `drover __complete WORDS…`. */
export function addCompletion(program: Command): void {
  program
    .command('completion')
    .argument('<SHELL>', 'bash or zsh')
    .description('Print completion code for a shell.')
    .addHelpText('after', '\nExample:\n  source <(drover completion bash)')
    .action((shell: string, _: object, command: Command) => {
      const script = shell === 'bash' ? bash : shell === 'zsh' ? zsh : null
      if (script === null) command.error('error: the shell must be bash or zsh')
      terminal.print(script)
    })
}

/** What may stand at the last word. */
export async function candidates(program: Command, words: string[]): Promise<string[]> {
  const options = settingsIn(words)
  const typed = words.at(-1) ?? ''
  const before = words.slice(0, -1)
  const { command, position, pending } = locate(program, before)
  const all = pending
    ? await valuesOf(pending.argChoices, metavariable(pending.flags), options)
    : typed.startsWith('-')
      ? flagsOf(command, program)
      : command.commands.length > 0
        ? command.commands.map(each => each.name())
        : await argumentsOf(command, position, options)
  return all.filter(candidate => candidate.startsWith(typed))
}

type Place = { command: Command; position: number; pending: Option | null }

/** Which command the words have led to, at which argument, or at the value of which option. PURE. */
export function locate(program: Command, words: string[]): Place {
  let place: Place = { command: program, position: 0, pending: null }
  for (const word of words) {
    const { command, position, pending } = place
    if (pending) place = { command, position, pending: null }
    else if (word.startsWith('-')) {
      const option = [...command.options, ...program.options].find(
        each => each.long === word || each.short === word
      )
      place = { command, position, pending: option && (option.required || option.optional) ? option : null }
    } else {
      const inner = command.commands.find(each => each.name() === word || each.aliases().includes(word))
      place = inner
        ? { command: inner, position: 0, pending: null }
        : { command, position: position + 1, pending: null }
    }
  }
  return place
}

/** Where to connect, as far as the words typed so far say it. */
function settingsIn(words: string[]): GlobalOptions {
  const settings: GlobalOptions = {}
  for (const name of ['address', 'ca', 'cert', 'key', 'socket'] as const) {
    const at = words.indexOf(`--${name}`)
    if (at >= 0) settings[name] = words[at + 1]
  }
  return settings
}

const flagsOf = (command: Command, program: Command) =>
  [...command.options, ...program.options]
    .flatMap(option => (option.long ? [option.long] : []))
    .concat('--help')

async function argumentsOf(command: Command, position: number, options: GlobalOptions): Promise<string[]> {
  const found = command.registeredArguments[Math.min(position, command.registeredArguments.length - 1)]
  if (!found || (position >= command.registeredArguments.length && !found.variadic)) return []
  return valuesOf(found.argChoices, found.name(), options)
}

const metavariable = (flags: string) => /<([^>]+)>/.exec(flags)?.[1] ?? ''

/** Names of objects are asked of the coordinator; a completion that cannot ask stays silent. */
async function valuesOf(
  choices: string[] | undefined,
  name: string,
  options: GlobalOptions
): Promise<string[]> {
  if (choices) return choices
  if (name === 'SHELL') return ['bash', 'zsh']
  if (name === 'ACTION') return ['off', 'on', 'status']
  try {
    const target = targetOf(readSettings(options, process.env), ['COORDINATOR'])
    using session = new Session(
      { ...options, timeout: 4 },
      new RpcClient(target, systemClock),
      terminal,
      AbortSignal.timeout(4000)
    )
    await session.client.ready(seconds(3))
    // VM and VMS: one of them, or many.
    const noun = name.toLowerCase().replace(/^vms$/, 'vm')
    const pairs = await pairsOf(session, noun)
    return pairs.map(([, shown]) => shown)
  } catch {
    return []
  }
}

const bash = `_drover() {
  local IFS=$'\\n'
  local words=("\${COMP_WORDS[@]:1:COMP_CWORD}")
  COMPREPLY=($(drover __complete "\${words[@]}" 2>/dev/null | sed 's/[^A-Za-z0-9._@%+=:,/-]/\\\\&/g'))
  [[ \${#COMPREPLY[@]} -eq 0 ]] && compopt -o default
}
complete -F _drover drover`

const zsh = `#compdef drover
_drover() {
  local -a found
  found=("\${(@f)$(drover __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  found=(\${found:#})
  if (( \${#found} )); then compadd -a found; else _files; fi
}
compdef _drover drover`
