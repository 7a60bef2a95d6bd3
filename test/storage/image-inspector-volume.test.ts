import t from 'tap'
import { type ExpectedVolume, inspectVolume } from '../../storage/image-inspector.js'
import { type Qcow2Change, qcow2, qcow2Over } from '../corpus/images/builders.js'
import { SparseImage } from '../corpus/images/sparse-image.js'

const parent = '3f6b1c52-7a38-4a4f-9a51-0b5c8de0f001'
const base: ExpectedVolume = { format: 'qcow2', backing: null, capacity: 64n << 20n }
const child: ExpectedVolume = { ...base, backing: { path: [parent, `../image/${parent}`], format: 'raw' } }

const rules = async (image: SparseImage, expected: ExpectedVolume) =>
  (await inspectVolume(image, expected)).problems.map(({ rule }) => rule)

const accepted: Array<[why: string, image: SparseImage, expected: ExpectedVolume]> = [
  ['a base without parent', qcow2(), base],
  ['a child over its parent by bare id', qcow2Over(parent), child],
  ['a child over its parent by the older name', qcow2Over(`../image/${parent}`), child],
  [
    'a child of a qcow2 parent',
    qcow2Over(parent, 'qcow2'),
    { ...base, backing: { path: parent, format: 'qcow2' } }
  ],
  [
    'a volume with bitmaps',
    qcow2({ autoclear: 1n, extensions: [{ type: 0x23852875, data: Buffer.alloc(24) }] }),
    base
  ],
  ['a capacity that is not a multiple of 4096', qcow2({ size: 4096n }), { ...base, capacity: 1000n }],
  ['a dirty volume during recovery', qcow2({ incompatible: 1n }), { ...base, mayBeDirty: true }],
  ['an old header where the storage domain is old', qcow2({ version: 2 }), { ...base, mayBeVersion2: true }],
  ['raw data, whatever it looks like', qcow2(), { format: 'raw', backing: null, capacity: 1000n }]
]

for (const [why, image, expected] of accepted) {
  t.test(`${why} is as its metadata says`, async t => {
    t.strictSame(await rules(image, expected), [])
  })
}

const refused: Array<[why: string, rule: string, image: SparseImage, expected: ExpectedVolume]> = [
  ['a base with a parent', 'qcow2.backing-file', qcow2Over('/etc/shadow'), base],
  ['a child without parent', 'qcow2.backing-file', qcow2(), child],
  [
    'a child over another volume',
    'qcow2.backing-file',
    qcow2Over('4f6b1c52-7a38-4a4f-9a51-0b5c8de0f001'),
    child
  ],
  ['a child over a path', 'qcow2.backing-file', qcow2Over(`/x/${parent}`), child],
  ['a child over a protocol', 'qcow2.backing-file', qcow2Over(`nbd:host/${parent}`), child],
  ['a name with more behind it', 'qcow2.backing-file', qcow2Over(`${parent}\0`), child],
  ['a parent of the wrong format', 'qcow2.backing-format', qcow2Over(parent, 'qcow2'), child],
  ['a parent without format', 'qcow2.backing-format', qcow2Over(parent, 'raw', { extensions: [] }), child],
  ['a name beyond the first cluster', 'qcow2.backing-file', over({ offset: 0x20000n, length: 36 }), child],
  ['a name over the header', 'qcow2.backing-file', over({ offset: 8n, length: 36 }), child],
  ['an external data file', 'qcow2.data-file', qcow2({ incompatible: 4n }), base],
  ['a dirty volume', 'qcow2.dirty', qcow2({ incompatible: 1n }), base],
  ['a corrupt volume', 'qcow2.corrupt', qcow2({ incompatible: 2n }), base],
  ['an unknown feature', 'qcow2.features', qcow2({ incompatible: 8n, headerLength: 112 }), base],
  ['a raw external data mark', 'qcow2.features', qcow2({ autoclear: 2n }), base],
  ['a smaller virtual size', 'qcow2.capacity', qcow2(), { ...base, capacity: 65n << 20n }],
  ['a larger virtual size', 'qcow2.capacity', qcow2(), { ...base, capacity: 63n << 20n }],
  ['an old header', 'qcow2.version', qcow2({ version: 2 }), base],
  ['internal snapshots', 'qcow2.internal-snapshots', qcow2({ snapshots: 1 }), base],
  ['encryption', 'qcow2.encryption', qcow2({ encryption: 1 }), base],
  ['small clusters', 'qcow2.cluster-bits', qcow2({ clusterBits: 9 }), base],
  ['a strange refcount order', 'qcow2.refcount-order', qcow2({ refcountOrder: 3 }), base],
  ['no image at all', 'qcow2.magic', new SparseImage(65_536n, []), base],
  [
    'raw data that is too short',
    'raw.capacity',
    new SparseImage(512n, []),
    { format: 'raw', backing: null, capacity: 513n }
  ]
]

function over(backing: Qcow2Change['backing'] & object): SparseImage {
  return qcow2Over(parent, 'raw', { backing })
}

for (const [why, rule, image, expected] of refused) {
  t.test(`${why} breaks the rule ${rule}`, async t => {
    t.ok((await rules(image, expected)).includes(rule), String(await rules(image, expected)))
  })
}
