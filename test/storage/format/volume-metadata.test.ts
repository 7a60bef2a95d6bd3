import { createHash } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { bytes, GiB } from '../../../common/units.js'
import { FormatError } from '../../../storage/format/format-error.js'
import { cutDescription, readVolumeText } from '../../../storage/format/volume-fields.js'
import {
  type VolumeMetadata,
  nextGeneration,
  parseVolumeMetadata,
  readVolumeMetadata,
  volumeMetadataBlock,
  volumeMetadataText
} from '../../../storage/format/volume-metadata.js'

const disk: VolumeMetadata = {
  storageDomainId: '6e2d3c1a-0b7f-4c55-9a53-1f2e3d4c5b6a',
  imageId: '0f1e2d3c-4b5a-4697-8877-665544332211',
  parentId: null,
  capacity: GiB(10),
  format: 'raw',
  allocation: 'preallocated',
  role: 'leaf',
  legality: 'legal',
  diskContent: 'DATA',
  description: '{"DiskAlias":"db","DiskDescription":""}',
  createdAt: 1_718_000_000,
  generation: 0,
  sequence: 1
}

// The worked examples of the format's description: length of the text and SHA-256 of the block.
const golden: Array<[why: string, change: Partial<VolumeMetadata>, length: number, sha256: string]> = [
  ['a preallocated raw disk', {}, 302, 'c99885f35b3f3f8825b86b030520850413bc7fcdbd8cf97ffe23cc921f9adecf'],
  [
    'the same, internal',
    { role: 'internal' },
    306,
    '59ec29eea0cecc27b49bed0a5b86b4e82916ae566d92ceb6924551da69b8a7e7'
  ],
  [
    'the leaf over it',
    { parentId: 'aaaaaaaa-1111-4222-8333-444444444444', format: 'qcow2', allocation: 'thin', sequence: 2 },
    296,
    'af06ad7b139aaceb9ebe004c27ea9cf27bd92d8a898f44fcae0cbe942215e59e'
  ],
  [
    'a template',
    {
      imageId: 'dddddddd-1111-4222-8333-444444444444',
      capacity: GiB(20),
      format: 'qcow2',
      allocation: 'thin',
      role: 'shared',
      generation: 1,
      description: '{"DiskAlias":"tmpl","DiskDescription":""}'
    },
    300,
    '0b7e6b252e142a3db9267e1526bb207c759fa77aa4181b7c8213fccea96c15e0'
  ],
  [
    'a thin disk that is being filled',
    { capacity: GiB(100), format: 'qcow2', allocation: 'thin', legality: 'illegal', description: '' },
    260,
    '1b09aeaa34c62e73b12a2b5ea0ccf9c832b62f41fa5aa2f52bd1f2dad61cce7c'
  ]
]

for (const [why, change, length, sha256] of golden) {
  t.test(`${why} has the bytes of the description, and is read back`, async t => {
    const metadata = { ...disk, ...change }
    const block = volumeMetadataBlock(metadata)
    t.equal(volumeMetadataText(metadata).length, length)
    t.equal(createHash('sha256').update(block).digest('hex'), sha256)
    t.strictSame(parseVolumeMetadata(block), metadata)
    t.strictSame(parseVolumeMetadata(volumeMetadataText(metadata)), metadata)
  })
}

t.test('a line end in a description would forge a key, so it is refused', async t => {
  const forged = { ...disk, description: 'x\nLEGALITY=LEGAL' }
  t.throws(() => volumeMetadataText(forged), { name: 'FormatError', reason: 'invalid' })
})

t.test('a surrogate without partner is refused', async t => {
  t.throws(() => volumeMetadataText({ ...disk, description: '\ud83d' }), {
    name: 'FormatError',
    reason: 'invalid'
  })
})

t.test('a description is cut at 210 code points and never in the middle of one', async t => {
  t.equal(cutDescription('💾'.repeat(300)), '💾'.repeat(210))
  t.equal(cutDescription('é'.repeat(210)), 'é'.repeat(210))
})

t.test('a text that does not fit into a slot is refused, on files too', async t => {
  t.throws(() => volumeMetadataText({ ...disk, description: 'é'.repeat(210) }), {
    name: 'FormatError',
    reason: 'overflow'
  })
})

const damaged: Array<[why: string, text: string, problem: RegExp]> = [
  ['an unknown format', volumeText('FORMAT=QED'), /FORMAT=QED is unknown/],
  ['an unknown role', volumeText('VOLTYPE=MIDDLE'), /VOLTYPE=MIDDLE is unknown/],
  ['a word of every object', volumeText('LEGALITY=constructor'), /LEGALITY=constructor is unknown/],
  ['a negative capacity', volumeText('CAP=-1'), /CAP=-1 is out of range/],
  ['a capacity beyond what numbers hold', volumeText('CAP=9223372036854775808'), /out of range/],
  ['no capacity', volumeText('', /^CAP=.*\n/m), /Required key 'capacity' is missing/]
]

function volumeText(line: string, without = new RegExp(`^${line.split('=')[0]}=.*\n`, 'm')): string {
  const text = volumeMetadataText(disk).toString('utf8').replace(without, '')
  return line === '' ? text : `${line}\n${text}`
}

for (const [why, text, problem] of damaged) {
  t.test(`${why} makes the metadata invalid, with the reason`, async t => {
    const reading = readVolumeMetadata(Buffer.from(text))
    t.equal(reading.kind, 'invalid')
    t.match(reading.kind === 'invalid' ? reading.problems.join() : '', problem)
    t.throws(() => parseVolumeMetadata(Buffer.from(text)), FormatError)
  })
}

t.test('a block that an old version cleared is told from a damaged one', async t => {
  t.match(readVolumeMetadata(Buffer.from('NONE=####\nEOF\n')), { kind: 'invalid', cleared: true })
  t.match(readVolumeMetadata(Buffer.alloc(512)), { kind: 'invalid', cleared: false })
})

t.test('the generation goes round after 999', async t => {
  t.strictSame([0, 41, 998, 999].map(nextGeneration), [1, 42, 999, 0])
})

const metadata: fc.Arbitrary<VolumeMetadata> = fc.record(
  {
    storageDomainId: fc.uuid(),
    imageId: fc.uuid(),
    parentId: fc.option(fc.uuid()),
    capacity: fc.nat({ max: 2 ** 43 }).map(bytes),
    format: fc.constantFrom('raw', 'qcow2'),
    allocation: fc.constantFrom('thin', 'preallocated'),
    role: fc.constantFrom('leaf', 'internal', 'shared'),
    legality: fc.constantFrom('legal', 'illegal', 'fake'),
    diskContent: fc.constantFrom('DATA', 'ISOF', 'OVFS', 'MEMD', '2'),
    description: fc
      .string({ unit: 'binary', maxLength: 50 })
      .filter(text => !/\p{Cc}/u.test(text))
      .map(text => text.trim().replace(/^[\x85\u200b]+|[\x85\u200b]+$/g, '')),
    createdAt: fc.nat(),
    generation: fc.nat({ max: 999 }),
    sequence: fc.nat()
  },
  { noNullPrototype: true }
)

t.test('whatever is written is read back', async () => {
  fc.assert(
    fc.property(metadata, written => {
      const [block, text] = [volumeMetadataBlock(written), volumeMetadataText(written)]
      t.strictSame(parseVolumeMetadata(block), written)
      return text.equals(block.subarray(0, text.length)) && block.length === 512
    })
  )
})

t.test('any bytes give a value or problems, never a crash', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), raw => {
      const reading = readVolumeMetadata(Buffer.from(raw))
      return reading.kind === 'valid' || reading.problems.length > 0
    })
  )
})

t.test('a valid block with some bytes changed gives a value or problems', async () => {
  const change = fc.tuple(fc.nat({ max: 511 }), fc.nat({ max: 255 }))
  fc.assert(
    fc.property(metadata, fc.array(change, { maxLength: 8 }), (written, changes) => {
      const block = volumeMetadataBlock(written)
      for (const [at, byte] of changes) block[at] = byte
      const { fields, errors } = readVolumeText(block)
      return errors.length > 0 || Object.keys(fields).length === 13
    })
  )
})
