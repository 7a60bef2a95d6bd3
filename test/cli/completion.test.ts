import type { Command } from 'commander'
import t from 'tap'
import { candidates } from '../../cli/completion.js'
import { buildProgram } from '../../cli/program.js'
import { fakeCoordinator } from '../fakes/fake-coordinator.js'
import { drover } from './drover.js'

const program = buildProgram()

function* everyCommand(
  command: Command,
  words: string[] = []
): Generator<{ command: Command; words: string[] }> {
  yield { command, words }
  for (const inner of command.commands) yield* everyCommand(inner, [...words, inner.name()])
}
const commands = [...everyCommand(program)]

t.test('every noun and verb is completed, from nothing and from its first letter', async t => {
  t.ok(commands.length > 100, `${commands.length} commands`)
  for (const { command, words } of commands.filter(({ command }) => command.commands.length > 0)) {
    const verbs = command.commands.map(verb => verb.name())
    t.strictSame(await candidates(program, [...words, '']), verbs, words.join(' '))
    for (const verb of verbs) t.ok((await candidates(program, [...words, verb.slice(0, 1)])).includes(verb))
  }
})

t.test('every option of every command is completed', async t => {
  for (const { command, words } of commands) {
    const found = await candidates(program, [...words, '--'])
    for (const { long } of command.options)
      t.ok(found.includes(long ?? '--help'), `${words.join(' ')} ${long}`)
  }
})

t.test('names are completed wherever an object is named', async t => {
  const { socket, world } = await fakeCoordinator(t)
  world.addVm('web-1')
  const complete = async (...words: string[]) => (await drover(socket, ['__complete', ...words])).out.trim()
  for (const { command, words } of commands.filter(({ words }) => words[0] === 'vm')) {
    const [first] = command.registeredArguments
    if (first && /^VMS?$/.test(first.name()))
      t.equal(await complete(...words, 'we'), 'web-1', words.join(' '))
  }
})
