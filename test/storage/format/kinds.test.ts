import fc from 'fast-check'
import t from 'tap'
import { FormatError } from '../../../storage/format/format-error.js'
import { allKinds } from '../../../storage/format-kinds/all-kinds.js'
import { type Json, printJson } from '../../../storage/format-kinds/json.js'
import type { KindOptions } from '../../../storage/format-kinds/kind.js'
import { bytesOf, entriesOf, kindsInManifest } from '../../vectors/manifest.js'

const options: KindOptions = { alignment: null, sectorSize: null }

/** Done, or refused with a reason. Anything else is a bug. */
function endsWell(work: () => Json | Buffer): boolean {
  try {
    const result = work()
    if (!Buffer.isBuffer(result)) printJson(result)
    return true
  } catch (error) {
    if (error instanceof FormatError) return true
    throw error
  }
}

for (const kind of allKinds) {
  t.test(`${kind.name}: any bytes and any JSON give a result or a FormatError`, async t => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 700 }), raw =>
        endsWell(() => kind.decode(Buffer.from(raw), options))
      ),
      { numRuns: 60 }
    )
    fc.assert(
      fc.property(fc.jsonValue(), json => endsWell(() => kind.encode(json as Json, options))),
      { numRuns: 60 }
    )
    t.pass()
  })
}

const small = kindsInManifest.filter(
  kind => !['domain-archive', 'domain-expectations', 'metadata-lv'].includes(kind)
)

for (const name of small) {
  t.test(`${name}: a golden example with some bytes changed gives a result or a FormatError`, async t => {
    const kind = allKinds.find(found => found.name === name)
    const examples = entriesOf(name).slice(0, 3).map(bytesOf)
    const change = fc.tuple(fc.nat(), fc.nat({ max: 255 }))
    for (const example of examples) {
      fc.assert(
        fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), changes => {
          const damaged = Buffer.from(example)
          for (const [at, byte] of changes) damaged[at % Math.min(damaged.length, 20_000)] = byte
          return endsWell(() => kind!.decode(damaged, options))
        }),
        { numRuns: 15 }
      )
    }
    t.pass()
  })
}

t.test('JSON examples with one value replaced by another give a result or a FormatError', async t => {
  const odd: Json[] = [null, -1, 1.5, 2 ** 60, '', 'x', [], {}, true, 'ffffffff-ffff-ffff-ffff-ffffffffffff']
  for (const name of small) {
    const kind = allKinds.find(found => found.name === name)
    const [entry] = entriesOf(name)
    const example = entry!.file.endsWith('.json') ? bytesOf(entry!) : Buffer.from(JSON.stringify(entry))
    const leaves = countLeaves(JSON.parse(example.toString('utf8')))
    for (const [i, value] of odd.entries()) {
      for (let n = 0; n < 4; n++) {
        const at = (i * 7919 + n * 104_729) % leaves
        const changed = replaceLeaf(JSON.parse(example.toString('utf8')), at, value)
        if (!endsWell(() => kind!.encode(changed, options))) t.fail(`${name}, value ${at}`)
      }
    }
  }
  t.pass()
})

function countLeaves(json: Json): number {
  if (typeof json !== 'object' || json === null) return 1
  return Object.values(json).reduce((sum: number, member) => sum + countLeaves(member), 0)
}

function replaceLeaf(json: Json, at: number, value: Json): Json {
  let left = at
  const walk = (node: Json): Json => {
    if (typeof node !== 'object' || node === null) return left-- === 0 ? value : node
    if (Array.isArray(node)) return node.map(walk)
    return Object.fromEntries(Object.entries(node).map(([key, member]) => [key, walk(member)]))
  }
  return walk(json)
}
