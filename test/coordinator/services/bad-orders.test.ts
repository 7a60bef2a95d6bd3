import { randomUUID } from 'node:crypto'
import t from 'tap'
import type { Method } from '../../../common/client.js'
import type { Fault } from '../../../common/fault.js'
import { sql } from '../../../coordinator/store/query.js'
import { coordinatorServices } from '../../../proto/load.js'
import { coordinatorWorld, failure, type CoordinatorWorld } from '../world.js'

t.setTimeout(280_000)

const { vm, disk, template, snapshot, storageDomain, job } = coordinatorServices
const id = randomUUID()
const [clusterId, domainId] = [randomUUID(), randomUUID()]
const posix = { kind: 'posix' as const, posix: { path: '/srv/x' } }
const mask = (...paths: string[]) => ({ updateMask: { paths } })
const many = (count: number, of: () => object) => Array.from({ length: count }, of)

type AnyMethod = Method<never, never>
type Case = [what: string, method: unknown, request: object, field: string]

const newVm = (more: object) => ({ vm: { name: 'x', clusterId, ...more } })
const newDisk = (more: object) => {
  return { disk: { name: 'x', storageDomainId: domainId, capacity: '1073741824', ...more } }
}
const newDomain = (more: object) => ({ storageDomain: { name: 'x', connection: posix, ...more } })
const twice = { mac: '52:54:00:00:00:01' }

// Wrong by themselves, whatever exists: INVALID_ARGUMENT, and the field is named.
const cases: Case[] = [
  ...[
    ['control characters', 'a\u0000b'],
    ['a newline', 'a\nb'],
    ['U+FFFE', 'a\uFFFEb'],
    ['a right-to-left override', 'a\u202Eb'],
    ['markup', '</name><devices>'],
    ['nothing', ''],
    ['65 characters', 'x'.repeat(65)],
    ['a space at its end', 'x ']
  ].map(([what, name]): Case => [`a VM name with ${what}`, vm.CreateVm, newVm({ name }), 'vm.name']),
  ['no VM', vm.CreateVm, {}, 'vm'],
  ['an empty cluster id', vm.CreateVm, newVm({ clusterId: '' }), 'vm.cluster_id'],
  ['a path as an id', vm.CreateVm, newVm({ clusterId: '../../etc/passwd' }), 'vm.cluster_id'],
  ['a NUL as an id', vm.GetVm, { vmId: '\0' }, 'vm_id'],
  ['513 virtual CPUs', vm.CreateVm, newVm({ vcpus: 513 }), 'vm.vcpus'],
  ['4294967295 virtual CPUs', vm.CreateVm, newVm({ vcpus: 4294967295 }), 'vm.vcpus'],
  ['negative memory', vm.CreateVm, newVm({ memoryBytes: '-1' }), 'vm.memory_bytes'],
  ['memory of 2^53+1', vm.CreateVm, newVm({ memoryBytes: '9007199254740993' }), 'vm.memory_bytes'],
  ['memory of half a MiB more', vm.CreateVm, newVm({ memoryBytes: '537395200' }), 'vm.memory_bytes'],
  ['an unknown firmware', vm.CreateVm, newVm({ firmware: 77 }), 'vm.firmware'],
  ['10,000 disks', vm.CreateVm, newVm({ disks: many(10_000, () => ({ readOnly: true })) }), 'vm.disks'],
  [
    '10,000 named disks',
    vm.CreateVm,
    newVm({ disks: many(10_000, () => ({ diskId: randomUUID() })) }),
    'vm.disks'
  ],
  ['a disk twice', vm.CreateVm, newVm({ disks: [{ diskId: id }, { diskId: id }] }), 'vm.disks'],
  ['17 nics', vm.CreateVm, newVm({ nics: many(17, () => ({})) }), 'vm.nics'],
  ['a multicast MAC', vm.CreateVm, newVm({ nics: [{ mac: '01:00:5e:00:00:01' }] }), 'vm.nics[0].mac'],
  ['a MAC of zeros', vm.CreateVm, newVm({ nics: [{ mac: '00:00:00:00:00:00' }] }), 'vm.nics[0].mac'],
  ['the same MAC twice', vm.CreateVm, newVm({ nics: [twice, twice] }), 'vm.nics'],
  ['a bridge named br0;x', vm.CreateVm, newVm({ nics: [{ bridge: 'br0;x' }] }), 'vm.nics[0].bridge'],
  [
    'a bridge of 16 characters',
    vm.CreateVm,
    newVm({ nics: [{ bridge: 'b'.repeat(16) }] }),
    'vm.nics[0].bridge'
  ],
  ['priority 101', vm.CreateVm, newVm({ ha: { enabled: true, priority: 101 } }), 'vm.ha.priority'],
  ['a clone of nothing', vm.CreateVm, { ...newVm({}), clone: true }, 'clone'],
  ['a mask without paths', vm.UpdateVm, { vm: { vmId: id }, ...mask() }, 'update_mask'],
  ['a mask of an output-only field', vm.UpdateVm, { vm: { vmId: id }, ...mask('host_id') }, 'update_mask'],
  ['an etag of words', vm.UpdateVm, { vm: { vmId: id, etag: 'x' }, ...mask('description') }, 'vm.etag'],
  ['a patience of 3601 s', vm.StopVm, { vmId: id, timeoutSeconds: 3601 }, 'timeout_seconds'],
  ['a negative bandwidth', vm.MigrateVm, { vmId: id, bandwidth: '-1' }, 'bandwidth'],
  ['a ticket for a day', vm.CreateConsoleTicket, { vmId: id, validSeconds: 86400 }, 'valid_seconds'],
  ['a disk of no size', disk.CreateDisk, newDisk({ capacity: '0' }), 'disk.capacity'],
  ['a disk of negative size', disk.CreateDisk, newDisk({ capacity: '-5' }), 'disk.capacity'],
  ['a disk of 2^53+1 bytes', disk.CreateDisk, newDisk({ capacity: '9007199254740993' }), 'disk.capacity'],
  ['a disk of 65 TiB', disk.CreateDisk, newDisk({ capacity: String(65 * 2 ** 40) }), 'disk.capacity'],
  ['a disk of 1 MiB and a byte', disk.CreateDisk, newDisk({ capacity: '1048577' }), 'disk.capacity'],
  ['a VMDK disk', disk.CreateDisk, newDisk({ format: 'DISK_FORMAT_VMDK' }), 'disk.format'],
  [
    'a preallocated qcow2',
    disk.CreateDisk,
    newDisk({ allocation: 'ALLOCATION_POLICY_PREALLOCATED' }),
    'disk.allocation'
  ],
  ['a disk name with U+202E', disk.CreateDisk, newDisk({ name: 'a\u202Eb' }), 'disk.name'],
  ['a template of no disks', template.CreateTemplate, { template: { name: 'x' } }, 'template.disk_ids'],
  [
    'a template of a disk twice',
    template.CreateTemplate,
    { template: { name: 'x', diskIds: [id, id] } },
    'template.disk_ids'
  ],
  ['a snapshot without a name', snapshot.CreateSnapshot, { snapshot: { vmId: id } }, 'snapshot.name'],
  [
    'a storage domain nowhere',
    storageDomain.CreateStorageDomain,
    newDomain({ connection: null }),
    'storage_domain.connection'
  ],
  [
    'a path with ..',
    storageDomain.CreateStorageDomain,
    newDomain({ connection: { kind: 'posix', posix: { path: '/srv/../etc' } } }),
    'storage_domain.connection.posix.path'
  ],
  [
    'an NFS export with options',
    storageDomain.CreateStorageDomain,
    newDomain({ connection: { kind: 'nfs', nfs: { export: 'host:/a -o suid' } } }),
    'storage_domain.connection.nfs.export'
  ],
  [
    'NFS version 5',
    storageDomain.CreateStorageDomain,
    newDomain({ connection: { kind: 'nfs', nfs: { export: 'host:/a', version: '5' } } }),
    'storage_domain.connection.nfs.version'
  ],
  [
    'an I/O timeout of 41 s',
    storageDomain.CreateStorageDomain,
    newDomain({ ioTimeoutSeconds: 41 }),
    'storage_domain.io_timeout_seconds'
  ],
  [
    'a block size of 1024',
    storageDomain.CreateStorageDomain,
    newDomain({ blockSize: 1024 }),
    'storage_domain.block_size'
  ],
  ...[vm.ListVms, disk.ListDisks, template.ListTemplates, snapshot.ListSnapshots, job.ListJobs].flatMap(
    (list): Case[] => [
      ['page_size -1', list, { pageSize: -1 }, 'page_size'],
      ['a forged page token', list, { pageToken: 'AAAA' }, 'page_token'],
      ['a filter of nonsense', list, { filter: 'name =' }, 'filter'],
      ['an order by a secret', list, { orderBy: 'password' }, 'order_by']
    ]
  )
]

const mutations: unknown[] = [
  ...[vm.CreateVm, vm.UpdateVm, vm.DeleteVm, vm.StartVm, vm.StopVm, vm.RebootVm, vm.ResetVm, vm.PauseVm],
  ...[vm.ResumeVm, vm.MigrateVm, vm.AttachDisk, vm.DetachDisk, vm.CreateConsoleTicket],
  ...[disk.CreateDisk, disk.UpdateDisk, disk.ResizeDisk, disk.CopyDisk, disk.DeleteDisk],
  ...[template.CreateTemplate, template.UpdateTemplate, template.DeleteTemplate],
  ...[snapshot.CreateSnapshot, snapshot.DeleteSnapshot, job.CancelJob],
  ...[storageDomain.CreateStorageDomain, storageDomain.AdoptStorageDomain],
  ...[storageDomain.UpdateStorageDomain, storageDomain.ActivateStorageDomain],
  ...[storageDomain.DeactivateStorageDomain, storageDomain.DeleteStorageDomain]
]

const call = (world: CoordinatorWorld, method: unknown, request: object) =>
  world.local.call(method as AnyMethod, request as never, AbortSignal.timeout(5000))

const rows = (world: CoordinatorWorld) =>
  (['vm', 'disk', 'template', 'snapshot', 'storageDomain', 'job'] as const).map(
    table => world.read.all(sql.selectFrom(table).selectAll()).length
  )

t.test('what is wrong in itself is refused, named, and changes nothing', async t => {
  const world = await coordinatorWorld(t)
  const before = rows(world)
  for (const [what, method, request, field] of cases) {
    const name = (method as AnyMethod).path.split('/').at(-1)
    const error = await failure(call(world, method, { requestId: randomUUID(), ...request }))
    const { reason, violations = [] } = error as Fault
    t.equal(reason, 'INVALID_REQUEST', `${name} with ${what}`)
    const named = violations.map(violation => violation.field)
    t.ok(named.includes(field), `${name} with ${what} names ${field}: ${named.join(', ')}`)
  }
  t.strictSame(rows(world), before)
})

t.test('nothing is ordered without a request id', async t => {
  const world = await coordinatorWorld(t)
  for (const method of mutations) {
    const { path } = method as AnyMethod
    const { reason, violations } = (await failure(call(world, method, {}))) as Fault
    t.equal(reason, 'INVALID_REQUEST', path)
    t.ok(
      violations.some(({ field }) => field === 'request_id'),
      `${path} names request_id`
    )
  }
})

t.test('what does not exist is not found', async t => {
  const world = await coordinatorWorld(t)
  const absent: Array<[unknown, object]> = [
    [vm.GetVm, { vmId: id }],
    [vm.GetVm, { vmId: 'nobody' }],
    [vm.StartVm, { vmId: id }],
    [vm.ExplainVm, { vmId: id }],
    [vm.CreateVm, newVm({})],
    [disk.CreateDisk, newDisk({})],
    [disk.GetDisk, { diskId: id }],
    [template.CreateTemplate, { template: { name: 'x', diskIds: [id] } }],
    [snapshot.CreateSnapshot, { snapshot: { vmId: id, name: 'x' } }],
    [storageDomain.ActivateStorageDomain, { storageDomainId: id }],
    [job.GetJob, { jobId: id }],
    [job.CancelJob, { jobId: id }]
  ]
  for (const [method, request] of absent) {
    const error = (await failure(call(world, method, { requestId: randomUUID(), ...request }))) as Fault
    t.equal(error.status, 'NOT_FOUND', `${(method as AnyMethod).path}: ${error.message}`)
  }
})

t.test('a hundred times the same order at once is one job', async t => {
  const world = await coordinatorWorld(t)
  const request = { requestId: randomUUID(), vm: { name: 'one', clusterId: await world.createCluster() } }
  const answers = await Promise.all(many(100, () => ({})).map(() => world.call(vm.CreateVm, request)))
  t.equal(new Set(answers.map(({ jobId }) => jobId)).size, 1)
  t.equal((await world.call(vm.ListVms, {})).vms.length, 1)
})

t.test('A67 a MAC address that another VM has is refused, and names it', async t => {
  const world = await coordinatorWorld(t)
  const more = { clusterId: await world.createCluster(), nics: [{ mac: '52:54:00:12:34:56' }] }
  await world.mutate(vm.CreateVm, { vm: { name: 'first', ...more } })
  const error = (await failure(world.mutate(vm.CreateVm, { vm: { name: 'second', ...more } }))) as Fault
  t.equal(error.status, 'ALREADY_EXISTS', error.message)
  t.match(error.message, '52:54:00:12:34:56')
  t.equal((await world.call(vm.ListVms, {})).vms.length, 1)
})
