import fc from 'fast-check'
import t from 'tap'
import { discoveryRecord, login, newNode, nodeRecord } from '../../../storage/connections/iscsi-args.js'
import {
  isChapSecret,
  isIqn,
  parseDiscovery,
  parsePortal
} from '../../../storage/connections/iscsi-target.js'

const good = [
  'iqn.2026-01.org.example:disk-1',
  'iqn.2003-01.org.linux-iscsi',
  'eui.02004567A425678D',
  'naa.52004567BA64678D'
]
const bad = [
  '',
  '-T',
  'iqn.2026-01.org.example:../../etc/passwd',
  'iqn.2026-01.org.example:a/b',
  'iqn.2026-01.org.example:a b',
  'iqn.26-01.org',
  'iqn.2026-01.Org',
  'eui.0200',
  'iqn.2026-01.org.example:$(id)',
  `iqn.2026-01.org:${'a'.repeat(230)}`,
  'iqn.2026-01.org.example:a\nb'
]

t.test('names of targets are those of the standard and nothing else', async t => {
  for (const name of good) t.ok(isIqn(name), name)
  for (const name of bad) t.notOk(isIqn(name), name)
})

t.test('portals have port 3260 unless they say another', async t => {
  t.strictSame(parsePortal('10.0.0.1'), { host: '10.0.0.1', port: 3260 })
  t.strictSame(parsePortal('san.example:3261'), { host: 'san.example', port: 3261 })
  t.strictSame(parsePortal('[fd00::1]:3260'), { host: 'fd00::1', port: 3260 })
  t.strictSame(parsePortal('[fd00::1]'), { host: 'fd00::1', port: 3260 })
  for (const text of ['', '-p', '10.0.0.1:0', '10.0.0.1:99999', 'a b', 'a/b', '--op=delete'])
    t.equal(parsePortal(text), null)
})

t.test('what a portal answers is read, and what breaks the rules is left out', async t => {
  const answer = `10.0.0.1:3260,1 iqn.2026-01.org.example:one
[fd00::1]:3260,2 iqn.2026-01.org.example:one
10.0.0.2:3260,-1 iqn.2026-01.org.example:two
10.0.0.3:3260,1 iqn.2026-01.org.example:../../../etc/cron.d/x
--op=delete,1 iqn.2026-01.org.example:three
iscsiadm: noise
`
  t.strictSame(parseDiscovery(answer), [
    { iqn: 'iqn.2026-01.org.example:one', host: '10.0.0.1', port: 3260, group: 1 },
    { iqn: 'iqn.2026-01.org.example:one', host: 'fd00::1', port: 3260, group: 2 },
    { iqn: 'iqn.2026-01.org.example:two', host: '10.0.0.2', port: 3260, group: 1 }
  ])
})

t.test('whatever a portal answers ends in names that are files of their own', async t => {
  const piece = fc.oneof(
    fc.string(),
    fc.constantFrom('iqn.2026-01.org.example:', '10.0.0.1:3260,1 ', '../', '\n', '-', ' ')
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), pieces => {
      for (const portal of parseDiscovery(pieces.join(''))) {
        const path = nodeRecord(portal)
        if (path.split('/').length !== 4 || path.includes('..') || !path.startsWith('nodes/')) return false
      }
      return true
    })
  )
})

t.test('records and arguments name one portal, in the way of its address family', async t => {
  const portal = { iqn: 'iqn.2026-01.org.example:one', host: 'fd00::1', port: 3260, group: 2 }
  t.equal(nodeRecord(portal), 'nodes/iqn.2026-01.org.example:one/fd00::1,3260,2/default')
  t.equal(discoveryRecord(portal), 'send_targets/fd00::1,3260/st_config')
  const node = ['-m', 'node', '-T', portal.iqn, '-p', '[fd00::1]:3260,2', '-I', 'default']
  t.strictSame(newNode(portal), [...node, '-o', 'new'])
  t.strictSame(login(portal), [...node, '-l'])
})

t.test('secrets are long enough and fit on a line of a record', async t => {
  t.ok(isChapSecret('twelve-chars'))
  for (const text of [
    'short',
    'has a space in it',
    'line\nnode.startup = automatic',
    'ü'.repeat(12),
    'x'.repeat(101)
  ])
    t.notOk(isChapSecret(text), text)
})
