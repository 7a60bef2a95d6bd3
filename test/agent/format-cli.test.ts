import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { allKinds } from '../../storage/format-kinds/all-kinds.js'
import { bytesOf, dataDirectory, decode, entriesOf, format, kindsInManifest } from '../vectors/manifest.js'

t.test('list names every kind of the golden examples, one line each', async t => {
  const { code, out } = await format('list')
  t.equal(code, 0)
  const lines = out.toString('utf8').trim().split('\n')
  t.strictSame(
    kindsInManifest.filter(kind => !lines.some(line => line.startsWith(`${kind} `))),
    []
  )
  t.equal(lines.length, allKinds.length + 2)
})

const wrongLines: string[][] = [
  [],
  ['decode'],
  ['decode', 'numbers'],
  ['show', 'numbers', 'x'],
  ['decode', 'numbers', 'x', 'y'],
  ['decode', 'numbers', 'x', '--force'],
  ['decode', 'xleases-index', 'x', '--alignment', '3'],
  ['decode', 'xleases-index', 'x', '--sector-size', '520'],
  ['list', 'x']
]

for (const argv of wrongLines) {
  t.test(`"format ${argv.join(' ')}" is answered with the usage and code 2`, async t => {
    const { code, out, err } = await format(...argv)
    t.equal(code, 2)
    t.equal(out.length, 0)
    t.match(err, /^usage: drover-agent format list/)
  })
}

t.test('an unknown kind says where the known ones are listed', async t => {
  const { code, err } = await format('decode', 'floppy', '/dev/null')
  t.equal(code, 2)
  t.match(err, /floppy: .*no such kind; see: drover-agent format list/)
})

const wrongInput: Array<[why: string, verb: string, kind: string, content: string | Buffer, err: RegExp]> = [
  ['a short slot', 'decode', 'volume-metadata-block', 'CAP=1\n', /a slot has 512 bytes \(at byte 6\)/],
  ['a short page', 'decode', 'mailbox-page', 'x', /a page has 4096 bytes \(at byte 1\)/],
  [
    'a broken seal',
    'decode',
    'domain-metadata-file',
    'A=1\n_SHA_CKSUM=00\n',
    /seal is broken: metadata says 00/
  ],
  [
    'metadata that is no UTF-8',
    'decode',
    'domain-metadata-file',
    Buffer.from([0x41, 0xff]),
    /byte 0xff in position 1/
  ],
  ['another magic', 'decode', 'xleases-index', Buffer.alloc(253_952), /bad magic 0x0 \(at byte 0\)/],
  ['a short index', 'decode', 'xleases-index', 'x', /253952 bytes, only 1 were read/],
  ['no lease', 'decode', 'sanlock-lease', Buffer.alloc(512), /no lease was written here \(at byte 0\)/],
  ['a cut text of LVM', 'decode', 'lvm-text-metadata', 'vg {', /ends in the middle \(at byte 4\)/],
  ['no JSON', 'encode', 'volume-metadata-block', '{', /not JSON/],
  ['a missing field', 'encode', 'mailbox-messages', '{"domain": "x"}', /input.domain is not a UUID/],
  [
    'a missing size',
    'encode',
    'volume-metadata-block',
    '{"domain": "x"}',
    /input.image is missing: text is expected/
  ],
  [
    'a word for a number',
    'encode',
    'volume-metadata-block',
    JSON.stringify({ ...fields(), capacity: 'x' }),
    /input.capacity is not an integer/
  ],
  [
    'a text that does not fit',
    'encode',
    'volume-metadata-block',
    JSON.stringify({ ...fields(), description: 'é'.repeat(210) }),
    /512 fit/
  ],
  [
    'a step that does not exist',
    'encode',
    'xleases-index',
    '{"lockspace":"a","mtime":1,"steps":[{"op":"eat","lease":"x"}]}',
    /input.steps\[0\].op is not "add" or "remove"/
  ],
  ['a text that only LVM writes', 'encode', 'lvm-text-metadata', '{}', /LVM alone writes this text/],
  ['a whole storage domain', 'encode', 'domain-archive', '{}', /whole storage domains are only read/]
]

function fields() {
  return { ...entriesOf('volume-metadata-block')[0]?.inputs }
}

for (const [why, verb, kind, content, err] of wrongInput) {
  t.test(`${why} ends with code 1, the reason on stderr and nothing on stdout`, async t => {
    const path = `${t.testdir()}/input`
    await writeFile(path, content)
    const run = await format(verb, kind, path)
    t.equal(run.code, 1)
    t.equal(run.out.length, 0)
    t.match(run.err, err)
    t.ok(run.err.startsWith(`${kind}: ${path}: `) && run.err.endsWith('\n'))
  })
}

t.test('a missing file and a directory end with code 1 and their name', async t => {
  const directory = t.testdir()
  for (const path of [`${directory}/gone`, directory]) {
    const { code, err } = await format('decode', 'numbers', path)
    t.equal(code, 1)
    t.ok(err.includes(path))
  }
})

t.test('gzipped input is read like plain input, and a bomb is refused', async t => {
  const [entry] = entriesOf('volume-metadata-file')
  const directory = t.testdir()
  await writeFile(`${directory}/meta.gz`, gzipSync(bytesOf(entry!)))
  t.strictSame(
    await decode('volume-metadata-file', `${directory}/meta.gz`),
    await decode('volume-metadata-file', `${dataDirectory}/${entry!.file}`)
  )
  await writeFile(`${directory}/bomb.gz`, gzipSync(Buffer.alloc(2 ** 28 + 1), { level: 1 }))
  t.equal((await format('decode', 'numbers', `${directory}/bomb.gz`)).code, 1)
})

t.test('numbers beyond 2^53-1 come out as text and go in as text', async t => {
  const entry = entriesOf('volume-metadata-file').find(({ file }) => file.includes('worst-case'))
  const found = (await decode('volume-metadata-file', `${dataDirectory}/${entry!.file}`)) as {
    parsed: { capacity: unknown }
  }
  t.equal(found.parsed.capacity, '9223372036854775808')
  const path = `${t.testdir()}/input.json`
  await writeFile(path, JSON.stringify(found))
  t.ok((await format('encode', 'volume-metadata-file', path)).out.equals(bytesOf(entry!)))
})

t.test('an entry of the manifest is taken as it stands, inputs and all', async t => {
  for (const kind of ['volume-metadata-block', 'domain-metadata-file', 'mailbox-page', 'xleases-index']) {
    const entry = entriesOf(kind).find(
      ({ inputs }) => inputs?.['steps'] !== undefined || kind !== 'xleases-index'
    )
    const path = `${t.testdir()}/entry.json`
    await writeFile(path, JSON.stringify(entry))
    const { out, err } = await format('encode', kind, path)
    t.equal(err, '')
    t.ok(out.equals(bytesOf(entry!)), entry!.file)
  }
})

t.test('host records of a lockspace go out and come back byte by byte', async t => {
  const directory = t.testdir()
  const lockspace = '6e2d3c1a-0b7f-4c55-9a53-1f2e3d4c5b6a'
  const host = { lockspace, hostName: 'host3.b1c7', generation: 7, leaseVersion: 7, timestamp: 123_456 }
  const hosts = [
    { hostId: 3, ...host },
    { hostId: 249, ...host, hostName: 'last', timestamp: 0 }
  ]
  await writeFile(`${directory}/hosts.json`, JSON.stringify(hosts))
  const { out } = await format('encode', 'sanlock-ids', `${directory}/hosts.json`)
  t.equal(out.length, 2 ** 20)
  await writeFile(`${directory}/ids`, out)
  const found = await decode('sanlock-ids', `${directory}/ids`)
  t.match(
    found,
    hosts.map(expected => ({ ...expected, checksumValid: true }))
  )
  await writeFile(`${directory}/again.json`, JSON.stringify(found))
  t.ok((await format('encode', 'sanlock-ids', `${directory}/again.json`)).out.equals(out))
})

t.test('a lockspace that sanlock initialised is the same again after decoding and encoding', async t => {
  const directory = t.testdir()
  const archive = `${dataDirectory}/domains/file-domain-4k.tar.gz`
  await promisify(execFile)('tar', ['-xzSf', archive, '-C', directory, '--strip-components=1'])
  for (const [kind, area, length] of [
    ['sanlock-ids', 'ids', 2 ** 20],
    ['sanlock-lease', 'leases', 4096]
  ] as const) {
    const { readFile } = await import('node:fs/promises')
    const whole = await readFile(`${directory}/dom_md/${area}`)
    const part = kind === 'sanlock-lease' ? whole.subarray(2 ** 20, 2 ** 20 + length) : whole
    await writeFile(`${directory}/part`, part)
    await writeFile(`${directory}/part.json`, JSON.stringify(await decode(kind, `${directory}/part`)))
    const { out, err } = await format('encode', kind, `${directory}/part.json`)
    t.equal(err, '')
    t.ok(out.equals(part), kind)
  }
})

t.test('with --full, an index of leases shows enough to be made again', async t => {
  for (const entry of entriesOf('xleases-index').filter(({ file }) => !file.includes('corrupt'))) {
    const path = `${t.testdir()}/full.json`
    const sector = entry.file.includes('4096') ? '4096' : '512'
    const file = `${dataDirectory}/${entry.file}`
    const shown = await format('decode', 'xleases-index', file, '--full', '--sector-size', sector)
    await writeFile(path, shown.out)
    t.ok((await format('encode', 'xleases-index', path)).out.equals(bytesOf(entry)), entry.file)
  }
})

t.test('help is printed on stdout when it is asked for', async t => {
  const { code, out } = await format('--help')
  t.equal(code, 0)
  t.match(out.toString('utf8'), /^usage/)
})
