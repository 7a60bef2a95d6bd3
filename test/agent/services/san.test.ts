import { randomUUID } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { Ledger } from '../../../agent/ledger.js'
import { sanService } from '../../../agent/services/san.js'
import { lockLevels, Tasks } from '../../../agent/tasks.js'
import { systemClock } from '../../../common/clock.js'
import { Fault } from '../../../common/fault.js'
import { Locks } from '../../../common/locks.js'
import type { Run } from '../../../common/run.js'
import { agentServices } from '../../../proto/load.js'
import { BlockStorage } from '../../../storage/connections/block-storage.js'
import type { IscsiSession } from '../../../storage/connections/iscsi-sessions.js'
import { Iscsi } from '../../../storage/connections/iscsi.js'
import { nodeRecord } from '../../../storage/connections/iscsi-args.js'
import { Reservations } from '../../../storage/connections/reservations.js'
import { never, world as rpcWorld } from '../../common/world.js'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'

const log = pino({ level: 'silent' })
const service = agentServices.san
const portal = { iqn: 'iqn.2026-01.org.example:one', host: '10.0.0.1', port: 3260, group: 1 }
const used = { ...portal, host: '10.0.0.9' }
const chap = { user: 'host', secret: 'host-secret-1', mutualUser: '', mutualSecret: '' }

/** The service of a host over real gRPC; only iscsiadm and its kind are not real. */
async function world(t: Test, reached: IscsiSession[] = []) {
  const directory = await mkdtemp('/tmp/drover-san-')
  const told: string[] = []
  const run: Run = async (command, args) => {
    told.push([command, ...args].join(' '))
    const path = `${directory}/${nodeRecord(portal)}`
    if (command === 'iscsiadm' && args.at(-1) === 'new') {
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, '# END RECORD\n')
    }
    if (command === 'multipathd') throw new Fault('COMMAND_FAILED', 'no multipathd')
    return { code: 0, stdout: '', stderr: '' }
  }
  const ledger = await Ledger.open(`${directory}/ledger`, systemClock, log)
  const tasks = new Tasks({
    ...{ ledger, clock: systemClock, log, locks: new Locks(lockLevels) },
    rememberEpoch: async () => {}
  })
  const block = new BlockStorage({
    run,
    clock: systemClock,
    log,
    iscsi: new Iscsi({ run, directory, sys: directory })
  })
  block.sessionsOf = async wwids => (wwids.includes('3600') ? reached : [])
  const { server, local } = await rpcWorld(t, {})
  const verbs = { block, reservations: new Reservations(run) }
  const connections = () => [{ kind: 'iscsi' as const, portals: [used], luns: ['3600'] }]
  server.add(service, sanService({ ...verbs, tasks, connections, lunsInUse: () => ['3600'] }))
  t.teardown(async () => {
    await ledger.close()
    await rm(directory, { recursive: true, force: true })
  })
  return { client: local(), told, directory }
}

t.test('a login is a task, and its secret is in the record alone', async t => {
  const { client, told, directory } = await world(t)
  const request = { requestId: randomUUID(), portals: [portal], chap }
  const task = await client.call(service.LoginIscsi, request, never)
  const result = `${portal.iqn} at 10.0.0.1:3260`
  t.match(task, { state: 'TASK_STATE_SUCCEEDED', result: { loggedIn: result, failed: '' } })
  t.match(await readFile(`${directory}/${nodeRecord(portal)}`, 'utf8'), /password = host-secret-1/)
  t.notMatch(told.join('\n'), /host-secret/)
  for (const name of (await readdir(directory)).filter(name => name.startsWith('ledger')))
    t.notMatch(await readFile(`${directory}/${name}`, 'utf8'), /host-secret/, `${name} has no secret`)
})

t.test('the sessions of a storage domain are not ended by hand', async t => {
  const { client, told } = await world(t)
  const ended = client.call(service.LogoutIscsi, { requestId: randomUUID(), portals: [used] }, never)
  const error = await ended.catch((error: unknown) => error)
  t.ok(Fault.is(error, 'WRONG_STATE'), String(error))
  t.strictSame(told, [])
})

t.test('nor are those through which a VM has a LUN', async t => {
  const { client, told } = await world(t, [{ iqn: portal.iqn } as IscsiSession])
  const ended = client.call(service.LogoutIscsi, { requestId: randomUUID(), portals: [portal] }, never)
  const error = await ended.catch((error: unknown) => error)
  t.ok(Fault.is(error, 'WRONG_STATE'), String(error))
  t.match(String(error), /in use by a VM/)
  t.strictSame(told, [])
})

const stamped = { requestId: randomUUID() }
const key = { sanlockHostId: 1, generation: 1 }
const bad: Array<
  [field: string, call: (client: Awaited<ReturnType<typeof world>>['client']) => Promise<unknown>]
> = [
  ['portals', client => client.call(service.LoginIscsi, { ...stamped, portals: [] }, never)],
  [
    'portals[0].iqn',
    client => client.call(service.LoginIscsi, { ...stamped, portals: [{ ...portal, iqn: '../x' }] }, never)
  ],
  [
    'portals[0].host',
    client => client.call(service.LoginIscsi, { ...stamped, portals: [{ ...portal, host: '-p' }] }, never)
  ],
  [
    'chap.secret',
    client =>
      client.call(
        service.LoginIscsi,
        { ...stamped, portals: [portal], chap: { user: 'a', secret: 'short' } },
        never
      )
  ],
  [
    'chap.mutual_secret',
    client =>
      client.call(service.DiscoverIscsi, { portal: '10.0.0.1', chap: { ...chap, mutualUser: 'a' } }, never)
  ],
  ['portal', client => client.call(service.DiscoverIscsi, { portal: '--op=delete' }, never)],
  ['luns[0]', client => client.call(service.RegisterLunKey, { ...stamped, luns: ['../sda'], key }, never)],
  [
    'other',
    client => client.call(service.PreemptLunKey, { ...stamped, luns: ['3600'], key, other: key }, never)
  ]
]
t.test('what breaks the rules is refused by its name, and nothing is run', async t => {
  const { client, told } = await world(t)
  for (const [field, call] of bad) {
    const error = await call(client).catch((error: unknown) => error)
    const fields = error instanceof Fault ? error.violations.map(({ field }) => field) : [String(error)]
    // Registering and preempting are the coordinator's alone.
    if (/luns|other/.test(field)) t.ok(Fault.is(error, 'PERMISSION_DENIED'), String(error))
    else t.strictSame(fields, [field])
    t.notMatch(JSON.stringify(error), /short|host-secret/)
  }
  t.strictSame(told, [])
})

t.test('A27 a secret of 8 or 300 characters, or with a newline, is refused, and told nobody', async t => {
  const { client, told } = await world(t)
  for (const secret of ['eightchr', 'long-secret-'.repeat(25), 'two-lines-of\nnode.startup = automatic']) {
    const request = { requestId: randomUUID(), portals: [portal], chap: { ...chap, secret } }
    const error = await client.call(service.LoginIscsi, request, never).catch((error: unknown) => error)
    t.ok(Fault.is(error, 'INVALID_REQUEST'), String(error))
    t.notMatch(JSON.stringify(error), /eightchr|long-secret|two-lines/)
  }
  t.strictSame(told, [])
})
