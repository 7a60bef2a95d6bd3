import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { promisify } from 'node:util'
import { join } from 'node:path'
import t from 'tap'
import type { Answer } from './client.js'
import { storageDomain } from './storage.js'
import { AgentWorld, diskless } from './world.js'

// What can be done to a disk, through a real agent, with QEMU opening the result each time.

t.setTimeout(280_000)

const execute = promisify(execFile)
const MiB = (count: number) => String(count * 2 ** 20)
const world = await AgentWorld.start({ allowed_directories: ['/tmp'] })
t.teardown(() => world[Symbol.asyncDispose]())
const shared = join(world.root, 'shared')
const { storageDomainId, disk } = await storageDomain(world)
type Place = { imageId: string; volumeId: string }
const place = (): Place => ({ imageId: randomUUID(), volumeId: randomUUID() })
const first: Place = { imageId: disk.imageId, volumeId: disk.volumeId }

async function done(
  own: AgentWorld,
  service: 'storage' | 'vm',
  method: string,
  request: object
): Promise<Answer> {
  const task = await own.client.task(service, method, request)
  t.equal(task['state'], 'TASK_STATE_SUCCEEDED', method)
  return task
}
const store = (method: string, request: object, own = world) =>
  done(own, 'storage', method, { storageDomainId, ...request })

/** QEMU runs with the disk, and the guest could read what is in it. */
async function runs({ imageId, volumeId }: Place, own = world): Promise<void> {
  const vmDisk = { diskId: randomUUID(), storageDomainId, imageId, volumeId, slot: 1 }
  const spec = diskless(randomUUID(), { disks: [vmDisk] })
  await done(own, 'vm', 'StartVm', { vmGeneration: '1', spec })
  t.match(await own.vm(spec.vmId), { status: /POWERING_UP|UP$/, failure: null })
  t.equal((await own.libvirtd.pids('qemu-system-x86')).length, 1)
  await done(own, 'vm', 'DestroyVm', { vmId: spec.vmId })
}

const path = ({ imageId, volumeId }: Place) => join(shared, storageDomainId, 'images', imageId, volumeId)
const io = async (of: Place, ...commands: string[]) => {
  const { stdout } = await execute('qemu-io', [
    '-f',
    'qcow2',
    ...commands.flatMap(each => ['-c', each]),
    path(of)
  ])
  return stdout
}
const holds = async (of: Place, byte: number, at = 0) =>
  /Pattern verification failed/.test(await io(of, `read -P ${byte} ${at} 4096`)) === false

const snapshot: Place = { imageId: first.imageId, volumeId: randomUUID() }
const copy = place()
const child = place()

t.test('a snapshot keeps what was, and the VM goes on above it', async t => {
  await io(first, 'write -P 1 0 4096')
  await store('CreateVolume', {
    ...{ ...snapshot, parentId: first.volumeId, capacity: MiB(16), format: 'DISK_FORMAT_QCOW2' }
  })
  await io(snapshot, 'write -P 2 4096 4096')
  t.ok((await holds(snapshot, 1)) && (await holds(snapshot, 2, 4096)) && (await holds(first, 0, 4096)))
  await runs(snapshot)
})

t.test('a disk grows, and keeps what it holds', async t => {
  await store('ResizeVolume', { ...snapshot, capacity: MiB(64) })
  t.ok((await holds(snapshot, 1)) && (await holds(snapshot, 0, 60 * 2 ** 20)))
  await runs(snapshot)
})

t.test('a copy holds what the chain held, and is a disk of its own', async t => {
  await store('CopyImage', {
    ...{ ...copy, format: 'DISK_FORMAT_QCOW2', sourceStorageDomainId: storageDomainId },
    ...{ sourceImageId: snapshot.imageId, sourceVolumeId: snapshot.volumeId }
  })
  await io(snapshot, 'write -P 3 0 4096')
  t.ok((await holds(copy, 1)) && (await holds(copy, 2, 4096)))
  await runs(copy)
})

t.test('a template is the base of many, and is never written', async t => {
  await store('ShareVolume', copy)
  await store('CreateVolume', {
    ...{ ...child, parentId: copy.volumeId, parentImageId: copy.imageId, capacity: MiB(64) },
    format: 'DISK_FORMAT_QCOW2'
  })
  await io(child, 'write -P 4 0 4096')
  t.ok((await holds(copy, 1)) && (await holds(child, 4)) && (await holds(child, 2, 4096)))
  await runs(child)
})

t.test('a merged chain is one volume with all that was in it', async t => {
  await store('MergeVolumes', {
    ...{ imageId: first.imageId, topVolumeId: snapshot.volumeId, baseVolumeId: first.volumeId }
  })
  t.ok((await holds(first, 3)) && (await holds(first, 2, 4096)))
  const { volumes } = await world.client.call('storage', 'ListVolumes', {
    storageDomainId,
    imageId: first.imageId
  })
  t.equal(volumes.length, 1)
  await runs(first)
})

t.test('another host finds the storage domain, takes it as it is, and runs what is in it', async t => {
  await store('DeactivateStorageDomain', {})
  await store('DisconnectStorageDomain', {})
  const other = await AgentWorld.start({ allowed_directories: ['/tmp'] })
  t.teardown(() => other[Symbol.asyncDispose]())
  const connection = { posix: { path: shared } }
  const { storageDomains } = await other.client.call('storage', 'DiscoverStorageDomains', { connection })
  t.match(storageDomains, [
    { storageDomainId, metadata: { description: 'test', version: 5, type: 'POSIXFS' } }
  ])
  await store('ConnectStorageDomain', { connection }, other)
  await store('ActivateStorageDomain', { sanlockHostId: 2 }, other)
  await runs(child, other)
  const { findings } = await other.client.call('storage', 'AuditStorageDomain', { storageDomainId })
  t.strictSame(findings, [])
  await store('DeactivateStorageDomain', {}, other)
})
