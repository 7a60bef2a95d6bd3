import type { Command } from 'commander'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { buildProgram } from '../../cli/program.js'
import { root } from '../root.js'

// What pages tell people to type can be typed: commands in blocks parse as they stand, those in sentences name commands
// and options that exist.

type Shown = { page: string; line: string; words: string[]; isWhole: boolean }

async function shown(): Promise<Shown[]> {
  const names = await readdir(join(root, 'docs'), { recursive: true })
  const pages = names.filter(name => name.endsWith('.md') && !name.startsWith('reference/'))
  const found: Shown[] = []
  for (const page of ['README.md', ...pages.map(name => `docs/${name}`)]) {
    const text = (await readFile(join(root, page), 'utf8')).replaceAll('\\\n', ' ')
    const blocks = [...text.matchAll(/^```\w*\n([\s\S]*?)^```/gm)].flatMap(([, block = '']) =>
      block.split('\n')
    )
    const sentences = text.replaceAll(/^```[\s\S]*?^```/gm, '')
    const inline = [...sentences.matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code)
    for (const line of blocks) found.push(...commandsIn(page, line, true))
    for (const line of inline) found.push(...commandsIn(page, line, false))
  }
  return found
}

/** Each command of a line, without its comment and what stands behind a pipe. */
function commandsIn(page: string, line: string, isWhole: boolean): Shown[] {
  const commands = line.replace(/\s+# .*| {3,}[a-z].*/, '').split(/\s*(?:\||;|&&|\\\|)\s*/)
  return commands.flatMap(command => {
    if (!/^drover(-agent|-coordinator)? [a-z_-]/.test(command)) return []
    const words = [...command.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(([, a, b, c]) => a ?? b ?? c ?? '')
    // "[--role viewer]" is an option that may be left out.
    return [{ page, line: command, words: words.map(word => word.replace(/^\[|\]$/g, '')), isWhole }]
  })
}

/** Every command does nothing and complains by throwing. */
function harmless(command: Command): Command {
  command.exitOverride().configureOutput({ writeErr: () => {}, writeOut: () => {} })
  if (command.commands.length === 0) command.action(() => {})
  for (const inner of command.commands) harmless(inner)
  return command
}

/** Which command the words name, and the options that it knows. */
function named(words: string[]): { command: Command; options: string[] } {
  const program = buildProgram()
  let command = program
  for (const word of words) {
    const inner = command.commands.find(each => each.name() === word || each.aliases().includes(word))
    if (!inner) break
    command = inner
  }
  // `drover event --follow`: a noun may have a verb that needs no naming.
  const near = [...command.options, ...command.commands.flatMap(verb => verb.options), ...program.options]
  const options = near.flatMap(({ long, short }) => [long ?? '', short ?? ''])
  return { command, options: [...options, '--help'] }
}

const all = await shown()

t.test('commands of the command line in blocks parse as they stand', async t => {
  const typed = all.filter(({ words, isWhole }) => isWhole && words[0] === 'drover')
  t.ok(typed.length > 40, `${typed.length} commands`)
  for (const { page, line, words } of typed) {
    if (words.some(word => /^(\.\.\.|…)$/.test(word))) continue
    const given = words.slice(1).map(word => (word === 'N' ? '1' : word))
    const outcome = await harmless(buildProgram())
      .parseAsync(given, { from: 'user' })
      .then(
        () => '',
        (error: Error) => error.message
      )
    t.equal(outcome, '', `${page}: ${line}`)
  }
})

t.test('commands of the command line in sentences exist, with the options that are named', async t => {
  for (const { page, line, words } of all.filter(({ words }) => words[0] === 'drover')) {
    const { command, options } = named(words.slice(1))
    t.not(command.name(), 'drover', `${page}: ${line}`)
    const isNoun = command.commands.length > 0
    const depth = words.slice(1).findIndex(word => word.startsWith('-'))
    const plain = words
      .slice(1, depth < 0 ? undefined : depth + 1)
      .filter(word => /^[a-z][a-z-]*$/.test(word))
    if (isNoun) t.ok(plain.length <= 1, `${page}: ${line} names a verb of ${command.name()}`)
    for (const word of words.filter(word => /^--?[a-z]/.test(word)))
      t.ok(options.includes(word.replace(/=.*/, '')), `${page}: ${line} knows ${word}`)
  }
})

for (const daemon of ['agent', 'coordinator']) {
  t.test(`commands of drover-${daemon} are in its usage`, async t => {
    const source = await readFile(join(root, daemon, 'main.ts'), 'utf8')
    const usage = /const usage = `([^`]*)`/.exec(source)?.[1] ?? ''
    const lines = new Map(usage.split('\n').map(line => [line.split(/\s+/)[1] ?? '', `${line} `] as const))
    for (const { page, line, words } of all.filter(({ words }) => words[0] === `drover-${daemon}`)) {
      const known = lines.get(words[1] ?? '')
      t.ok(known, `${page}: ${line}`)
      for (const word of words.filter(word => word.startsWith('--') && words[1] !== 'format'))
        t.ok(known?.includes(`${word} `) || known?.includes(`${word}]`), `${page}: ${line} knows ${word}`)
    }
  })
}
