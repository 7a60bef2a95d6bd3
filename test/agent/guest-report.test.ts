import t from 'tap'
import {
  agentIn,
  fileSystemsIn,
  hasUsefulAddress,
  hostnameIn,
  interfacesIn,
  noReport,
  osIn,
  readAnswer,
  usersIn
} from '../../agent/guest-report.js'

t.test('a well-meant answer is understood', async t => {
  const interfaces = interfacesIn([
    {
      name: 'eth0',
      'hardware-address': '52:54:00:AA:00:01',
      'ip-addresses': [{ 'ip-address': '10.0.0.5', prefix: 24 }, { 'ip-address': 'fe80::1' }]
    }
  ])
  t.strictSame(interfaces, [{ name: 'eth0', mac: '52:54:00:aa:00:01', addresses: ['10.0.0.5', 'fe80::1'] }])
  t.ok(hasUsefulAddress({ ...noReport, interfaces }))
  t.strictSame(osIn({ 'pretty-name': 'Debian 12', 'kernel-release': '6.1' }), {
    osName: 'Debian 12',
    kernel: '6.1'
  })
  t.equal(hostnameIn({ 'host-name': 'web' }), 'web')
  t.strictSame(usersIn([{ user: 'root' }, { user: 'root' }, { user: 'eve' }]), ['root', 'eve'])
  const { commands } = agentIn({
    version: '7.2',
    supported_commands: [{ name: 'guest-ping' }, { name: 'guest-exec', enabled: false }]
  })
  t.strictSame([...commands], ['guest-ping'])
})

const corpus: Array<[why: string, text: string | null]> = [
  ['nothing', null],
  ['no JSON', '{"return": '],
  ['ten megabytes without an end', `"${'x'.repeat(10 * 2 ** 20)}`],
  ['nesting of 100,000', `${'['.repeat(100_000)}${']'.repeat(100_000)}`],
  ['nesting of 17', `{"return":${'['.repeat(17)}${']'.repeat(17)}}`],
  ['an answer without return', '{"error": {"class": "x"}}'],
  ['a list where an object belongs', '[1, 2]']
]
for (const [why, text] of corpus) {
  t.test(`${why} is no answer`, async t => {
    t.equal(readAnswer(text), null)
  })
}

t.test('a million interfaces, names that hide, and addresses that are none are cut down', async t => {
  const many = Array.from({ length: 100_000 }, () => ({
    name: 'e',
    'ip-addresses': [{ 'ip-address': '::1' }]
  }))
  t.equal(interfacesIn(many).length, 64)
  const [one] = interfacesIn([
    {
      name: `a\u202eb\u0000\ufffe${'x'.repeat(1000)}`,
      'hardware-address': '__proto__',
      'ip-addresses': [
        { 'ip-address': 'fe80::1%eth0;id' },
        { 'ip-address': '999.1.1.1' },
        { 'ip-address': 7 },
        null
      ]
    }
  ])
  t.match(one?.name, /^abx+$/)
  t.equal(one?.mac, '')
  t.strictSame(one?.addresses, [])
})

t.test('numbers beyond reason become 0, and a prototype is no answer', async t => {
  const [one] = fileSystemsIn([{ mountpoint: '/', type: 'ext4', 'total-bytes': 1e400, 'used-bytes': -1 }])
  t.match(one, { totalBytes: 0, usedBytes: 0 })
  t.equal(hostnameIn(JSON.parse('{"__proto__": {"host-name": "evil"}}')), '')
  t.strictSame(usersIn({ length: 10 ** 9 }), [])
})
