import t from 'tap'
import { typedParam } from '../../libvirt/structs.js'
import * as x from '../../libvirt/xdr.js'
import { decode, encode, XdrError, type Codec } from '../../libvirt/xdr.js'

const id = '6695eb01-f6a4-8304-79aa-97f2502e193f'

t.test('every type has these bytes, both ways', async t => {
  const table: Array<[string, Codec<unknown>, unknown, string]> = [
    ['int', x.i32, -2, 'fffffffe'],
    ['unsigned int', x.u32, 0xfffffffe, 'fffffffe'],
    ['hyper', x.i64, -2n, 'fffffffffffffffe'],
    ['unsigned hyper', x.u64, 2n ** 64n - 1n, 'ffffffffffffffff'],
    ['double', x.double, 1.5, '3ff8000000000000'],
    ['unsigned char in four bytes', x.u8, 255, '000000ff'],
    ['unsigned short in four bytes', x.u16, 65535, '0000ffff'],
    ['char in four bytes', x.i8, -1, 'ffffffff'],
    ['string, padded', x.str, 'abcde', '00000005' + '6162636465000000'],
    ['empty string', x.str, '', '00000000'],
    ['UTF-8 counts bytes', x.str, 'é', '00000002' + 'c3a90000'],
    ['opaque', x.bytes(), Buffer.from([1]), '00000001' + '01000000'],
    ['uuid', x.uuid, id, id.replaceAll('-', '')],
    ['absent', x.optional(x.str), null, '00000000'],
    ['present and empty', x.optional(x.str), '', '00000001' + '00000000'],
    ['array', x.array(x.u32, 9), [7, 8], '00000002' + '00000007' + '00000008'],
    ['char[4]', x.chars(4), 'ab', '00000061' + '00000062' + '00000000' + '00000000'],
    ['struct', x.struct({ a: x.u32, b: x.str }), { a: 1, b: 'x' }, '00000001' + '00000001' + '78000000'],
    [
      'typed parameter',
      typedParam,
      { field: 'f', value: { type: 'boolean', value: true } },
      '00000001' + '66000000' + '00000006' + '00000001'
    ]
  ]
  for (const [name, codec, value, hex] of table) {
    t.equal(encode(codec, value).toString('hex'), hex, `writes ${name}`)
    t.strictSame(decode(codec, Buffer.from(hex, 'hex')), value, `reads ${name}`)
  }
})

t.test('what does not fit the layout is refused', async t => {
  const table: Array<[string, Codec<unknown>, string]> = [
    ['too short', x.u64, '00000000'],
    ['a rest', x.u32, '0000000000000000'],
    ['a string beyond its end', x.str, '00000008' + '61626364'],
    ['missing padding', x.str, '00000001' + '61'],
    ['a string beyond the limit', x.str, '00400001'],
    ['bytes beyond the limit', x.bytes(4), '00000005' + '0102030405000000'],
    ['more items than bytes', x.array(x.u32, 16384), '00000003' + '00000001'],
    ['more items than allowed', x.array(x.u32, 1), '00000002' + '0000000100000002'],
    ['an optional that is neither', x.optional(x.u32), '00000002' + '00000000'],
    ['an unsigned char of 256', x.u8, '00000100'],
    ['a typed parameter of type 8', typedParam, '00000000' + '00000008' + '00000000']
  ]
  for (const [name, codec, hex] of table) {
    t.throws(() => decode(codec, Buffer.from(hex, 'hex')), XdrError, name)
  }
})

t.test('what does not fit the wire is refused before it is sent, and the field is named', async t => {
  const table: Array<[string, Codec<unknown>, unknown]> = [
    ['a negative flag', x.u32, -1],
    ['a fraction', x.i32, 0.5],
    ['beyond 32 bits', x.i32, 2 ** 31],
    ['beyond 64 bits', x.u64, 2n ** 64n],
    ['a NUL in a text', x.str, 'a\0b'],
    ['a text of 5 MiB', x.str, 'x'.repeat(5 * 2 ** 20)],
    ['too many items', x.array(x.u32, 1), [1, 2]],
    ['an upper-case uuid', x.uuid, id.toUpperCase()]
  ]
  for (const [name, codec, value] of table) t.throws(() => encode(codec, value), XdrError, name)
  t.throws(
    () => encode(x.struct({ flags: x.u32 }), { flags: -1 }),
    new XdrError('flags: -1 is no unsigned int')
  )
})

t.test('what was read from a packet does not keep the packet', async t => {
  const packet = Buffer.from('00000001' + '05000000', 'hex')
  const read = decode(x.bytes(), packet)
  packet.fill(0xff)
  t.strictSame(read, Buffer.from([5]))
})
