import { Client, credentials, Metadata, status } from '@grpc/grpc-js'
import { randomUUID } from 'node:crypto'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { identityUri } from '../../../common/identity.js'
import { agentServices } from '../../../proto/load.js'
import { authority } from '../../fakes/authority.js'
import { AgentClient, Refused } from './client.js'
import { cluster, stamped } from './cluster.js'
import { diskless } from './world.js'

// Rows of table A, and others of their kind, over real gRPC: the answer comes within a second, names the field,
// and nothing has changed.

const house = await cluster(1)
t.teardown(() => house[Symbol.asyncDispose]())
const [{ world, coordinator, address, hostId } = t.fail() as never] = house.hosts

const start = (spec: object, more: object = {}) =>
  coordinator.mutate('vm', 'StartVm', stamped({ vmGeneration: '1', spec, ...more }))

async function refused(work: Promise<unknown>): Promise<Refused> {
  const began = performance.now()
  const error = await work.then(
    () => null,
    (failure: unknown) => failure
  )
  t.ok(performance.now() - began < 5000, 'it was answered soon')
  if (!(error instanceof Refused)) throw new Error('it was not refused', { cause: error })
  t.notMatch(error.message, /\/tmp\/|node:|at .*\.js/, 'no path and no stack')
  return error
}

const id = randomUUID()
const disk = {
  diskId: randomUUID(),
  storageDomainId: randomUUID(),
  imageId: randomUUID(),
  volumeId: randomUUID(),
  slot: 1
}
const nic = { mac: '52:54:00:00:00:01', bridge: '', slot: 2 }

const badSpecs: Array<[why: string, spec: object, field: string]> = [
  ['A3 a name with invalid UTF-8', diskless(id, { name: 'a\ufffdb' }), 'spec.name'],
  ['A9 an empty id', diskless(''), 'spec.vm_id'],
  ['A11 an id that is a path', diskless('../../etc/passwd'), 'spec.vm_id'],
  ['A11 an id with NUL', diskless(`${id}\0`), 'spec.vm_id'],
  ['an id in capitals', diskless(id.toUpperCase()), 'spec.vm_id'],
  ['A15 memory of 2^53 + 1', diskless(id, { memoryBytes: '9007199254740993' }), 'spec.memory_bytes'],
  ['memory of an odd size', diskless(id, { memoryBytes: String(2 ** 26 + 1) }), 'spec.memory_bytes'],
  ['memory of nothing', diskless(id, { memoryBytes: '0' }), 'spec.memory_bytes'],
  ['A17 no CPUs', diskless(id, { vcpus: 0 }), 'spec.vcpus'],
  ['A17 100000 CPUs', diskless(id, { vcpus: 100_000 }), 'spec.vcpus'],
  ['A19 10,000 disks', diskless(id, { disks: Array(1500).fill({}) }), 'spec.disks'],
  ['A21 a newline in a name', diskless(id, { name: 'a\nb' }), 'spec.name'],
  ['A21 U+FFFE in a name', diskless(id, { name: 'a\ufffe' }), 'spec.name'],
  ['A21 a right-to-left override in a name', diskless(id, { name: 'a\u202eb' }), 'spec.name'],
  [
    'A63 a machine type that is an option',
    diskless(id, { machineType: 'pc-q35-7.2,accel=kvm' }),
    'spec.machine_type'
  ],
  ['A63 a CPU model that is an option', diskless(id, { cpuModel: 'host,+vmx' }), 'spec.cpu_model'],
  [
    'A65 a bridge name of 16 characters',
    diskless(id, { nics: [{ ...nic, bridge: 'b'.repeat(16) }] }),
    'spec.nics[0].bridge'
  ],
  [
    'A65 a bridge name with a command',
    diskless(id, { nics: [{ ...nic, bridge: 'br0;x' }] }),
    'spec.nics[0].bridge'
  ],
  ['A67 a multicast MAC', diskless(id, { nics: [{ ...nic, mac: '01:00:5e:00:00:01' }] }), 'spec.nics[0].mac'],
  ['A67 a MAC of zeros', diskless(id, { nics: [{ ...nic, mac: '00:00:00:00:00:00' }] }), 'spec.nics[0].mac'],
  ['two nics with one MAC', diskless(id, { nics: [nic, { ...nic, slot: 3 }] }), 'spec.nics'],
  ['two devices in one slot', diskless(id, { disks: [disk], nics: [{ ...nic, slot: 1 }] }), 'spec.disks'],
  ['a slot beyond the last', diskless(id, { disks: [{ ...disk, slot: 29 }] }), 'spec.disks[0].slot'],
  ['a disk twice', diskless(id, { disks: [disk, { ...disk, slot: 2 }] }), 'spec.disks'],
  ['a bus of the future', diskless(id, { disks: [{ ...disk, bus: 99 }] }), 'spec.disks[0].bus'],
  [
    'a lease over the lockspace',
    diskless(id, { lease: { storageDomainId: id, offsetBytes: '0' } }),
    'spec.lease.offset_bytes'
  ]
]
for (const [why, spec, field] of badSpecs) {
  t.test(`${why} is refused, by field`, async t => {
    const error = await refused(start(spec))
    t.equal(error.code, status.INVALID_ARGUMENT)
    t.ok(error.fields.includes(field), `${field} among ${error.fields.join(' ')}`)
  })
}

t.test('everything that is wrong is said at once', async t => {
  const { fields } = await refused(start(diskless('x', { vcpus: 0, name: '' })))
  t.strictSame(fields.toSorted(), ['spec.name', 'spec.vcpus', 'spec.vm_id'])
})

t.test('A31 a mutation without request id is refused', async t => {
  const { code, fields } = await refused(coordinator.call('vm', 'DestroyVm', stamped({ vmId: id })))
  t.strictSame([code, fields], [status.INVALID_ARGUMENT, ['request_id']])
})

t.test('A5 an action that is not said is refused', async t => {
  const { code, fields } = await refused(
    coordinator.mutate('host', 'RunFenceAgent', stamped({ fenceAgent: 'fence_ipmilan' }))
  )
  t.strictSame([code, fields], [status.INVALID_ARGUMENT, ['action']])
})

t.test('a fence agent that is a path, and one that is not here', async t => {
  const fence = (fenceAgent: string) =>
    coordinator.mutate('host', 'RunFenceAgent', stamped({ fenceAgent, action: 'FENCE_ACTION_STATUS' }))
  t.equal((await refused(fence('../bin/sh'))).code, status.INVALID_ARGUMENT)
  t.equal((await refused(fence('fence_nothing'))).code, status.NOT_FOUND)
})

t.test('A43 a stale epoch, a stale generation, an epoch out of reach', async t => {
  for (const tokens of [
    { coordinatorEpoch: '0' },
    { hostGeneration: '0' },
    { coordinatorEpoch: '2000000' }
  ]) {
    t.equal((await refused(start(diskless(id), tokens))).code, status.ABORTED)
  }
})

t.test('A29 one request a hundred times at once has one effect', async t => {
  const vmId = randomUUID()
  const request = stamped({ requestId: randomUUID(), vmGeneration: '1', spec: diskless(vmId) })
  const tasks = await Promise.all(
    Array.from({ length: 60 }, () => coordinator.call('vm', 'StartVm', request))
  )
  t.equal(new Set(tasks.map(task => task['taskId'])).size, 1)
  await coordinator.task('vm', 'StartVm', request)
  t.equal((await world.libvirtd.pids('qemu-system-x86')).length, 1)
  const other = stamped({ ...request, spec: diskless(vmId, { vcpus: 2 }) })
  t.equal((await refused(coordinator.call('vm', 'StartVm', other))).reason, 'REQUEST_ID_REUSED')

  await t.test('A59 it cannot migrate to its own host, nor to one that nobody knows', async t => {
    const migrate = (destinationHostId: string) =>
      coordinator.task(
        'vm',
        'MigrateVm',
        stamped({ vmId, vmGeneration: '1', destinationHostId, migrationAddress: 'h:1' })
      )
    const own = await refused(migrate(hostId))
    t.strictSame([own.code, own.fields], [status.INVALID_ARGUMENT, ['destination_host_id']])
    t.equal((await refused(migrate(randomUUID()))).code, status.NOT_FOUND)
  })

  await t.test('a command for another life of it is refused', async t => {
    t.equal(
      (await refused(coordinator.mutate('vm', 'DestroyVm', stamped({ vmId, vmGeneration: '9' })))).code,
      status.ABORTED
    )
    t.equal((await refused(start(diskless(vmId), { vmGeneration: '0' }))).code, status.ABORTED)
    t.equal((await refused(start(diskless(vmId), { vmGeneration: '2' }))).code, status.FAILED_PRECONDITION)
  })
  await coordinator.task('vm', 'DestroyVm', stamped({ vmId }))
})

t.test(
  'A59 a CPU that the host cannot run, or that nobody knows, is refused, and leaves nothing',
  async t => {
    const { capabilities } = await coordinator.call('host', 'GetHost')
    // No machine is of both makers.
    const foreign = ['Skylake-Server', 'EPYC-Milan'].filter(it => !capabilities.usableCpuModels.includes(it))
    t.ok(foreign.length > 0)
    for (const cpuModel of [...foreign, 'NoSuchCpu']) {
      const spec = diskless(randomUUID(), { cpuModel })
      const error = await refused(coordinator.task('vm', 'StartVm', stamped({ vmGeneration: '1', spec })))
      t.match(error, { code: status.FAILED_PRECONDITION, reason: 'WRONG_STATE' })
      t.ok(error.message.includes(`cannot run CPU model ${cpuModel}; it can run`), error.message)
      await coordinator.task('vm', 'DestroyVm', stamped({ vmId: spec.vmId }))
    }
  }
)

t.test('what is not here is not found, and is destroyed already', async t => {
  t.equal((await refused(coordinator.call('vm', 'GetVm', { vmId: id }))).code, status.NOT_FOUND)
  t.equal((await refused(coordinator.mutate('vm', 'PauseVm', stamped({ vmId: id })))).code, status.NOT_FOUND)
  t.match(await coordinator.task('vm', 'DestroyVm', stamped({ vmId: id })), { state: 'TASK_STATE_SUCCEEDED' })
})

t.test('a console of nothing, an open that is no open, a page of another list', async t => {
  const consoleOf = (message: object) =>
    new Promise((resolve, reject) => {
      const call = coordinator.bidi('vm', 'OpenConsole')
      call.on('data', resolve)
      call.on('error', error => reject(new Refused(error as never)))
      call.write(message)
    })
  t.equal((await refused(consoleOf({ open: { vmId: id } }))).code, status.NOT_FOUND)
  t.equal((await refused(consoleOf({ data: Buffer.from('x') }))).code, status.INVALID_ARGUMENT)
  t.equal((await refused(coordinator.call('vm', 'ListVms', { pageToken: id }))).code, status.INVALID_ARGUMENT)
  t.equal((await refused(coordinator.call('vm', 'ListVms', { pageSize: -1 }))).code, status.INVALID_ARGUMENT)
})

t.test('A1 garbage, and A7 five megabytes, hurt nobody', async t => {
  const raw = new Client(`unix:${world.root}/run/agent.sock`, credentials.createInsecure())
  const { path } = agentServices.vm.StartVm
  const send = (bytes: Buffer) =>
    new Promise<number>(resolve => {
      raw.makeUnaryRequest(
        path,
        (bytes: Buffer) => bytes,
        (bytes: Buffer) => bytes,
        bytes,
        new Metadata(),
        error => resolve(error?.code ?? 0)
      )
    })
  t.equal(await send(Buffer.from('ffffffffffffffff', 'hex')), status.INTERNAL)
  t.equal(await send(Buffer.alloc(5 * 2 ** 20)), status.RESOURCE_EXHAUSTED)
  raw.close()
  t.equal((await coordinator.call('host', 'GetHost'))['hostId'], hostId)
})

async function asHolder(
  uris: string[],
  { from = house.root, ...life }: { from?: typeof house.root; notBefore?: Date; notAfter?: Date } = {}
) {
  const own = await from.issue({ uris, ...life })
  const secure = credentials.createSsl(
    Buffer.from(house.root.trust),
    Buffer.from(own.key),
    Buffer.from(own.certificate),
    {
      checkServerIdentity: () => undefined
    }
  )
  const client = new AgentClient(address, secure)
  const error = await client.call('host', 'GetHost', {}, 5).then(
    () => null,
    (failure: Refused) => failure
  )
  client.close()
  return error?.code ?? status.OK
}
// TLS refuses, or the agent does: what a client makes of that is one of these.
const noWay = new Set<number>([status.UNAVAILABLE, status.UNAUTHENTICATED])
const named = (role: 'COORDINATOR' | 'HOST' | 'ADMIN', installation = house.installation) =>
  identityUri(installation, role, role === 'ADMIN' ? 'eve' : randomUUID())

t.test('A69 no certificate, one of its own making, or one that is not valid yet opens nothing', async t => {
  const trust = Buffer.from(house.root.trust)
  const anyServer = { checkServerIdentity: () => undefined }
  const code = async (key: Buffer | null, certificate: Buffer | null) => {
    const client = new AgentClient(address, credentials.createSsl(trust, key, certificate, anyServer))
    const { code } = await refused(client.call('host', 'GetHost', {}, 5))
    client.close()
    return code
  }
  t.ok(noWay.has(await code(null, null)))
  const [key, certificate] = [join(world.root, 'self.key'), join(world.root, 'self.pem')]
  const made = [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-keyout',
    key
  ]
  const name = ['-subj', '/CN=self', '-addext', `subjectAltName=URI:${named('COORDINATOR')}`]
  await promisify(execFile)('openssl', [...made, '-out', certificate, '-days', '1', ...name])
  t.ok(noWay.has(await code(await readFile(key), await readFile(certificate))))
  const [notBefore, notAfter] = [new Date(Date.now() + 86_400_000), new Date(Date.now() + 9e8)]
  t.ok(noWay.has(await asHolder([named('COORDINATOR')], { notBefore, notAfter })))
})

t.test('A69, A71 certificates of others, of the past, or with other names open nothing', async t => {
  t.equal(await asHolder([named('COORDINATOR')]), status.OK)
  t.equal(await asHolder([named('HOST')]), status.PERMISSION_DENIED)
  t.equal(await asHolder([named('ADMIN')]), status.PERMISSION_DENIED)
  t.equal(await asHolder([named('COORDINATOR', randomUUID())]), status.UNAUTHENTICATED)
  t.equal(await asHolder([named('COORDINATOR'), named('HOST')]), status.UNAUTHENTICATED)
  t.equal(await asHolder([]), status.UNAUTHENTICATED)
  t.equal(
    await asHolder([named('COORDINATOR')], { from: await authority('foreign') }),
    status.UNAUTHENTICATED
  )
  t.equal(
    await asHolder([named('COORDINATOR')], { notAfter: new Date(Date.now() - 1000) }),
    status.UNAUTHENTICATED
  )
})

t.test('after all that nothing runs here', async t => {
  t.equal((await coordinator.call('vm', 'ListVms'))['vms'].length, 0)
  t.equal((await world.libvirtd.pids('qemu-system-x86')).length, 0)
})
