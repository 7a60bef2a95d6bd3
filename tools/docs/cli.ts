import type { Command } from 'commander'
import { buildProgram } from '../../cli/program.js'
import { heading, page, table } from './markdown.js'

/** Every command with its arguments and options. */
export function cliPage(): string {
  const program = buildProgram()
  const parts = program.commands.flatMap(each => commandParts(each, 'drover', 2))
  return page(
    'drover: command line',
    'cli/',
    `\`drover NOUN VERB\`. Objects are named by id or by name. \`--json\` prints JSON as \`drover grpc call\` does; \`--wait\`
follows the job that a command begins (the default on a terminal). Exit codes: [errors.md](errors.md); settings:
[config.md](config.md). Shell completion: \`source <(drover completion bash)\`.

## Options of every command

${optionTable(program)}`,
    parts.join('\n\n')
  )
}

function commandParts(command: Command, before: string, level: number): string[] {
  const path = `${before} ${command.name()}`
  const words = command.registeredArguments.map(each => {
    const name = each.variadic ? `${each.name()}...` : each.name()
    return each.required ? `<${name}>` : `[${name}]`
  })
  const own = [heading(level, path), command.description()]
  if (command.commands.length === 0) {
    own.push(
      `\`\`\`\n${[path, ...words, command.options.length > 0 ? '[options]' : ''].filter(Boolean).join(' ')}\n\`\`\``
    )
  }
  const described = command.registeredArguments.filter(each => each.description !== '')
  if (described.length > 0) {
    own.push(
      table(
        ['argument', 'meaning'],
        described.map(each => [`\`${each.name()}\``, each.description])
      )
    )
  }
  if (command.options.length > 0) own.push(optionTable(command))
  return [...own, ...command.commands.flatMap(each => commandParts(each, path, Math.min(level + 1, 4)))]
}

function optionTable(command: Command): string {
  const rows = command.options.map(option => {
    const choices = option.argChoices ? `; one of ${option.argChoices.join(', ')}` : ''
    const required = option.mandatory ? ' (required)' : ''
    return [`\`${option.flags}\``, option.description.replace(/ \(choices:.*\)$/, '') + choices + required]
  })
  return table(['option', 'meaning'], rows)
}
