import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Lab } from '../lab.js'
import { Runner, type Outcome } from './runner.js'
import { howToReach, Story } from './story.js'
import { BlockStory } from './block-story.js'
import { BlockWorld } from '../vm/block-world.js'
import { LoopWorld } from '../loop-world.js'
import { World } from '../world.js'
import { root } from '../../root.js'

// The second half of ./quickstart, which has installed and built what this needs.
const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    block: { type: 'boolean', default: false },
    vm: { type: 'boolean', default: false }
  }
})
const name = values.block ? 'quickblock' : 'quickstart'
const folder = join(root, 'build', name)
mkdirSync(folder, { recursive: true })
const logFile = join(folder, 'log.txt')
const before = readFileSync(join(folder, 'steps.jsonl'), 'utf8')
  .split('\n')
  .filter(line => line !== '')
  .map(line => JSON.parse(line) as Outcome)
const started = Number(process.env['QUICKSTART_STARTED'] ?? Date.now())

const world = makeWorld()
const { lab } = world
const runner = new Runner(before, started, { json: values.json, logFile })
const story =
  world instanceof BlockWorld || world instanceof LoopWorld ? new BlockStory(world) : new Story(world)
let going = true
for (const step of story.steps) {
  going = await runner.run(step)
  if (!going) break
}
if (!going) await saveLogs()
story.close()

if (values.keep) runner.line(`\n${await howToReach(lab)}`)
else await runner.run({ name: 'take everything down', run: async () => void (await lab.down()) })

runner.line(`\n${runner.ok ? 'All steps passed' : 'A step failed'} in ${runner.totalSeconds} s`)
if (values.json) process.stdout.write(`${runner.json()}\n`)
process.exit(runner.ok ? 0 : 1)

function makeWorld(): World {
  if (!values.block) return new World(new Lab(name))
  return values.vm ? new BlockWorld(name) : new LoopWorld(name)
}

// Journals of all hosts, before they are gone.
async function saveLogs(): Promise<void> {
  for (const host of ['coord', 'h1', 'h2']) {
    const journal = await lab
      .exec(host, ['journalctl', '--no-pager', '-o', 'short-precise'], { seconds: 20 })
      .catch((error: unknown) => String(error))
    writeFileSync(join(folder, `${host}.log`), journal)
  }
  runner.line(`      the journals of the hosts are in ${folder}`)
}
