import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { skipped, newDevice } from './block-world.js'
import { ids, serviceWorld } from './service-world.js'

// A block storage domain through an agent's API: created on devices, used beside one of files.

const execute = promisify(execFile)
const MiB = (n: number) => String(n * 2 ** 20)
const onBlock = '6e2d3c1a-0b7f-4c55-9a53-1f2e3d4c5b80'

async function withDevice(t: Test) {
  const world = await serviceWorld(t)
  const onDevice = async () => {
    const device = await newDevice('/dev/shm', `drover-${randomUUID()}.img`, 12 * 2 ** 30)
    const { stdout } = await execute('losetup', ['--noheadings', '--output', 'BACK-FILE', device])
    t.teardown(async () => {
      await execute('losetup', ['--detach', device])
      await rm(stdout.trim(), { force: true })
    })
    return device
  }
  return { ...world, device: await onDevice(), onDevice }
}

t.test('a disk moves from files to block storage and back', { skip: skipped, timeout: 180_000 }, async t => {
  const { call, mutate, withStorageDomain, device, parts } = await withDevice(t)
  await withStorageDomain()
  const domain = { storageDomainId: onBlock }
  const connection = { block: { devices: [device] } }
  const rest = { description: 'block', dataCenterId: ids.dataCenter, ioTimeoutSeconds: 1 }
  await mutate('CreateStorageDomain', { ...domain, connection, ...rest })
  t.teardown(() => mutate('DeactivateStorageDomain', domain).catch(() => {}))
  const found = await call('DiscoverStorageDomains', { connection })
  t.match(found.storageDomains, [{ storageDomainId: onBlock, metadata: { version: 5, type: 'FCP' } }])
  await mutate('ActivateStorageDomain', { ...domain, sanlockHostId: 1 })

  const disk = { imageId: randomUUID(), volumeId: randomUUID() }
  await mutate('CreateVolume', { ...disk, capacity: MiB(8), format: 'DISK_FORMAT_QCOW2' })
  const never = new AbortController().signal
  const [onFile] = await parts.storage.prepare(ids.storageDomain, disk, never)
  await execute('qemu-io', ['-f', 'qcow2', '-c', 'write -P 9 1M 1M', onFile?.path ?? ''])
  await parts.storage.tearDown(ids.storageDomain, disk.imageId, never)

  const copyOf = (from: string, source: typeof disk) => ({
    sourceStorageDomainId: from,
    sourceImageId: source.imageId,
    sourceVolumeId: source.volumeId
  })
  const there = { imageId: randomUUID(), volumeId: randomUUID(), format: 'DISK_FORMAT_QCOW2' }
  await mutate('CopyImage', { ...domain, ...copyOf(ids.storageDomain, disk), ...there })
  const [onDevice] = await parts.storage.prepare(onBlock, there, never)
  t.equal(onDevice?.kind, 'block')
  const { stdout } = await execute('qemu-io', ['-f', 'qcow2', '-c', 'read -P 9 1M 1M', onDevice?.path ?? ''])
  t.notMatch(stdout, /failed/, "the guest's bytes have come")
  await parts.storage.tearDown(onBlock, there.imageId, never)

  const back = { imageId: randomUUID(), volumeId: randomUUID(), format: 'DISK_FORMAT_RAW' }
  await mutate('CopyImage', { ...copyOf(onBlock, there), ...back })
  const [again] = await parts.storage.prepare(ids.storageDomain, back, never)
  const read = await execute('qemu-io', ['-f', 'raw', '-c', 'read -P 9 1M 1M', again?.path ?? ''])
  t.notMatch(read.stdout, /failed/)
  await mutate('RemoveImage', { ...domain, imageId: there.imageId, wipe: true })
  await mutate('DeactivateStorageDomain', domain)
  await mutate('DetachStorageDomain', domain)
  await mutate('FormatStorageDomain', domain)
  t.strictSame((await call('DiscoverStorageDomains', { connection })).storageDomains, [])
})

t.test('a device comes and goes while the storage domain is in use', { skip: skipped }, async t => {
  const { call, mutate, device, onDevice } = await withDevice(t)
  const second = await onDevice()
  const domain = { storageDomainId: onBlock }
  const reached = (...devices: string[]) => ({ ...domain, connection: { block: { devices } } })
  const rest = { description: 'block', dataCenterId: ids.dataCenter, ioTimeoutSeconds: 1 }
  await mutate('CreateStorageDomain', { ...reached(device), ...rest })
  t.teardown(() => mutate('DeactivateStorageDomain', domain).catch(() => {}))
  await mutate('ActivateStorageDomain', { ...domain, sanlockHostId: 1 })

  const adding = { ...domain, device: second, change: 'DEVICE_CHANGE_ADD' }
  t.match(await call('PlanDevice', adding), { changes: { length: 3 }, obstacle: '' })
  await t.rejects(mutate('ChangeDevice', adding), /none of the devices/)
  await mutate('ConnectStorageDomain', reached(device, second))
  await mutate('ChangeDevice', adding)
  t.match(await call('PlanDevice', { ...adding, device: '/etc/passwd' }).catch(String), /below \/dev/)
  t.strictSame((await call('PlanDevice', adding)).changes, [], 'it is there')

  const removing = { ...domain, device: second, change: 'DEVICE_CHANGE_REMOVE' }
  t.match(await call('PlanDevice', removing), { movedBytes: '0', obstacle: '' })
  await mutate('ChangeDevice', removing)
  await mutate('ConnectStorageDomain', reached(device))
  t.match(await call('AuditStorageDomain', domain), { findings: [] })
  t.match(await call('GetStorageDomain', domain), {
    connection: { block: { devices: [device] } },
    // A handful of volumes in 128 MiB.
    metadataPercent: 1
  })
})

t.test('a device that holds something else is refused and left as it was', { skip: skipped }, async t => {
  const { mutate, device } = await withDevice(t)
  await execute('mkfs.ext4', ['-q', device])
  const connection = { block: { devices: [device] } }
  const request = { storageDomainId: onBlock, connection, description: 'x', ioTimeoutSeconds: 1 }
  await t.rejects(mutate('CreateStorageDomain', request), /already holds ext4/)
  const { stdout } = await execute('blkid', ['-o', 'value', '-s', 'TYPE', device])
  t.equal(stdout.trim(), 'ext4')
})
