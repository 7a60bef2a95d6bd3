import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { Fault } from '../../../common/fault.js'
import type { Run } from '../../../common/run.js'
import { Secret } from '../../../common/secret.js'
import { seconds } from '../../../common/units.js'
import { Iscsi } from '../../../storage/connections/iscsi.js'
import { nodeRecord } from '../../../storage/connections/iscsi-args.js'
import {
  editRecord,
  replacementTimeout,
  sessionSettings,
  type Chap
} from '../../../storage/connections/iscsi-settings.js'
import type { IscsiPortal } from '../../../storage/connections/iscsi-target.js'

const signal = new AbortController().signal
const chap: Chap = {
  user: 'host',
  secret: new Secret('host-secret-1'),
  mutual: { user: 'array', secret: new Secret('array-secret-2') }
}
const settings = { chap, ioTimeout: seconds(10), multipath: false }
const iqn = 'iqn.2026-01.org.example:one'
const portal = (host: string): IscsiPortal => ({ iqn, host, port: 3260, group: 1 })

/** iscsiadm with its records in a directory: what it is told, and targets that let in, refuse or are dead. */
function fakeIscsiadm(directory: string, answers: Record<string, number> = {}, together = 1) {
  const told: string[][] = []
  const waiting: Array<() => void> = []
  const run: Run = async (command, args, _signal, { okCodes = [0] } = {}) => {
    told.push([command, ...args])
    const host = /-p (\S+?):\d+/.exec(args.join(' '))?.[1] ?? ''
    const record = args.includes('discoverydb')
      ? `send_targets/${host},3260/st_config`
      : nodeRecord(portal(host))
    const path = join(directory, record)
    let code = 0
    if (args.at(-1) === 'new') {
      mkdirSync(dirname(path), { recursive: true })
      const record =
        '# BEGIN RECORD\nnode.startup = manual\nnode.session.auth.authmethod = None\n# END RECORD\n'
      writeFileSync(path, record, { mode: 0o644 })
    }
    if (args.at(-1) === 'delete') rmSync(path, { force: true })
    if (args.at(-1) === '-l' || args.includes('-D')) {
      // Nobody gets an answer before so many ask at once.
      if (waiting.length + 1 < together) await new Promise<void>(resolve => waiting.push(resolve))
      for (const go of waiting) go()
      code = answers[host] ?? 0
    }
    if (!okCodes.includes(code)) {
      const facts = { command, exitCode: String(code) }
      throw new Fault('COMMAND_FAILED', `Command failed\niscsiadm: Login failed (${code})`, { facts })
    }
    return { code, stdout: args.includes('-D') ? `${host}:3260,1 ${iqn}\n` : '', stderr: '' }
  }
  return { run, told }
}

t.test('a login writes its settings and secrets into a record for root alone', async t => {
  const directory = t.testdir()
  const { run, told } = fakeIscsiadm(directory)
  await new Iscsi({ run, directory, sys: directory }).login([portal('10.0.0.1')], settings, signal)
  const file = join(directory, nodeRecord(portal('10.0.0.1')))
  const record = readFileSync(file, 'utf8')
  t.equal(statSync(file).mode & 0o777, 0o600)
  t.match(record, /^node.session.auth.authmethod = CHAP$/m)
  t.match(record, /^node.session.auth.password = host-secret-1$/m)
  t.match(record, /^node.session.auth.password_in = array-secret-2$/m)
  t.match(record, /^node.session.timeo.replacement_timeout = 60$/m)
  t.match(record, /# END RECORD\n$/)
  t.notMatch(JSON.stringify(told), /secret/, 'no argument of a program has a secret')
})

t.test('portals are tried at once, and one that answers is enough', async t => {
  const directory = t.testdir()
  const { run } = fakeIscsiadm(directory, { '10.0.0.2': 8 }, 2)
  const iscsi = new Iscsi({ run, directory, sys: directory })
  const outcomes = await iscsi.login([portal('10.0.0.1'), portal('10.0.0.2')], settings, signal)
  t.strictSame(outcomes.map(({ outcome }) => outcome).toSorted(), ['failed', 'loggedIn'])
  t.throws(() => statSync(join(directory, nodeRecord(portal('10.0.0.2')))), /ENOENT/, 'its secrets are gone')
})

t.test('a session that is there already counts', async t => {
  const directory = t.testdir()
  const { run } = fakeIscsiadm(directory, { '10.0.0.1': 15 })
  const iscsi = new Iscsi({ run, directory, sys: directory })
  t.match(await iscsi.login([portal('10.0.0.1')], settings, signal), [{ outcome: 'already' }])
})

for (const [code, reason] of [
  [24, 'STORAGE_LOGIN_REFUSED'],
  [19, 'STORAGE_LOGIN_REFUSED'],
  [8, 'STORAGE_UNREACHABLE']
] as const) {
  t.test(`exit status ${code} of every login is ${reason}`, async t => {
    const directory = t.testdir()
    const { run } = fakeIscsiadm(directory, { '10.0.0.1': code })
    const iscsi = new Iscsi({ run, directory, sys: directory })
    const error = await iscsi.login([portal('10.0.0.1')], settings, signal).catch((error: unknown) => error)
    t.ok(Fault.is(error, reason), String(error))
    t.notMatch(String(error), /secret-/)
  })
}

t.test('after a restart the record still has the secrets that nobody says again', async t => {
  const directory = t.testdir()
  const { run } = fakeIscsiadm(directory)
  const iscsi = new Iscsi({ run, directory, sys: directory })
  await iscsi.login([portal('10.0.0.1')], settings, signal)
  await iscsi.login([portal('10.0.0.1')], { ...settings, chap: null, ioTimeout: seconds(20) }, signal)
  const record = readFileSync(join(directory, nodeRecord(portal('10.0.0.1'))), 'utf8')
  t.match(record, /authmethod = CHAP/)
  t.match(record, /password = host-secret-1/)
  t.match(record, /replacement_timeout = 140/)
})

t.test('a discovery leaves no record behind, whether it works or not', async t => {
  for (const code of [0, 8, 24]) {
    const directory = t.testdir()
    const { run, told } = fakeIscsiadm(directory, { '10.0.0.1': code })
    const found = await new Iscsi({ run, directory, sys: directory })
      .discover({ host: '10.0.0.1', port: 3260 }, chap, signal)
      .catch((error: unknown) => (error instanceof Fault ? error.reason : error))
    const expected = { 0: [portal('10.0.0.1')], 8: 'STORAGE_UNREACHABLE', 24: 'STORAGE_LOGIN_REFUSED' }[code]
    t.strictSame(found, expected)
    t.throws(() => statSync(join(directory, 'send_targets/10.0.0.1,3260/st_config')), /ENOENT/)
    t.notMatch(JSON.stringify(told), /secret/)
  }
})

t.test('I/O of a lost session ends before sanlock gives the host up', async t => {
  for (const ioTimeout of [1, 5, 10, 20, 40].map(seconds)) {
    const kept = replacementTimeout({ ioTimeout, multipath: false })
    t.ok(kept >= 5 && (ioTimeout < 5 || kept + 10 <= 8 * ioTimeout), `${ioTimeout}: ${kept}`)
  }
  t.equal(replacementTimeout({ ioTimeout: seconds(10), multipath: true }), 5)
})

t.test('editing a record changes what it has, adds what it lacks and keeps the rest', async t => {
  const record = '# BEGIN RECORD 2.1.8\nnode.name = a\nnode.conn[0].timeo.login_timeout = 30\n# END RECORD\n'
  const edited = editRecord(
    record,
    new Map([
      ['node.conn[0].timeo.login_timeout', '10'],
      ['node.leading_login', 'No']
    ])
  )
  t.equal(
    edited,
    '# BEGIN RECORD 2.1.8\nnode.name = a\nnode.conn[0].timeo.login_timeout = 10\nnode.leading_login = No\n# END RECORD\n'
  )
  t.equal(sessionSettings({ ...settings, chap: null }).get('node.session.auth.authmethod'), 'None')
})
