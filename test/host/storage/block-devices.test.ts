import t, { type Test } from 'tap'
import { MiB } from '../../../common/units.js'
import { hasDeviceMapper } from '../../../storage/activator.js'
import { ids, never, run } from '../../storage/crash/world.js'
import {
  type BlockWorld,
  newBlockStorageDomain,
  newBlockWorld,
  removeBlockWorld,
  skipped
} from './block-world.js'

// Devices come and go, on real LVM. Data moves only where the kernel has device-mapper: test/lab/vm does it there.

const GiB = 2 ** 30
const volume = {
  ...{ imageId: ids.image, volumeId: ids.base, parent: null, capacity: MiB(512), format: 'raw' as const },
  ...{ allocation: 'preallocated' as const, diskContent: 'DATA', description: '', legal: true }
}

/** A storage domain on the first of two devices. */
async function onFirst(t: Test): Promise<BlockWorld & { first: string; second: string }> {
  const world = await newBlockWorld([12 * GiB, 12 * GiB])
  t.teardown(() => removeBlockWorld(world))
  const [first = '', second = ''] = world.devices
  await world.ask.createBlockStorageDomain({ ...newBlockStorageDomain(world), devices: [first] }, never)
  return { ...world, first, second }
}

t.test('a plan names each change and changes nothing', { skip: skipped }, async t => {
  const { ask, first, second, group } = await onFirst(t)
  await ask.useDevices({ devices: [first, second] }, never)
  const { seqno } = await group()
  const adding = await ask.planDevice({ device: second, change: 'add' }, never)
  t.equal(adding.changes.length, 3)
  t.equal(adding.obstacle, null)
  t.match(await ask.planDevice({ device: first, change: 'remove' }, never), { obstacle: /only device/ })
  t.strictSame((await ask.planDevice({ device: first, change: 'resize' }, never)).changes, [])
  t.match(await ask.planDevice({ device: second, change: 'remove' }, never), { obstacle: /none of/ })
  t.match(await ask.planDevice({ device: '/dev/not-there', change: 'add' }, never).catch(String), /not there/)
  t.equal((await group()).seqno, seqno)
  t.equal(await run('wipefs', '--no-act', second), '')
})

t.test('a device that holds a file system is refused and left as it was', { skip: skipped }, async t => {
  const { ask, first, second, group } = await onFirst(t)
  await run('mkfs.ext4', '-q', second)
  await ask.useDevices({ devices: [first, second] }, never)
  t.match(await ask.planDevice({ device: second, change: 'add' }, never), { obstacle: /holds ext4/ })
  await t.rejects(ask.addDevice({ device: second }, never), /holds ext4/)
  t.equal((await group()).reading.group.pvs.length, 1)
  t.match(await run('blkid', second), /ext4/)
})

t.test('what lies on a device moves away with it, where the kernel can', { skip: skipped }, async t => {
  const { ask, first, second, group } = await onFirst(t)
  await ask.addDevice({ device: second }, never)
  t.match(await ask.planDevice({ device: first, change: 'remove' }, never), { obstacle: /LVM's metadata/ })
  // The first device is full, so the last volume lies on the second.
  await ask.createVolume(
    { ...volume, imageId: ids.otherImage, volumeId: ids.leaf, capacity: MiB(7296) },
    never
  )
  await ask.createVolume(volume, never)
  const [leaf] = await ask.prepare(volume, never)
  await run('qemu-io', '-f', 'raw', '-c', 'write -P 77 1M 1M', leaf?.path ?? '')
  await ask.tearDown(volume, never)
  await ask.removeImage({ imageId: ids.otherImage, wipe: false }, never)

  const plan = await ask.planDevice({ device: second, change: 'remove' }, never)
  if (!(await hasDeviceMapper())) {
    t.match(plan, { obstacle: /takes device-mapper/ })
    await t.rejects(ask.removeDevice({ device: second }, never), /takes device-mapper/)
    t.equal((await group()).reading.group.pvs.length, 2)
    return
  }
  t.strictSame(plan, { changes: plan.changes, obstacle: null, moved: MiB(512) })
  await ask.removeDevice({ device: second }, never)
  t.equal((await group()).reading.group.pvs.length, 1)
  const [moved] = await ask.prepare(volume, never)
  t.notMatch(await run('qemu-io', '-f', 'raw', '-c', 'read -P 77 1M 1M', moved?.path ?? ''), /failed/)
  await ask.tearDown(volume, never)
  t.strictSame(await ask.audit({ intents: [] }, never), [])
})

t.test('while a move is half done nothing else changes and no volume is used', { skip: skipped }, async t => {
  const { ask, first, second, group, restarted } = await onFirst(t)
  await ask.addDevice({ device: second }, never)
  await ask.createVolume(
    { ...volume, imageId: ids.otherImage, volumeId: ids.leaf, capacity: MiB(7296) },
    never
  )
  await ask.createVolume(volume, never)
  await ask.removeImage({ imageId: ids.otherImage, wipe: false }, never)
  const before = await group()
  // LVM begins a move in its metadata without the kernel, and goes no further.
  const lvm = ['pvmove', '--driverloaded', 'n', '--devices', `${first},${second}`, '-b']
  await run('lvm', ...lvm, '--config', 'global { use_lvmpolld=0 }', second)
  const half = await group()
  t.ok(half.isMoving)
  t.equal(half.freeExtents, before.freeExtents - 4, 'both places are taken')
  t.strictSame([...half.volumes.keys()], [...before.volumes.keys()], "LVM's own volume is none of ours")

  const again = restarted().ask
  t.strictSame((await again.listVolumes({ imageId: ids.image }, never)).length, 1)
  const refused = /taken out/
  await t.rejects(again.prepare(volume, never), refused)
  await t.rejects(
    again.createVolume({ ...volume, imageId: ids.otherImage, volumeId: ids.leaf }, never),
    refused
  )
  t.match(await again.audit({ intents: [] }, never), [
    { text: /half taken out/ },
    { text: /cannot be looked into/ }
  ])
})
