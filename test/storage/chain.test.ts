import fc from 'fast-check'
import t from 'tap'
import { MiB, bytes } from '../../common/units.js'
import { type ChainRule, deepestChain, readChain, roleOf } from '../../storage/chain.js'
import type { VolumeMetadata } from '../../storage/format/volume-metadata.js'

const plain: VolumeMetadata = {
  storageDomainId: 'sd',
  imageId: 'image',
  parentId: null,
  capacity: MiB(64),
  format: 'qcow2',
  allocation: 'thin',
  role: 'leaf',
  legality: 'legal',
  diskContent: 'DATA',
  description: '',
  createdAt: 0,
  generation: 0,
  sequence: 1
}

const volumes = (entries: Record<string, Partial<VolumeMetadata>>) =>
  new Map(Object.entries(entries).map(([id, change]) => [id, { ...plain, ...change }]))

const base = { role: 'internal', format: 'raw' } as const
const inner = { role: 'internal', parentId: 'base' } as const
const leaf = { parentId: 'inner' } as const
const template = { imageId: 'template', role: 'shared' } as const

const whole: Array<
  [why: string, entries: Record<string, Partial<VolumeMetadata>>, order: string[], templateId: string | null]
> = [
  ['a single volume', { only: {} }, ['only'], null],
  ['a raw base below two layers', { base, inner, leaf }, ['leaf', 'inner', 'base'], null],
  ['a disk made from a template', { t: template, leaf: { parentId: 't' } }, ['leaf', 't'], 't'],
  ['a raw template', { t: { ...template, format: 'raw' }, leaf: { parentId: 't' } }, ['leaf', 't'], 't'],
  [
    'a leaf that was made larger',
    { base, leaf: { parentId: 'base', capacity: MiB(128) } },
    ['leaf', 'base'],
    null
  ],
  [
    'a leaf that is being resized',
    { base, leaf: { parentId: 'base', capacity: bytes(0) } },
    ['leaf', 'base'],
    null
  ]
]

for (const [why, entries, order, templateId] of whole) {
  t.test(`${why} is a whole chain, leaf first`, async t => {
    const reading = readChain('image', volumes(entries))
    t.match(reading, { kind: 'whole', chain: { templateId, leftovers: [] } })
    t.strictSame(reading.kind === 'whole' && reading.chain.volumes.map(({ volumeId }) => volumeId), order)
  })
}

t.test("a template's own image is its one volume", async t => {
  t.match(readChain('template', volumes({ t: template })), {
    kind: 'whole',
    chain: { templateId: null, volumes: [{ volumeId: 't' }] }
  })
})

t.test('an illegal leaf that a deletion left behind is no second leaf, but a leftover', async t => {
  const found = readChain(
    'image',
    volumes({ base, leaf: { parentId: 'base' }, old: { legality: 'illegal' } })
  )
  t.match(found, { kind: 'whole', chain: { leftovers: ['old'] } })
})

t.test("other images' volumes do not matter", async t => {
  const found = readChain(
    'image',
    volumes({ leaf: {}, x: { imageId: 'x', parentId: 'leaf' }, y: { imageId: 'x' } })
  )
  t.equal(
    found.kind,
    'broken',
    'a leaf that is the parent of another image is a template that does not say so'
  )
  t.match(readChain('image', volumes({ leaf: {}, y: { imageId: 'x' } })), {
    kind: 'whole',
    chain: { leftovers: [] }
  })
})

const broken: Array<[why: string, rule: ChainRule, entries: Record<string, Partial<VolumeMetadata>>]> = [
  ['no volumes', 'noLeaf', {}],
  ['no leaf', 'noLeaf', { base }],
  ['two leaves', 'severalLeaves', { base, a: { parentId: 'base' }, b: { parentId: 'base' } }],
  ['two illegal leaves', 'severalLeaves', { a: { legality: 'illegal' }, b: { legality: 'illegal' } }],
  ['volumes that are each other’s parents', 'noLeaf', { a: { parentId: 'b' }, b: { parentId: 'a' } }],
  [
    'a cycle below the leaf',
    'cycle',
    {
      leaf: { parentId: 'a' },
      a: { parentId: 'b', role: 'internal' },
      b: { parentId: 'a', role: 'internal' }
    }
  ],
  ['a parent that does not exist', 'missingParent', { leaf: { parentId: 'gone' } }],
  ['an illegal leaf', 'illegal', { base, leaf: { parentId: 'base', legality: 'illegal' } }],
  ['an illegal base', 'illegal', { base: { ...base, legality: 'illegal' }, leaf: { parentId: 'base' } }],
  ['a placeholder', 'illegal', { leaf: { legality: 'fake' } }],
  ['a base that says it is a leaf', 'wrongRole', { base: {}, leaf: { parentId: 'base' } }],
  ['a raw layer over a parent', 'rawOverParent', { base, leaf: { parentId: 'base', format: 'raw' } }],
  [
    'a template over a parent',
    'sharedOverParent',
    { t: { ...template, parentId: 'base' }, base: { ...base, imageId: 'template' }, leaf: { parentId: 't' } }
  ],
  [
    'a parent in another image that is no template',
    'otherImage',
    { base: { ...base, imageId: 'x' }, leaf: { parentId: 'base' } }
  ],
  [
    'a parent in another storage domain',
    'otherStorageDomain',
    { base: { ...base, storageDomainId: 'x' }, leaf: { parentId: 'base' } }
  ],
  [
    'a leaf smaller than its base',
    'smallerThanParent',
    { base, leaf: { parentId: 'base', capacity: MiB(32) } }
  ]
]

for (const [why, rule, entries] of broken) {
  t.test(`${why} is a broken chain (${rule})`, async t => {
    const found = readChain('image', volumes(entries))
    t.ok(
      found.kind === 'broken' && found.problems.some(problem => problem.rule === rule),
      JSON.stringify(found)
    )
  })
}

const chainOf = (length: number) => {
  const entries: Array<[string, VolumeMetadata]> = Array.from({ length }, (_, i) => [
    `v${i}`,
    { ...plain, role: i === 0 ? 'leaf' : 'internal', parentId: i === length - 1 ? null : `v${i + 1}` }
  ])
  return new Map(entries)
}

t.test('a chain may have 65 volumes and no more', async t => {
  t.equal(readChain('image', chainOf(deepestChain)).kind, 'whole')
  t.match(readChain('image', chainOf(deepestChain + 1)), { kind: 'broken', problems: [{ rule: 'tooDeep' }] })
})

t.test('roles follow from children, and a template stays one', async t => {
  t.strictSame(
    [roleOf(plain, false), roleOf(plain, true), roleOf({ ...plain, role: 'shared' }, true)],
    ['leaf', 'internal', 'shared']
  )
})

t.test('any metadata gives a chain that starts at a leaf and ends without parent, or problems', async () => {
  const id = fc.constantFrom('a', 'b', 'c', 'd')
  const metadata = fc.record(
    {
      parentId: fc.option(id),
      imageId: fc.constantFrom('image', 'other'),
      role: fc.constantFrom('leaf', 'internal', 'shared'),
      legality: fc.constantFrom('legal', 'illegal'),
      format: fc.constantFrom('raw', 'qcow2')
    },
    { noNullPrototype: true }
  ) as fc.Arbitrary<Partial<VolumeMetadata>>
  fc.assert(
    fc.property(fc.dictionary(id, metadata, { noNullPrototype: true }), entries => {
      const found = readChain('image', volumes(entries))
      if (found.kind === 'broken') return found.problems.length > 0
      const { volumes: chain } = found.chain
      const ids = chain.map(({ volumeId }) => volumeId)
      const follows = chain.every(({ metadata: { parentId } }, i) => parentId === (ids[i + 1] ?? null))
      return follows && new Set(ids).size === ids.length && chain.every(v => v.metadata.legality === 'legal')
    }),
    { numRuns: 500 }
  )
})
