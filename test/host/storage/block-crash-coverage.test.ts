import { readdir, readFile } from 'node:fs/promises'
import t from 'tap'
import { pointsOf, preparedWorld } from '../../storage/crash/harness.js'
import { blockOperations } from './block-operations.js'
import { blockSuite } from './block-suite.js'
import { skipped } from './block-world.js'
import { root } from '../../root.js'

// A crash point of block storage that no operation of the harness passes is one at which nobody has looked.

const sources = `${root}/storage/`
// What takes device-mapper, and is passed where a machine has it: test/lab/vm.
const needsDeviceMapper = ['storage-domain.remove-device.block/move']
const literal =
  /'((?:volume|image|storage-domain|lease)\.[a-z.-]*\.block(?:\/[a-z-]+)*|volume\.merge\/room)'/g

async function namesInSource(): Promise<Map<string, string>> {
  const names = new Map<string, string>()
  for (const file of (await readdir(sources)).filter(name => name.endsWith('.ts'))) {
    for (const [, name = ''] of (await readFile(sources + file, 'utf8')).matchAll(literal))
      names.set(name, file)
  }
  return names
}

t.test(
  'every crash point of block storage is passed by an operation under test',
  { skip: skipped, timeout: 290_000 },
  async t => {
    const passed = new Set<string>()
    for (const [name, operation] of Object.entries(blockOperations)) {
      const world = await preparedWorld(operation, blockSuite)
      for (const point of await pointsOf(name, world, blockSuite)) passed.add(point.replace(/#\d+$/, ''))
      await world.remove()
    }
    const names = await namesInSource()
    t.ok(names.size > 20, `${names.size} names in the source`)
    for (const [name, file] of names) {
      if (needsDeviceMapper.includes(name)) continue
      t.ok(passed.has(name) || passed.has(`${name}/tags`), `${name} of ${file}`)
    }
  }
)
