import fc from 'fast-check'
import t from 'tap'
import { inspectImage, type ImageFormat } from '../../storage/image-inspector.js'
import { attacks, falseFlags } from '../corpus/images/attacks.js'
import * as good from '../corpus/images/builders.js'
import { SparseImage } from '../corpus/images/sparse-image.js'

const formats: ImageFormat[] = ['raw', 'qcow2', 'vmdk', 'vpc', 'vhdx', 'vdi', 'iso']

t.test('the corpus is large enough to mean something', async t => {
  t.ok(attacks.length >= 100, `${attacks.length} attacks`)
  t.equal(new Set(attacks.map(({ name }) => name)).size, attacks.length)
})

for (const { name, declared, rule, image } of [...attacks, ...falseFlags]) {
  t.test(`${name} declared ${declared} is refused by the rule ${rule}`, async t => {
    const { problems } = await inspectImage(image, declared)
    t.ok(
      problems.some(problem => problem.rule === rule),
      JSON.stringify(problems)
    )
  })
}

for (const { name, image } of attacks) {
  t.test(`${name} is refused whatever is declared, within the budget of reads`, async t => {
    for (const declared of [...formats, null]) {
      image.reads = 0
      image.bytesRead = 0
      const { problems } = await inspectImage(image, declared)
      t.ok(problems.length > 0, `declared ${declared}`)
      t.ok(image.reads <= 64 && image.bytesRead <= 2 ** 21, `${image.reads} reads, ${image.bytesRead} bytes`)
    }
  })
}

const accepted: Array<[name: string, format: ImageFormat, size: bigint, image: SparseImage]> = [
  ['qcow2', 'qcow2', 64n << 20n, good.qcow2()],
  ['qcow2 of version 2', 'qcow2', 64n << 20n, good.qcow2({ version: 2 })],
  ['qcow2 that was not closed', 'qcow2', 64n << 20n, good.qcow2({ incompatible: 1n })],
  [
    'qcow2 with zstd',
    'qcow2',
    64n << 20n,
    good.qcow2({ headerLength: 112, incompatible: 8n, compressionType: 1 })
  ],
  [
    'qcow2 with bitmaps',
    'qcow2',
    64n << 20n,
    good.qcow2({ autoclear: 1n, extensions: [{ type: 0x23852875, data: Buffer.alloc(24) }] })
  ],
  [
    'qcow2 with an unknown extension',
    'qcow2',
    64n << 20n,
    good.qcow2({ extensions: [{ type: 0x12345678, data: Buffer.alloc(5) }] })
  ],
  ['sparse vmdk', 'vmdk', 1n << 20n, good.vmdk()],
  [
    'stream-optimized vmdk with footer',
    'vmdk',
    1n << 20n,
    good.vmdk({
      footer: {},
      compression: 1,
      descriptor: good.vmdkDescriptor({ createType: '"streamOptimized"' })
    })
  ],
  ['dynamic vhd', 'vpc', 4n << 20n, good.vhd()],
  ['fixed vhd', 'vpc', 1n << 20n, good.vhd({ type: 2 })],
  [
    'fixed vhd with a partition table',
    'vpc',
    1n << 20n,
    good.vhd({ type: 2 }).with({ at: 510n, bytes: Buffer.from([0x55, 0xaa]) })
  ],
  ['vhdx', 'vhdx', 1n << 20n, good.vhdx()],
  ['vdi', 'vdi', 4n << 20n, good.vdi()],
  ['iso', 'iso', 1n << 20n, good.iso()],
  ['hybrid iso', 'iso', 1n << 20n, good.iso().with({ at: 510n, bytes: Buffer.from([0x55, 0xaa]) })],
  ['raw', 'raw', 10n << 30n, new SparseImage(10n << 30n, [])],
  [
    'raw with GPT',
    'raw',
    1n << 20n,
    new SparseImage(1n << 20n, [{ at: 510n, bytes: Buffer.from('\x55\xaaEFI PART', 'latin1') }])
  ],
  ['raw text', 'raw', 12n, SparseImage.of(Buffer.from('hello, world'))]
]

for (const [name, format, size, image] of accepted) {
  t.test(`a good ${name} is accepted, declared or not`, async t => {
    for (const declared of [format, null]) {
      t.strictSame(await inspectImage(image, declared), { format, virtualSize: size, problems: [] })
    }
  })
}

t.test('a smaller limit of the target refuses an image that fits elsewhere', async t => {
  const { problems } = await inspectImage(good.qcow2(), 'qcow2', { mostBytes: 2n ** 20n })
  t.strictSame(
    problems.map(({ rule }) => rule),
    ['qcow2.size']
  )
})

const change = fc.tuple(fc.nat({ max: 600 }), fc.nat({ max: 255 }))

for (const [name, format, , image] of accepted) {
  t.test(`a ${name} with some bytes changed is accepted or refused, and reading stays bounded`, async t => {
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 8 }), async changes => {
        const damaged = image.with(
          ...changes.map(([at, byte]) => ({ at: BigInt(at), bytes: Buffer.from([byte]) }))
        )
        await inspectImage(damaged, format)
        return damaged.reads <= 64 && damaged.bytesRead <= 2 ** 21
      }),
      { numRuns: 40 }
    )
    t.pass()
  })
}

t.test('a qcow2 that is accepted after any change still names no other file', async t => {
  const image = good.qcow2()
  const field = fc.tuple(fc.nat({ max: 120 }), fc.nat({ max: 255 }))
  await fc.assert(
    fc.asyncProperty(fc.array(field, { minLength: 1, maxLength: 4 }), async changes => {
      const damaged = image.with(
        ...changes.map(([at, byte]) => ({ at: BigInt(at), bytes: Buffer.from([byte]) }))
      )
      const { problems } = await inspectImage(damaged, 'qcow2')
      if (problems.length > 0) return true
      const head = await damaged.read(0n, 104)
      const namesNone = head.readBigUInt64BE(8) === 0n && head.readUInt32BE(16) === 0
      return namesNone && (head.readBigUInt64BE(72) & 6n) === 0n
    }),
    { numRuns: 500 }
  )
  t.pass()
})
