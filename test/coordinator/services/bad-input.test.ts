import { randomUUID } from 'node:crypto'
import t from 'tap'
import type { Fault } from '../../../common/fault.js'
import { coordinatorServices } from '../../../proto/load.js'
import { coordinatorWorld, failure, never } from '../world.js'

t.setTimeout(280_000)

const { cluster, host, event, coordinator, enrolment, watch } = coordinatorServices
type Method = { path: string }
type Row = [title: string, method: Method, request: object, reason: string, field: string | null]

const uuid = '33333333-3333-4333-8333-333333333333'
const named = (name: string) => ({ requestId: randomUUID(), cluster: { name } })

const rows: Row[] = [
  ['page_size -1', cluster.ListClusters, { pageSize: -1 }, 'INVALID_REQUEST', 'page_size'],
  ['a forged page token', cluster.ListClusters, { pageToken: 'AAAA' }, 'INVALID_REQUEST', 'page_token'],
  [
    'a page token with control characters',
    host.ListHosts,
    { pageToken: '\0' },
    'INVALID_REQUEST',
    'page_token'
  ],
  ['an unknown filter field', host.ListHosts, { filter: 'color = RED' }, 'INVALID_REQUEST', 'filter'],
  [
    'a filter that is no sentence',
    host.ListHosts,
    { filter: 'name = "a" OR 1=1' },
    'INVALID_REQUEST',
    'filter'
  ],
  ['a filter with __proto__', host.ListHosts, { filter: '__proto__ = "a"' }, 'INVALID_REQUEST', 'filter'],
  [
    'a filter with an unknown state',
    host.ListHosts,
    { filter: 'status = FINE' },
    'INVALID_REQUEST',
    'filter'
  ],
  [
    'an order by SQL',
    event.ListEvents,
    { orderBy: 'sequence; DROP TABLE vm' },
    'INVALID_REQUEST',
    'order_by'
  ],
  ['an order by constructor', event.ListEvents, { orderBy: 'constructor' }, 'INVALID_REQUEST', 'order_by'],
  [
    'a mutation without request id',
    cluster.CreateCluster,
    { cluster: { name: 'a' } },
    'INVALID_REQUEST',
    'request_id'
  ],
  ['no cluster at all', cluster.CreateCluster, { requestId: uuid }, 'INVALID_REQUEST', 'cluster'],
  ['an empty name', cluster.CreateCluster, named(''), 'INVALID_REQUEST', 'cluster.name'],
  ['a name with markup', cluster.CreateCluster, named('</name><x>'), 'INVALID_REQUEST', 'cluster.name'],
  ['a name that reorders', cluster.CreateCluster, named('a\u202Eb'), 'INVALID_REQUEST', 'cluster.name'],
  [
    'a name of 65 characters',
    cluster.CreateCluster,
    named('x'.repeat(65)),
    'INVALID_REQUEST',
    'cluster.name'
  ],
  [
    'a silence of 2 seconds',
    cluster.CreateCluster,
    { requestId: uuid, cluster: { name: 'a', ha: { silenceSeconds: 2 } } },
    'INVALID_REQUEST',
    'cluster.ha.silence_seconds'
  ],
  [
    'an update of nothing',
    cluster.UpdateCluster,
    { requestId: uuid, cluster: { clusterId: uuid }, updateMask: { paths: [] } },
    'INVALID_REQUEST',
    'update_mask'
  ],
  [
    'an update of __proto__',
    cluster.UpdateCluster,
    { requestId: uuid, cluster: { clusterId: uuid }, updateMask: { paths: ['__proto__'] } },
    'INVALID_REQUEST',
    'update_mask'
  ],
  ['a cluster that is not there', cluster.GetCluster, { clusterId: uuid }, 'NOT_FOUND', null],
  [
    'a path for an id',
    cluster.GetCluster,
    { clusterId: '../../etc/passwd' },
    'INVALID_REQUEST',
    'cluster_id'
  ],
  [
    'a host in a cluster that is not there',
    host.CreateHost,
    { requestId: uuid, host: { name: 'h', clusterId: uuid } },
    'NOT_FOUND',
    null
  ],
  [
    'a fence agent with a path',
    host.CreateHost,
    {
      requestId: uuid,
      host: {
        name: 'h',
        clusterId: uuid,
        powerManagement: { enabled: true, devices: [{ fenceAgent: '/bin/sh' }] }
      }
    },
    'INVALID_REQUEST',
    'host.power_management.devices[0].fence_agent'
  ],
  [
    'a password among the plain options',
    host.CreateHost,
    {
      requestId: uuid,
      host: {
        ...{ name: 'h', clusterId: uuid },
        powerManagement: {
          enabled: true,
          devices: [{ fenceAgent: 'fence_x', options: { password: 'CANARY-1' } }]
        }
      }
    },
    'INVALID_REQUEST',
    'host.power_management.devices[0].options["password"]'
  ],
  [
    'a backup outside of its folder',
    coordinator.Backup,
    { requestId: uuid, name: '../x.db' },
    'INVALID_REQUEST',
    'name'
  ],
  ['events after minus two', event.WatchEvents, { afterSequence: '-2' }, 'INVALID_REQUEST', 'after_sequence'],
  ['a position that is none', watch.Watch, { from: { incarnation: 'x' } }, 'INVALID_REQUEST', 'incarnation'],
  ['a token that is none', enrolment.Enrol, enrolWith({ token: '' }), 'INVALID_REQUEST', 'token'],
  ['a token nobody gave', enrolment.Enrol, enrolWith({}), 'PERMISSION_DENIED', null],
  ['an address without a port', enrolment.Enrol, enrolWith({ address: 'host' }), 'INVALID_REQUEST', 'address']
]

function enrolWith(change: object): object {
  const csr = Buffer.from('nonsense')
  const names = { hardwareId: uuid, hostname: 'h', bootId: uuid }
  return { token: 'drover-x', csr, ...names, address: '192.0.2.1:7444', ...change }
}

t.test('what is wrong is refused, names its field, and changes nothing', async t => {
  const world = await coordinatorWorld(t)
  const { read } = world
  const { sql } = await import('../../../coordinator/store/query.js')
  for (const [title, method, request, reason, field] of rows) {
    const isStream = method === event.WatchEvents || method === watch.Watch
    const began = performance.now()
    const work = isStream
      ? world.local.stream(method as never, request as never, never).next()
      : world.local.call(method as never, request as never, never)
    const fault = (await failure(work)) as Fault
    t.equal(fault.reason, reason, title)
    if (field)
      t.ok(
        fault.violations.some(violation => violation.field.endsWith(field)),
        `${title}: names ${field}`
      )
    t.ok(performance.now() - began < 1000, `${title}: soon`)
    t.notMatch(JSON.stringify(fault.message + JSON.stringify(fault.facts)), /CANARY|\/tmp|at .*\.ts/, title)
  }
  t.strictSame(read.all(sql.selectFrom('cluster').select('id')), [])
  t.strictSame(read.all(sql.selectFrom('host').select('id')), [])
})

t.test('10^9 items asked for are cut to 1000; a token is good for its own list only', async t => {
  const world = await coordinatorWorld(t)
  for (const name of ['b', 'a', 'c', 'd']) await world.createCluster(name)
  const all = await world.call(cluster.ListClusters, { pageSize: 1_000_000_000 })
  t.strictSame(
    all.clusters.map(({ name }) => name),
    ['a', 'b', 'c', 'd']
  )
  const first = await world.call(cluster.ListClusters, { pageSize: 2, orderBy: 'name desc' })
  t.strictSame(
    first.clusters.map(({ name }) => name),
    ['d', 'c']
  )
  const pageToken = first.nextPageToken
  const second = await world.call(cluster.ListClusters, { pageSize: 2, orderBy: 'name desc', pageToken })
  t.strictSame(
    second.clusters.map(({ name }) => name),
    ['b', 'a']
  )
  t.equal(second.nextPageToken, '')
  for (const request of [
    { orderBy: 'name', pageToken },
    { pageToken, orderBy: 'name desc', filter: 'name = "a*"' }
  ]) {
    t.match(await failure(world.call(cluster.ListClusters, request)), { reason: 'INVALID_REQUEST' })
  }
  const some = await world.call(cluster.ListClusters, { filter: 'name != "a" AND name = "[a-c]*"' })
  t.strictSame(some.clusters, [], 'only * is special')
  const starred = await world.call(cluster.ListClusters, { filter: 'name = "*" AND name != b' })
  t.strictSame(
    starred.clusters.map(({ name }) => name),
    ['a', 'c', 'd']
  )
})

t.test('the same request has one effect, also a hundred at once; a stale etag is refused', async t => {
  const world = await coordinatorWorld(t)
  const requestId = randomUUID()
  const answers = await Promise.all(
    Array.from({ length: 100 }, () =>
      world.call(cluster.CreateCluster, { requestId, cluster: { name: 'one' } })
    )
  )
  t.equal(new Set(answers.map(({ clusterId }) => clusterId)).size, 1)
  t.match(await failure(world.call(cluster.CreateCluster, { requestId, cluster: { name: 'two' } })), {
    reason: 'REQUEST_ID_REUSED'
  })
  const [{ clusterId, etag }] = answers as [(typeof answers)[0]]
  const change = (etag: string, description: string) =>
    world.mutate(cluster.UpdateCluster, {
      cluster: { clusterId, etag, description },
      updateMask: { paths: ['description'] }
    })
  const changed = await change(etag, 'first')
  t.equal(changed.description, 'first')
  t.match(await failure(change(etag, 'second')), { reason: 'STALE_ETAG', status: 'ABORTED' })
  t.match(await failure(world.mutate(cluster.CreateCluster, { cluster: { name: 'one' } })), {
    reason: 'ALREADY_EXISTS'
  })
  const { records } = await world.call(event.ListAuditRecords, { pageSize: 1000 })
  t.equal(records.length, 104, 'each attempt left one record, also the refused ones')
  t.match(records[0], { action: 'cluster.create', outcome: 'ALREADY_EXISTS', actor: 'local' })
  t.match(await world.call(event.VerifyAuditTrail, {}), { records: '104', firstBadSequence: '0' })
})

t.test('each role may do what its policy says and nothing else', async t => {
  const world = await coordinatorWorld(t)
  const [admin, viewer, foreign, nobody] = [
    await world.over({ role: 'ADMIN', id: 'ann' }),
    await world.over({ role: 'VIEWER', id: 'vic' }),
    await world.over({ role: 'HOST', id: uuid }),
    await world.over(null)
  ]
  const create = { requestId: randomUUID(), cluster: { name: 'by-ann' } }
  t.match(await admin.client.call(cluster.CreateCluster, create, never), { name: 'by-ann' })
  t.match(await viewer.client.call(cluster.ListClusters, {}, never), { clusters: [{ name: 'by-ann' }] })
  const refused = async (client: typeof admin.client) =>
    failure(client.call(cluster.CreateCluster, { requestId: randomUUID(), cluster: { name: 'x' } }, never))
  t.match(await refused(viewer.client), { reason: 'PERMISSION_DENIED' })
  t.match(await refused(foreign.client), { reason: 'PERMISSION_DENIED' })
  t.match(await refused(nobody.client), { reason: 'UNAUTHENTICATED' })
  t.match(await failure(nobody.client.call(cluster.ListClusters, {}, never)), { reason: 'UNAUTHENTICATED' })
  const { records } = await world.call(event.ListAuditRecords, { filter: 'action = cluster.create' })
  t.strictSame(
    records.map(({ actor, outcome }) => `${actor} ${outcome}`),
    [
      'anonymous UNAUTHENTICATED',
      `host/${uuid} PERMISSION_DENIED`,
      'viewer/vic PERMISSION_DENIED',
      'admin/ann OK'
    ]
  )

  const { leaveNote } = await import('../../../coordinator/trust/notes.js')
  const { systemClock } = await import('../../../common/clock.js')
  const notes = `${world.folder}/state/trust/notes`
  await leaveNote(notes, { kind: 'revoked', serial: admin.serial }, systemClock)
  await world.until(async () => {
    const error = await failure(admin.client.call(cluster.ListClusters, {}, never))
    return (error as Fault).reason === 'UNAUTHENTICATED'
  })
})

t.test('what succeeds is recorded in the transaction of its effect, and once', async t => {
  const world = await coordinatorWorld(t)
  const { sql } = await import('../../../coordinator/store/query.js')
  const together: number[] = []
  // Listeners hear of each transaction after it: the first that has the cluster must have the record too.
  const stop = world.running.store.listen(changes => {
    if (!changes.some(({ kind }) => kind === 'cluster')) return
    together.push(world.read.all(sql.selectFrom('audit').select('sequence')).length)
  })
  await world.createCluster('a')
  stop()
  t.strictSame(together, [1])
  const { records } = await world.call(event.ListAuditRecords, {})
  t.equal(records.length, 1)
  t.match(records[0], {
    action: 'cluster.create',
    outcome: 'OK',
    method: 'drover.v1.ClusterService/CreateCluster'
  })
})
