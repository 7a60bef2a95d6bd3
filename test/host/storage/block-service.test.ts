import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readdir, readFile, rm } from 'node:fs/promises'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { Fault } from '../../../common/fault.js'
import { agentServices } from '../../../proto/load.js'
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

t.test(
  'an upload becomes a volume no larger than it needs, and leaves nothing',
  { skip: skipped },
  async t => {
    const { call, mutate, client, device, root, parts } = await withDevice(t)
    const domain = { storageDomainId: onBlock }
    const connection = { block: { devices: [device] } }
    const rest = { description: 'block', dataCenterId: ids.dataCenter, ioTimeoutSeconds: 1 }
    await mutate('CreateStorageDomain', { ...domain, connection, ...rest })
    t.teardown(() => mutate('DeactivateStorageDomain', domain).catch(() => {}))
    await mutate('ActivateStorageDomain', { ...domain, sanlockHostId: 1 })

    const file = `${root}/import/big.qcow2`
    await execute('qemu-img', ['create', '-q', '-f', 'qcow2', file, '40G'])
    await execute('qemu-io', ['-f', 'qcow2', '-c', 'write -P 9 39G 1M', file])
    const content = await readFile(file)
    const never = new AbortController().signal
    async function* sent(open: object, bytes: Buffer) {
      yield { open }
      for (let at = 0; at < bytes.length; at += 1 << 17) yield { data: bytes.subarray(at, at + (1 << 17)) }
    }
    const waiting = async () =>
      (await readdir(`${root}/state/uploads/${onBlock}`)).filter(name => name !== '.')
    const upload = async (size: number, bytes: Buffer) => {
      const open = { uploadId: randomUUID(), ...domain, size: String(size) }
      await client.upload(agentServices.storage.UploadImage, sent(open, bytes), never)
      return open.uploadId
    }
    for (const format of ['DISK_FORMAT_QCOW2', 'DISK_FORMAT_RAW'] as const) {
      const small = `${root}/import/small.qcow2`
      await execute('qemu-img', ['create', '-q', '-f', 'qcow2', small, '200M'])
      await execute('qemu-io', ['-f', 'qcow2', '-c', 'write -P 9 100M 1M', small])
      const isThin = format === 'DISK_FORMAT_QCOW2'
      const bytes = isThin ? content : await readFile(small)
      const source = await upload(bytes.length, bytes)
      t.equal((await waiting()).length, 1)
      const place = { imageId: randomUUID(), volumeId: randomUUID() }
      await mutate('ImportImage', { ...domain, ...place, format, source, sourceFormat: 'DISK_FORMAT_QCOW2' })
      t.strictSame(await waiting(), [], 'it waits no more')
      const { volumes = [] } = await call('ListVolumes', { ...domain, imageId: place.imageId })
      const allocated = Number(volumes[0]?.allocatedBytes)
      t.ok(allocated < (isThin ? 4 : 0.3) * 2 ** 30, `${allocated} bytes are taken`)
      const [leaf] = await parts.storage.prepare(onBlock, place, never)
      const at = isThin ? '39G' : '100M'
      const read = await execute('qemu-io', [
        '-f',
        isThin ? 'qcow2' : 'raw',
        '-c',
        `read -P 9 ${at} 1M`,
        leaf?.path ?? ''
      ])
      t.notMatch(read.stdout, /failed/, "the guest's bytes have come")
      await parts.storage.tearDown(onBlock, place.imageId, never)
    }

    await t.rejects(upload(content.length, content.subarray(0, 1000)), /announced/)
    t.strictSame(await waiting(), [], 'what was cut short is gone')
    const tooMuch = await upload(2 ** 52, content).catch((error: unknown) => error)
    t.ok(Fault.is(tooMuch, 'INVALID_REQUEST') || Fault.is(tooMuch, 'NO_SPACE'))
    const wrong = await upload(content.length, content)
    const place = { imageId: randomUUID(), volumeId: randomUUID(), format: 'DISK_FORMAT_RAW' }
    const declared = { source: wrong, sourceFormat: 'DISK_FORMAT_RAW' }
    await t.rejects(mutate('ImportImage', { ...domain, ...place, ...declared }), /declared raw/)
    t.strictSame(await waiting(), [], 'what nobody can import any more is gone at once')
    t.strictSame((await call('ListVolumes', { ...domain, imageId: place.imageId })).volumes, [])
    t.match(await call('AuditStorageDomain', domain), { findings: [] })
  }
)
