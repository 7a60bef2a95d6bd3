import fc from 'fast-check'
import t from 'tap'
import { FormatError } from '../../../storage/format/format-error.js'
import { readAreaHeader, readPvLabel } from '../../../storage/format/lvm-label.js'
import { parseLvmText, readLvmGroup } from '../../../storage/format/lvm-text.js'

// Real groups and labels are in test/vectors/domains.test.ts; here is what can be wrong.

t.test('values, lists, sections, comments and escapes are read', async t => {
  const text = '# a comment\na = "x \\"y\\" # z"\nb { c = [1, "two", -3]\nd-1 { } }\ne = 1.5'
  const root = parseLvmText(text)
  t.equal(root.get('a'), 'x "y" # z')
  t.equal(root.get('e'), 1.5)
  t.strictSame((root.get('b') as Map<string, unknown>).get('c'), [1, 'two', -3])
})

const wrong = ['a', 'a =', 'a = [1', 'a {', '}', 'a = }', 'a = "x', '= 1', 'a { b = 1', '\u0001', 'a = {']

for (const text of wrong) {
  t.test(`${JSON.stringify(text)} is refused with the place`, async t => {
    t.throws(() => parseLvmText(text), FormatError)
  })
}

t.test('sections cannot be nested without end', async t => {
  t.throws(() => parseLvmText('a {'.repeat(100_000)), { name: 'FormatError', reason: 'invalid' })
})

t.test('a text without group, and segments that are not linear, are refused', async t => {
  t.throws(() => readLvmGroup('contents = "x"'), { name: 'FormatError', reason: 'missing' })
  const striped =
    'vg { id = "x" seqno = 1 extent_size = 1 logical_volumes { a { id = "y" s { extent_count = 1 stripes = ["a", 1, "b", 2] } } } }'
  t.throws(() => readLvmGroup(striped), /not linear/)
})

t.test('a device without label has none, an area elsewhere is refused', async t => {
  t.throws(() => readPvLabel(Buffer.alloc(2048)), { name: 'FormatError', reason: 'missing' })
  const header = Buffer.alloc(512)
  t.throws(() => readAreaHeader(header, { offset: 4096n, size: 8192n }), FormatError)
  header.write(' LVM2 x[5A%r0N*>', 4, 'latin1')
  t.equal(readAreaHeader(header, { offset: 4096n, size: 8192n }), null)
  header.writeBigUInt64LE(8192n, 32)
  header.writeBigUInt64LE(2n ** 60n, 40)
  header.writeBigUInt64LE(100n, 48)
  t.throws(() => readAreaHeader(header, { offset: 4096n, size: 8192n }), /outside/)
})

t.test('a text that wraps round the end of its area goes on after the first sector', async t => {
  const header = Buffer.alloc(512)
  header.write(' LVM2 x[5A%r0N*>', 4, 'latin1')
  header.writeBigUInt64LE(8192n, 32)
  header.writeBigUInt64LE(8000n, 40)
  header.writeBigUInt64LE(1000n, 48)
  t.strictSame(readAreaHeader(header, { offset: 4096n, size: 8192n }), {
    parts: [
      { offset: 12_096n, length: 192 },
      { offset: 4608n, length: 808 }
    ],
    checksum: 0
  })
})

t.test('any text gives sections or a FormatError', async () => {
  const pieces = fc.constantFrom('a', '{', '}', '=', '[', ']', ',', '"x"', '1', '#c\n', ' ', '\n', '"')
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 60 }), words => {
      try {
        return parseLvmText(words.join('')) instanceof Map
      } catch (error) {
        return error instanceof FormatError
      }
    }),
    { numRuns: 500 }
  )
})
