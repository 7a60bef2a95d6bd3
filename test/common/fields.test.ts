import t from 'tap'
import { Fault } from '../../common/fault.js'
import { Fields } from '../../common/fields.js'
import { uuidRule } from '../../common/rules.js'
import { GiB } from '../../common/units.js'

const id = '8adbc85e-e554-4ae0-b318-8a5465fe5fe1'

/** What a reading of a message yields: the value, or the refused fields. */
function read<T>(message: object, reader: (fields: Fields) => T): T | string[] {
  const fields = new Fields(message)
  const value = reader(fields)
  try {
    fields.throwIfWrong()
  } catch (error) {
    if (error instanceof Fault) return error.violations.map(({ field }) => field)
    throw error
  }
  return value
}

const table: Array<[what: string, value: unknown, reader: (fields: Fields) => unknown, expected: unknown]> = [
  ['a UUID', id, f => f.uuid('x'), id],
  ['an upper-case UUID', id.toUpperCase(), f => f.uuid('x'), ['x']],
  ['a path as id', '../../etc/passwd', f => f.uuid('x'), ['x']],
  ['an id with a line end', `${id}\n`, f => f.uuid('x'), ['x']],
  ['an absent id', undefined, f => f.uuid('x'), ['x']],
  ['an absent optional id', '', f => f.optionalUuid('x'), null],
  ['a name', 'Web 1 – <b>&"', f => f.name('x'), 'Web 1 – <b>&"'],
  ['a name with an emoji', '🐘🐘', f => f.name('x', 2), '🐘🐘'],
  ['an empty name', '', f => f.name('x'), ['x']],
  ['a long name', 'a'.repeat(256), f => f.name('x'), ['x']],
  ['a name with NUL', 'a\0b', f => f.name('x'), ['x']],
  ['a name with a line end', 'a\nb', f => f.name('x'), ['x']],
  ['undecodable bytes', 'a\uFFFDb', f => f.name('x'), ['x']],
  ['a non-character', 'a\uFFFEb', f => f.name('x'), ['x']],
  ['a right-to-left override', 'a\u202Eb', f => f.name('x'), ['x']],
  ['a zero-width space', 'a\u200Bb', f => f.name('x'), ['x']],
  ['a lone surrogate', 'a\uD800b', f => f.name('x'), ['x']],
  ['a space at the end', 'a ', f => f.name('x'), ['x']],
  ['text with lines', 'a\nb\tc', f => f.freeText('x'), 'a\nb\tc'],
  ['text with an escape', 'a\u001b[2J', f => f.freeText('x'), ['x']],
  ['a size', '4096', f => f.size('x', GiB(1)), 4096],
  ['no size', '0', f => f.size('x', GiB(1)), ['x']],
  ['a negative size', '-1', f => f.size('x', GiB(1)), ['x']],
  ['a size beyond 2^53', '9007199254740993', f => f.size('x', GiB(1024 * 1024)), ['x']],
  ['a 64-bit number in full', '9007199254740993', f => f.int64('x', 0n, 2n ** 63n), 9007199254740993n],
  ['uint64 beyond its range', '99999999999999999999', f => f.int64('x', 0n, 2n ** 63n), ['x']],
  ['NaN', NaN, f => f.double('x', 0, 1), ['x']],
  ['infinity', Infinity, f => f.double('x', 0, 1), ['x']],
  ['minus zero', -0, f => Object.is(f.double('x', 0, 1), 0), true],
  ['too many CPUs', 100000, f => f.integer('x', 1, 512), ['x']],
  ['no CPUs', 0, f => f.integer('x', 1, 512), ['x']],
  ['a half CPU', 0.5, f => f.integer('x', 0, 512), ['x']],
  ['a default', 0, f => f.integerOr('x', 100, 1, 1000), 100],
  ['a known enum value', 'A', f => f.choice('x', ['A', 'B']), 'A'],
  ['an unknown enum number', 99, f => f.choice('x', ['A', 'B']), ['x']],
  ['UNSPECIFIED', 'X_UNSPECIFIED', f => f.choice('x', ['A', 'B']), ['x']],
  ['UNSPECIFIED with a default', 'Z', f => f.choiceOr('x', 'Z', 'B', ['A', 'B']), 'B'],
  ['a MAC address', '52:54:00:12:34:56', f => f.mac('x'), '52:54:00:12:34:56'],
  ['a multicast address', '01:00:5e:00:00:01', f => f.mac('x'), ['x']],
  ['zeros', '00:00:00:00:00:00', f => f.mac('x'), ['x']],
  ['an address', '10.0.0.1:80', f => f.hostPort('x'), { host: '10.0.0.1', port: 80 }],
  ['an IPv6 address', '[fe80::1]:80', f => f.hostPort('x'), { host: 'fe80::1', port: 80 }],
  ['IPv6 without brackets', 'fe80::1:80', f => f.hostPort('x'), ['x']],
  ['port 0', 'a:0', f => f.hostPort('x'), ['x']],
  ['an option as host', '-oProxy:80', f => f.hostPort('x'), ['x']],
  ['an address of 999', '999.1.1.1:80', f => f.hostPort('x'), ['x']],
  ['a path', '/srv/a b', f => f.absolutePath('x'), '/srv/a b'],
  ['a path that climbs', '/srv/../etc', f => f.absolutePath('x'), ['x']],
  ['a relative path', 'srv', f => f.absolutePath('x'), ['x']],
  ['a time', { seconds: '1', nanos: 5e8 }, f => f.timestamp('x'), 1500],
  ['a time before all', { seconds: '-9223372036854775808' }, f => f.timestamp('x'), ['x']],
  ['too many nanoseconds', { seconds: '1', nanos: 2 ** 31 - 1 }, f => f.timestamp('x'), ['x']],
  ['a mask', { paths: ['name'] }, f => [...f.fieldMask('x', ['name', 'memory_bytes'])], ['name']],
  ['an empty mask', { paths: [] }, f => f.fieldMask('x', ['name']), ['x']],
  ['a mask with a foreign path', { paths: ['name', '__proto__'] }, f => f.fieldMask('x', ['name']), ['x']],
  ['bytes', Buffer.from('ab'), f => f.bytes('x', 2).toString(), 'ab'],
  ['too many bytes', Buffer.from('abc'), f => f.bytes('x', 2), ['x']],
  ['ids', [id, 'x'], f => f.uuids('x', 5), ['x[1]']],
  ['too many entries', Array(10_000).fill({}), f => f.list('x', 24, inner => inner.uuid('id')), ['x']],
  [
    'wrong entries',
    [{ diskId: id }, {}],
    f => f.list('x', 24, inner => inner.uuid('diskId')),
    ['x[1].disk_id']
  ],
  ['a message that is absent', null, f => f.message('x', inner => inner.bool('y')), ['x']],
  ['a map', { a: id }, f => [...f.map('x', 5, value => ({ value: String(value) }), uuidRule)], [['a', id]]],
  [
    'a wrong map value',
    { a: 'b' },
    f => f.map('x', 5, value => ({ value: String(value) }), uuidRule),
    ['x["a"]']
  ],
  [
    'a map key that poisons',
    JSON.parse(`{"__proto__": "${id}"}`),
    f => f.map('x', 5, value => ({ value: String(value) }), uuidRule),
    ['x["__proto__"]']
  ]
]

for (const [what, value, reader, expected] of table) {
  t.test(`${what} is read as it should be`, async t => {
    t.strictSame(read({ x: value }, reader), expected)
  })
}

t.test('a oneof has exactly one member', async t => {
  const reader = (fields: Fields) =>
    fields.oneof<string>('source', { fromDisk: f => f.uuid('fromDisk'), fromFile: f => f.name('fromFile') })
  t.equal(read({ source: 'fromDisk', fromDisk: id }, reader), id)
  t.strictSame(read({}, reader), ['source'])
  t.strictSame(read({ source: 'fromFile', fromDisk: id, fromFile: 'b' }, reader), ['source'])
  t.strictSame(read({ source: 'constructor' }, reader), ['source'])
})

t.test('messages nested without end are refused', async t => {
  const descend = (fields: Fields): unknown => fields.optionalMessage('a', descend)
  let message = {}
  for (let n = 0; n < 90; n++) message = { a: message }
  t.equal((read(message, descend) as string[]).length, 1)
})

t.test('all violations are gathered, named as the proto files name them', async t => {
  const reader = (fields: Fields) => [
    fields.uuid('vmId'),
    fields.size('memoryBytes', GiB(1)),
    fields.name('name')
  ]
  t.strictSame(read({}, reader), ['vm_id', 'memory_bytes', 'name'])
})
