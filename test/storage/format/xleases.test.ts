import fc from 'fast-check'
import t from 'tap'
import { MiB } from '../../../common/units.js'
import { FormatError } from '../../../storage/format/format-error.js'
import { planRebuild, recordsWithin } from '../../../storage/format/xleases-rebuild.js'
import {
  decodeHeader,
  decodeRecord,
  encodeRecord,
  freeRecord
} from '../../../storage/format/xleases-record.js'
import {
  XleasesIndex,
  emptyIndex,
  formatWrites,
  indexSize,
  rewriteWrites
} from '../../../storage/format/xleases.js'

const header = {
  lockspace: '6e2d3c1a-0b7f-4c55-9a53-1f2e3d4c5b6a',
  formattedAt: 1_718_000_000,
  updating: false
}
const lease = (n: number) => `11111111-2222-4333-8444-${String(n).padStart(12, '0')}`
const fresh = (sector: 512 | 4096 = 512) => XleasesIndex.load(emptyIndex(header), MiB(1), sector)

const withLeases = (count: number): XleasesIndex => {
  const index = fresh()
  for (let n = 0; n < count; n++) index.put(lease(n), index.place(lease(n)).record)
  return index
}

t.test('records have the bytes of the description', async t => {
  t.equal(freeRecord.toString('hex'), `${'00'.repeat(49)}${'30'.repeat(11)}002d2d0a`)
  const record = encodeRecord('11111111-2222-4333-8444-555555555555', 3_145_728n)
  t.equal(
    record.toString('latin1'),
    `11111111-2222-4333-8444-555555555555${'\0'.repeat(13)}00003145728\0--\n`
  )
})

t.test(
  'formatting writes everything marked as being rewritten, then the first block without the mark',
  async t => {
    for (const sector of [512, 4096] as const) {
      const [whole, first] = formatWrites(header, MiB(1), sector)
      t.strictSame([whole.offset, whole.block.length], [MiB(1), indexSize])
      t.strictSame([first.offset, first.block.length], [MiB(1), sector])
      t.ok(decodeHeader(whole.block).updating)
      t.throws(() => XleasesIndex.load(whole.block, MiB(1), sector), {
        name: 'FormatError',
        reason: 'updating'
      })
      first.block.copy(whole.block)
      t.ok(whole.block.equals(emptyIndex(header)))
    }
  }
)

t.test('a lease is found where it was put, and nowhere after it was removed', async t => {
  const index = withLeases(3)
  t.strictSame(index.lookup(lease(1)), { leaseId: lease(1), record: 1, offset: MiB(4), updating: false })
  t.equal(index.remove(lease(1)).offset, MiB(4))
  t.equal(index.lookup(lease(1)), null)
  t.throws(() => index.remove(lease(1)), { name: 'FormatError', reason: 'notFound' })
})

t.test('the lowest free record is used again', async t => {
  const index = withLeases(5)
  index.remove(lease(3))
  index.remove(lease(1))
  t.equal(index.place(lease(9)).record, 1)
})

t.test('each change is one write of the block that holds the record', async t => {
  for (const [sector, record, offset] of [
    [512, 0, 512],
    [512, 8, 1024],
    [4096, 0, 0],
    [4096, 60, 4096]
  ] as const) {
    const index = fresh(sector)
    const write = index.put(lease(0), record)
    t.strictSame([write.offset, write.block.length], [MiB(1) + offset, sector])
    t.ok(write.block.equals(index.bytes.subarray(offset, offset + sector)))
  }
})

t.test('a lease cannot be added twice, nor beyond the room for leases', async t => {
  const index = withLeases(3)
  t.throws(() => index.place(lease(2)), { name: 'FormatError', reason: 'exists' })
  t.throws(() => index.place(lease(3), 3), { name: 'FormatError', reason: 'noSpace' })
  t.equal(index.place(lease(3), 4).record, 3)
})

t.test('a record half made by an old version is no lease, but its place is used again', async t => {
  const content = withLeases(2).bytes
  encodeRecord(lease(1), BigInt(MiB(4)), true).copy(content, 512 + 64)
  const index = XleasesIndex.load(content, MiB(1), 512)
  t.equal(index.lookup(lease(1)), null)
  t.equal(index.place(lease(1)).record, 1)
})

t.test('there is room for 1021 leases on block storage and for what a file is long enough for', async t => {
  t.equal(recordsWithin(MiB(1024), MiB(1)), 1021)
  t.equal(recordsWithin(MiB(1024), MiB(8)), 125)
  t.equal(recordsWithin(MiB(1), MiB(1)), 0)
})

const broken: Array<[why: string, reason: string, change: (content: Buffer) => Buffer]> = [
  ['a short read', 'truncated', content => content.subarray(0, 4096)],
  ['another magic', 'invalid', content => content.fill(0, 0, 4)],
  ['another version', 'invalid', content => content.fill('0002', 5, 9)],
  ['a time that is no number', 'invalid', content => content.fill('x', 59, 69)],
  ['a lockspace that is no text', 'invalid', content => content.fill(0xff, 10, 20)],
  ['an unfinished rewrite', 'updating', content => content.fill('u', 70, 71)]
]

for (const [why, reason, change] of broken) {
  t.test(`${why} makes the index unusable (${reason})`, async t => {
    const content = change(withLeases(1).bytes)
    t.throws(() => XleasesIndex.load(content, MiB(1), 512), { name: 'FormatError', reason })
  })
}

t.test('a rebuild makes index and resources agree, the index being right', async t => {
  const content = withLeases(7).bytes
  content.fill(0xff, 512 + 64, 512 + 128) // record 1: damaged, its resource is still there
  content.fill(0xff, 512 + 128, 512 + 192) // record 2: damaged, no resource
  content.fill(0xff, 512 + 192, 512 + 256) // record 3: damaged, its resource is known elsewhere
  const resources = new Map([
    [0, lease(0)],
    [1, lease(1)],
    [3, lease(0)],
    [4, lease(99)], // another name
    [5, lease(5)],
    [9, lease(50)] // no record
  ])
  const index = XleasesIndex.loadForRebuild(content, MiB(1), 512)
  const plan = planRebuild(index, MiB(16), offset => resources.get(offset / MiB(1) - 3) ?? null)
  t.strictSame(
    plan.map(step => `${step.kind} ${step.record}`),
    [
      'putRecord 1',
      'clearRecord 2',
      'clearRecord 3',
      'clearResource 3',
      'writeResource 4',
      'writeResource 6',
      'clearResource 9'
    ]
  )
})

t.test('records that have no room in the volume are cleared', async t => {
  const plan = planRebuild(withLeases(4), MiB(5), () => null)
  t.strictSame(
    plan.filter(step => step.kind === 'clearRecord').map(step => step.record),
    [2, 3]
  )
})

t.test('a rebuilt index is written like a formatted one', async t => {
  const index = withLeases(2)
  const [whole, first] = rewriteWrites(index.bytes, header, MiB(2), 4096)
  first.block.copy(whole.block)
  t.strictSame([whole.offset, first.offset], [MiB(2), MiB(2)])
  t.ok(whole.block.equals(index.bytes))
})

t.test('names that are too long or no ASCII are refused before anything is written', async t => {
  t.throws(() => fresh().place('x'.repeat(49)), FormatError)
  t.throws(() => fresh().place('é'), FormatError)
})

t.test('after any adding and removing, the index holds what was added and not removed', async () => {
  const steps = fc.array(fc.tuple(fc.boolean(), fc.nat({ max: 12 })), { maxLength: 40 })
  fc.assert(
    fc.property(steps, steps => {
      const index = fresh()
      const model = new Set<string>()
      for (const [isAdd, n] of steps) {
        if (isAdd && !model.has(lease(n))) {
          index.put(lease(n), index.place(lease(n)).record)
          model.add(lease(n))
        } else if (!isAdd && model.delete(lease(n))) index.remove(lease(n))
      }
      const again = XleasesIndex.load(index.bytes, MiB(1), 512)
      return t.strictSame(
        again
          .leases()
          .map(({ leaseId }) => leaseId)
          .toSorted(),
        [...model].toSorted()
      )
    }),
    { numRuns: 30 }
  )
})

t.test('any record gives a value, never a crash', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 64, maxLength: 64 }), raw => {
      const entry = decodeRecord(Buffer.from(raw))
      return ['free', 'used', 'damaged'].includes(entry.kind)
    })
  )
})

t.test('an index with any bytes changed is listed or refused', async () => {
  const change = fc.tuple(fc.nat({ max: 2000 }), fc.nat({ max: 255 }))
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 20 }), changes => {
      const content = withLeases(10).bytes
      for (const [at, byte] of changes) content[at] = byte
      try {
        return XleasesIndex.load(content, MiB(1), 512).leases().length <= 24
      } catch (error) {
        return error instanceof FormatError
      }
    }),
    { numRuns: 50 }
  )
})
