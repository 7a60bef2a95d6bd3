import { randomUUID } from 'node:crypto'
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { pino } from 'pino'
import t from 'tap'
import type { Method } from '../../common/client.js'
import { coordinatorServices } from '../../proto/load.js'
import { secretRequests } from '../common/bad-values.js'
import { coordinatorWorld, failure } from './world.js'

t.setTimeout(280_000)

const { host, event } = coordinatorServices
type AnyMethod = Method<object, object>
const services = Object.values(coordinatorServices) as object[]
const methods = new Map(
  services.flatMap(service =>
    (Object.values(service) as AnyMethod[]).map(method => [method.path, method] as const)
  )
)

t.test('a secret that is sent stands in no log, event, audit record, error, file or backup', async t => {
  const canary = `CANARY-${randomUUID()}`
  const heard: string[] = []
  const sink = new Writable({
    write: (chunk: Buffer, _, done) => {
      heard.push(String(chunk))
      done()
    }
  })
  const world = await coordinatorWorld(t, {}, pino({ level: 'trace' }, sink))

  // Wrong requests with a secret in them, everywhere where the contract has a place for one.
  const places: string[] = []
  for (const { path, field, request } of secretRequests('drover.v1', canary)) {
    places.push(field)
    const outcome = await failure(world.local.call(methods.get(path)!, request, AbortSignal.timeout(5000)))
    heard.push(JSON.stringify(outcome), String(outcome))
  }
  t.ok(places.includes('token') && places.some(place => /secretOptions$/.test(place)), places.join(' '))

  // And a good one, that is kept.
  const clusterId = await world.createCluster()
  const devices = [
    { fenceAgent: 'fence_x', options: { ip: '192.0.2.1' }, secretOptions: { password: canary } }
  ]
  const made = await world.mutate(host.CreateHost, {
    host: { name: 'h', clusterId, powerManagement: { enabled: true, devices } }
  })
  heard.push(JSON.stringify(made), JSON.stringify(await world.call(host.ListHosts, {})))
  t.ok(made.token.length > 20)
  heard.push(JSON.stringify(await world.events()))
  heard.push(JSON.stringify(await world.call(event.ListAuditRecords, { pageSize: 1000 })))
  await world.mutate(coordinatorServices.coordinator.Backup, { name: 'backup.db' })
  const audit = await world.call(event.RunAudit, {})
  t.strictSame(
    audit.findings.filter(({ invariant }) => invariant === 'I17'),
    []
  )

  await world.stop()
  t.notMatch(heard.join('\n'), canary, 'what was said')
  t.notMatch(
    heard
      .slice(0, -1)
      .filter(line => !line.includes('caFingerprint'))
      .join('\n'),
    made.token
  )
  const files = (await readdir(world.folder, { recursive: true, withFileTypes: true })).filter(file =>
    file.isFile()
  )
  t.ok(files.some(({ name }) => name === 'backup.db'))
  for (const file of files) {
    const bytes = await readFile(join(file.parentPath, file.name))
    t.notOk(bytes.includes(canary) || bytes.includes(made.token), `${file.name} tells no secret`)
  }
})
