import { readdir, readFile } from 'node:fs/promises'
import t from 'tap'
import { pointsOf, preparedWorld } from './crash/harness.js'
import { operations } from './crash/operations.js'
import { root } from '../root.js'

// A point that no operation of the harness passes is one at which nobody has looked.

const sources = `${root}/storage/`
// The points of block storage are passed on real LVM: test/host/storage/block-crash-coverage.test.ts.
const isOfFiles = (name: string) => name.endsWith('.ts') && !/block|lvm/.test(name)
const literal = /'((?:volume|image|storage-domain|lease|host-lease)\.[a-z.-]+(?:\/[a-z-]+)*)'/g

/** `convert.test.ts` and `crash-doctor.test.ts` cut a conversion and a repair off at each of theirs. */
const isTriedElsewhere = (name: string) => /^storage-domain\.(convert|repair)\//.test(name)

/** In plots that know only the interface, and done for block storage alone. */
const onBlockOnly = ['volume.merge/room']

async function namesInSource(): Promise<Map<string, string>> {
  const names = new Map<string, string>()
  for (const file of (await readdir(sources, { recursive: true })).filter(isOfFiles)) {
    for (const [, name = ''] of (await readFile(sources + file, 'utf8')).matchAll(literal))
      names.set(name, file)
  }
  return names
}

t.test(
  'every crash point in the source is passed by an operation under test',
  { timeout: 110_000 },
  async t => {
    const passed = new Set<string>()
    for (const [name, operation] of Object.entries(operations)) {
      const world = await preparedWorld(operation)
      for (const point of await pointsOf(name, world)) passed.add(point.replace(/#\d+$/, ''))
      await world.remove()
    }
    const names = await namesInSource()
    t.ok(names.size > 60, `${names.size} names in the source, ${passed.size} passed`)
    for (const [name, file] of names) {
      if (onBlockOnly.includes(name) || isTriedElsewhere(name)) continue
      const isPassed =
        passed.has(name) ||
        passed.has(`${name}/rename`) ||
        passed.has(`${name}/sync`) ||
        passed.has(`${name}/data`)
      t.ok(isPassed, `${name} of ${file}`)
    }
  }
)
