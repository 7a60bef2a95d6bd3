import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { Fault } from '../../../common/fault.js'
import { MiB } from '../../../common/units.js'
import type { CreateVolume } from '../../../storage/create-volume.js'
import { ids, never } from '../../storage/crash/world.js'
import { newBlockStorageDomain, newBlockWorld, removeBlockWorld, skipped } from './block-world.js'

// A block storage domain through the verbs of its worker, on real LVM.

const execute = promisify(execFile)
const run = async (command: string, ...args: string[]) => (await execute(command, args)).stdout

const volume = (change: Partial<CreateVolume> = {}): CreateVolume => ({
  ...{ imageId: ids.image, volumeId: ids.base, parent: null, capacity: MiB(128), format: 'qcow2' },
  ...{ allocation: 'thin', diskContent: 'DATA', description: 'block', legal: true },
  ...change
})

t.test('volumes live through snapshot, extension, merge and removal', { skip: skipped }, async t => {
  const world = await newBlockWorld()
  t.teardown(() => removeBlockWorld(world))
  const { ask } = world
  await ask.createBlockStorageDomain(newBlockStorageDomain(world), never)
  const described = await ask.describe({}, never)
  t.equal(described.metadata.kind, 'iscsi')
  t.equal(described.metadata.poolIds[0], ids.dataCenter)

  t.strictSame(await ask.activate({ sanlockHostId: 1 }, never), { done: [], reported: [] })
  t.teardown(() => ask.deactivate({}, never).catch(() => {}))
  await ask.createVolume(volume(), never)
  await ask.createVolume(
    volume({ volumeId: ids.leaf, parent: { imageId: ids.image, volumeId: ids.base } }),
    never
  )
  t.strictSame(await ask.audit({ intents: [] }, never), [])

  const chain = await ask.prepare({ imageId: ids.image, volumeId: ids.leaf }, never)
  t.strictSame(
    chain.map(({ volumeId }) => volumeId),
    [ids.leaf, ids.base]
  )
  const leaf = chain[0]?.path ?? ''
  await run('qemu-io', '-f', 'qcow2', '-c', 'write -P 3 0 1M', leaf)
  const [extended] = await ask.extendVolumes({ volumes: [{ volumeId: ids.leaf, to: MiB(300) }] }, never)
  t.strictSame(extended, { volumeId: ids.leaf, size: MiB(384), failure: null })
  t.strictSame(await ask.refreshVolumes({ volumeIds: [ids.leaf, ids.middle] }, never), [
    { volumeId: ids.leaf, size: MiB(384) }
  ])
  await t.rejects(ask.removeImage({ imageId: ids.image, wipe: false }, never), { message: /in use/ })
  await ask.tearDown({ imageId: ids.image }, never)

  await ask.removeImage({ imageId: ids.image, wipe: true }, never)
  t.strictSame(await ask.listVolumes({ imageId: null }, never), [])
  t.strictSame(await ask.audit({ intents: [] }, never), [])
  await ask.createLease({ leaseId: ids.lease }, never)
  t.equal((await ask.listLeases({}, never)).length, 1)
  await ask.deactivate({}, never)
  await ask.detach({}, never)
  await ask.format({}, never)
  await t.rejects(
    world.restarted().ask.describe({}, never),
    new Fault('NOT_FOUND', `no storage domain ${ids.storageDomain} on the devices given`)
  )
})

t.test('the storage is told what removed images do not need any more', { skip: skipped }, async t => {
  const world = await newBlockWorld()
  t.teardown(() => removeBlockWorld(world))
  const { ask } = world
  await ask.createBlockStorageDomain(newBlockStorageDomain(world), never)
  const taken = async () =>
    Number((await run('du', '--block-size=1', `${world.root}/pv0.img`)).split('\t')[0])
  await ask.createVolume(volume({ format: 'raw', allocation: 'preallocated' }), never)
  const before = await taken()
  const [leaf] = await ask.prepare({ imageId: ids.image, volumeId: ids.base }, never)
  await run('qemu-io', '-f', 'raw', '-c', 'write -P 9 0 64M', leaf?.path ?? '')
  await ask.tearDown({ imageId: ids.image }, never)
  t.ok((await taken()) > before + MiB(50), 'the bytes take room')
  await ask.removeImage({ imageId: ids.image, wipe: false }, never)
  t.ok((await taken()) < before + MiB(8), 'the room is given back')
  t.strictSame(await ask.audit({ intents: [] }, never), [])
})
