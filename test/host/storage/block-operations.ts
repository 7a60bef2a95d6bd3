import { existsSync, rmSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { pino } from 'pino'
import { commandRunner } from '../../../common/run.js'
import { MiB } from '../../../common/units.js'
import type { CreateVolume } from '../../../storage/create-volume.js'
import { Lvm } from '../../../storage/lvm.js'
import { lvmSettings } from '../../../storage/lvm-settings.js'
import { assert, type Operation } from '../../storage/crash/operations.js'
import { ids, importUpload, never, run, type World } from '../../storage/crash/world.js'
import { type BlockWorld, newBlockStorageDomain } from './block-world.js'

// The operations on block storage that the harness ends at each of their steps. What a guest would read goes
// through the links that a VM gets.

const { image, base, middle, leaf, template, templateImage, otherImage } = ids
const specialExtents = 36

/** The second device is there to be added. */
function onFirst(world: World, dataCenterId: string | null = ids.dataCenter) {
  const request = newBlockStorageDomain(world as BlockWorld, dataCenterId)
  return { ...request, devices: request.devices.slice(0, 1) }
}

const createStorageDomain = async (world: World) => {
  await world.ask.createBlockStorageDomain(onFirst(world), never)
}

const made = `/dev/shm/drover-block-made-${process.pid}.img`
process.on('exit', () => rmSync(made, { force: true }))

/** Made once a process: a dozen runs of LVM are what takes time here. */
async function withStorageDomain(world: World) {
  const first = `${world.root}/pv0.img`
  if (existsSync(made)) {
    await run('cp', '--sparse=always', made, first)
    await run('losetup', '--set-capacity', (world as BlockWorld).devices[0] ?? '')
    return
  }
  await createStorageDomain(world)
  await run('cp', '--sparse=always', first, made)
}

const volume = (change: Partial<CreateVolume>): CreateVolume => ({
  ...{ imageId: image, volumeId: base, parent: null, capacity: MiB(8), format: 'qcow2' },
  ...{ allocation: 'thin', diskContent: 'DATA', description: 'crash', legal: true },
  ...change
})

const create = (world: World, change: Partial<CreateVolume> = {}) =>
  world.ask.createVolume(volume(change), never)

/** Works with the leaf of an image as a VM would find it. */
async function asVm<T>(world: World, imageId: string, volumeId: string, work: (path: string) => Promise<T>) {
  const [top] = await world.ask.prepare({ imageId, volumeId }, never)
  try {
    return await work(top?.path ?? '')
  } finally {
    await world.ask.tearDown({ imageId }, never)
  }
}

async function fill(world: World, imageId: string, volumeId: string, pattern: number, at: string) {
  await asVm(world, imageId, volumeId, path =>
    run('qemu-io', '-f', 'qcow2', '-c', `write -P ${pattern} ${at}`, path)
  )
}

function contentOf(world: World, imageId: string, volumeId: string, format = 'qcow2'): Promise<string> {
  return asVm(world, imageId, volumeId, async path => {
    const out = `${world.root}/content.raw`
    await run('qemu-img', 'convert', '-f', format, '-O', 'raw', path, out)
    // A raw copy ends on an extent, which is beyond what the guest had.
    await run('truncate', '-s', '8M', out)
    return (await run('sha256sum', out)).slice(0, 64)
  })
}

const volumesOf = (world: World, imageId: string) => world.ask.listVolumes({ imageId }, never)

async function only(world: World, imageId: string) {
  const volumes = await volumesOf(world, imageId)
  const [first] = volumes
  assert(volumes.length === 1 && first !== undefined, `image ${imageId} has ${volumes.length} volumes, not 1`)
  return first
}

/** Every extent is somebody's: nothing has leaked. */
async function spaceChecked(world: World, extents: number) {
  const group = await (world as BlockWorld).group()
  const used = group.extents - group.freeExtents - specialExtents
  assert(used === extents, `${used} extents are used by volumes, not ${extents}`)
}

/** base <- middle <- leaf, each with bytes of its own. */
async function chainOfThree(world: World) {
  await withStorageDomain(world)
  await create(world)
  await fill(world, image, base, 1, '0 1M')
  await create(world, { volumeId: middle, parent: { imageId: image, volumeId: base } })
  await fill(world, image, middle, 2, '512k 1M')
  await create(world, { volumeId: leaf, parent: { imageId: image, volumeId: middle } })
  await fill(world, image, leaf, 3, '1M 1M')
  await writeFile(`${world.root}/before`, await contentOf(world, image, leaf))
}

async function withTemplate(world: World) {
  await withStorageDomain(world)
  await create(world, { imageId: templateImage, volumeId: template })
  await fill(world, templateImage, template, 7, '0 1M')
  await world.ask.shareVolume({ imageId: templateImage, volumeId: template }, never)
}

const clone = { volumeId: leaf, parent: { imageId: templateImage, volumeId: template } }
const target = {
  ...{ imageId: otherImage, volumeId: leaf, format: 'qcow2' as const, allocation: 'thin' as const },
  ...{ shared: false, description: 'copy' }
}

async function merge(world: World, topId: string, baseId: string) {
  const request = { imageId: image, topId, baseId }
  await world.program(await world.ask.mergeBegin(request, never))
  await world.ask.mergeFinish(request, never)
}

async function mergeChecked(world: World, left: string[]) {
  const found = (await volumesOf(world, image)).map(({ volumeId }) => volumeId).join()
  assert(found === left.join(), `left are ${found}`)
  const before = await readFile(`${world.root}/before`, 'utf8')
  assert((await contentOf(world, image, left.at(-1) ?? '')) === before, "the guest's bytes changed")
}

async function copy(world: World, format: 'raw' | 'qcow2', allocation: 'thin' | 'preallocated') {
  const source = await world.ask.copySource({ imageId: image, volumeId: leaf }, never)
  const request = { ...target, format, allocation, volumeId: template }
  await world.program(await world.ask.copyBegin({ ...request, source }, never))
  await world.ask.copySourceEnd({ imageId: image }, never)
  await world.ask.copyFinish(request, never)
}

async function copyChecked(world: World, format: string) {
  const { metadata } = await only(world, otherImage)
  assert(metadata.legality === 'legal' && metadata.generation === 1, 'it is not legal with generation 1')
  const before = await readFile(`${world.root}/before`, 'utf8')
  assert((await contentOf(world, otherImage, template, format)) === before, 'the copy has other bytes')
}

async function resizeChecked(world: World, format: 'raw' | 'qcow2') {
  const { metadata } = await only(world, image)
  assert(metadata.capacity === MiB(256), `capacity is ${metadata.capacity}`)
  const said = await asVm(world, image, base, path =>
    run('qemu-img', 'info', '--output', 'json', '-f', format, path)
  )
  const size = JSON.parse(said)['virtual-size']
  assert(size === MiB(256), `the data has ${size} bytes`)
}

/** A volume half made, an image marked as removed, and a tag that names another parent than the record. */
async function halfDone(world: BlockWorld) {
  const { devices, root } = world
  const log = pino({ level: 'silent' })
  const settings = await lvmSettings(`${root}/run`)
  const lvm = new Lvm({ devices, hasDriver: false, settings, run: commandRunner(log), log })
  const vg = ids.storageDomain
  const half = { kind: 'createLv' as const, vg, lv: ids.unrelated, mebibytes: 128, pv: null }
  await lvm.change({ ...half, tags: ['OVIRT_VOL_INITIALIZING'] }, never)
  await create(world, { imageId: otherImage, volumeId: template })
  const tags = (lv: string, remove: string, add: string) =>
    lvm.change({ kind: 'changeLvTags', vg, lvs: [lv], remove: [remove], add: [add] }, never)
  await tags(template, `IU_${otherImage}`, `IU__remove_me_ZERO_${otherImage}`)
  await tags(leaf, `PU_${middle}`, `PU_${base}`)
}

const roles = async (world: World) =>
  (await volumesOf(world, image)).map(({ metadata }) => metadata.role).join()
const leases = async (world: World) =>
  (await world.ask.listLeases({}, never)).map(({ leaseId }) => leaseId).join()

export const blockDomainOperations: Record<string, Operation> = {
  'create a block storage domain': {
    prepare: async () => {},
    run: createStorageDomain,
    intents: [],
    check: async world => {
      const { metadata } = await world.restarted().ask.describe({}, never)
      assert(metadata.poolIds[0] === ids.dataCenter, 'it is not attached')
      await spaceChecked(world, 0)
    }
  },
  'attach a block storage domain': {
    prepare: async world => {
      const request = onFirst(world, null)
      await world.ask.createBlockStorageDomain(request, never)
    },
    run: async world => void (await world.ask.attach({ dataCenterId: ids.dataCenter }, never)),
    intents: [],
    check: async world => {
      const { metadata } = await world.ask.describe({}, never)
      assert(metadata.poolIds.join() === ids.dataCenter, 'it is not attached')
    }
  },
  'detach a block storage domain': {
    prepare: withStorageDomain,
    run: async world => void (await world.ask.detach({}, never)),
    intents: [],
    check: async world =>
      assert((await world.ask.describe({}, never)).metadata.poolIds.length === 0, 'it is attached')
  },
  'format a block storage domain': {
    prepare: async world => {
      const request = onFirst(world, null)
      await world.ask.createBlockStorageDomain(request, never)
      await create(world)
    },
    run: async world => void (await world.ask.format({}, never)),
    intents: [],
    check: async world => {
      assert(!(await world.isStorageDomain()), 'it is still there')
      await createStorageDomain(world)
    }
  },
  'add a device': {
    prepare: withStorageDomain,
    run: async world => {
      const [, device = ''] = (world as BlockWorld).devices
      await world.ask.addDevice({ device }, never)
    },
    intents: [],
    check: async world => {
      const { reading } = await (world as BlockWorld).group()
      assert(reading.group.pvs.length === 2 && reading.metadataDevices.length === 1, 'it has no second PV')
    }
  },
  'take an empty device out': {
    prepare: async world => {
      await withStorageDomain(world)
      const [, device = ''] = (world as BlockWorld).devices
      await world.ask.addDevice({ device }, never)
    },
    run: async world => {
      const { devices } = world as BlockWorld
      await world.ask.useDevices({ devices }, never)
      await world.ask.removeDevice({ device: devices[1] ?? '' }, never)
    },
    intents: [],
    check: async world => {
      const { reading, extents } = await (world as BlockWorld).group()
      assert(reading.group.pvs.length === 1 && extents === 93, `it has ${extents} extents`)
      const [, device = ''] = (world as BlockWorld).devices
      assert((await run('wipefs', '--no-act', device)) === '', 'the device is not empty')
    }
  },
  'use what a device grew by': {
    prepare: async world => {
      await withStorageDomain(world)
      await run('truncate', '-s', '14G', `${world.root}/pv0.img`)
    },
    run: async world => {
      const [device = ''] = (world as BlockWorld).devices
      await run('losetup', '--set-capacity', device)
      await world.ask.resizeDevice({ device }, never)
    },
    intents: [],
    check: async world => {
      const { extents } = await (world as BlockWorld).group()
      assert(extents === 109, `it has ${extents} extents`)
    }
  }
}

export const blockVolumeOperations: Record<string, Operation> = {
  'create a thin volume': {
    prepare: withStorageDomain,
    run: async world => void (await create(world)),
    intents: [],
    check: async world => {
      assert((await only(world, image)).metadata.legality === 'legal', 'it is not legal')
      await spaceChecked(world, 1)
    }
  },
  'create a raw volume': {
    prepare: withStorageDomain,
    run: async world =>
      void (await create(world, { format: 'raw', allocation: 'preallocated', capacity: MiB(130) })),
    intents: [],
    check: async world => {
      assert(
        (await only(world, image)).metadata.capacity === MiB(256),
        'its capacity is not that of its extents'
      )
      await spaceChecked(world, 2)
    }
  }
}

export const blockSnapshotOperations: Record<string, Operation> = {
  'take a snapshot': {
    prepare: async world => {
      await withStorageDomain(world)
      await create(world)
    },
    run: async world =>
      void (await create(world, { volumeId: leaf, parent: { imageId: image, volumeId: base } })),
    intents: [],
    check: async world => {
      assert((await roles(world)) === 'internal,leaf', `roles are ${await roles(world)}`)
      await spaceChecked(world, 2)
    }
  },
  'create a volume from a template': {
    prepare: withTemplate,
    run: async world => void (await create(world, clone)),
    intents: [],
    check: async world => {
      const chain = await world.ask.prepare({ imageId: image, volumeId: leaf }, never)
      assert(chain.map(({ volumeId }) => volumeId).join() === `${leaf},${template}`, 'the chain is another')
      await world.ask.tearDown({ imageId: image }, never)
    }
  },
  'share a volume': {
    prepare: async world => {
      await withStorageDomain(world)
      await create(world)
    },
    run: async world => void (await world.ask.shareVolume({ imageId: image, volumeId: base }, never)),
    intents: [],
    check: async world => {
      const { metadata } = await only(world, image)
      assert(metadata.role === 'shared' && metadata.generation === 1, 'it is not shared once')
    }
  },
  'extend a volume': {
    prepare: async world => {
      await withStorageDomain(world)
      await create(world)
      await create(world, { imageId: otherImage, volumeId: leaf })
    },
    run: async world => {
      // The last one made: it goes on in one piece, as a loop device needs it.
      const volumes = [MiB(300), MiB(200)].map(to => ({ volumeId: leaf, to }))
      const outcomes = await world.ask.extendVolumes({ volumes }, never)
      for (const { failure } of outcomes) if (failure) throw new Error(failure.text)
    },
    intents: [],
    check: async world => {
      assert((await only(world, otherImage)).physical === MiB(384), 'it is not extended')
      await spaceChecked(world, 4)
    }
  }
}

export const blockRemovalOperations: Record<string, Operation> = {
  'remove and wipe an image': {
    prepare: chainOfThree,
    run: async world => void (await world.ask.removeImage({ imageId: image, wipe: true }, never)),
    intents: [],
    check: async world => {
      assert((await volumesOf(world, image)).length === 0, 'it has volumes')
      await spaceChecked(world, 0)
    }
  },
  'remove an image': {
    prepare: chainOfThree,
    run: async world => void (await world.ask.removeImage({ imageId: image, wipe: false }, never)),
    intents: [],
    check: async world => {
      assert((await volumesOf(world, image)).length === 0, 'it has volumes')
      await spaceChecked(world, 0)
    }
  },
  'remove the leaf of an image': {
    prepare: chainOfThree,
    run: async world => void (await world.ask.removeVolume({ imageId: image, volumeId: leaf }, never)),
    intents: [leaf],
    check: async world => {
      assert((await roles(world)) === 'internal,leaf', `roles are ${await roles(world)}`)
      await spaceChecked(world, 2)
    }
  },
  'resize a raw volume': {
    prepare: async world => {
      await withStorageDomain(world)
      await create(world, { format: 'raw', allocation: 'preallocated' })
    },
    run: async world =>
      void (await world.ask.resizeVolume({ imageId: image, volumeId: base, capacity: MiB(256) }, never)),
    intents: [base],
    check: world => resizeChecked(world, 'raw')
  },
  'resize a qcow2 volume': {
    prepare: async world => {
      await withStorageDomain(world)
      await create(world)
    },
    run: async world =>
      void (await world.ask.resizeVolume({ imageId: image, volumeId: base, capacity: MiB(256) }, never)),
    intents: [base],
    check: world => resizeChecked(world, 'qcow2')
  },
  'create and remove the lease of a VM': {
    prepare: withStorageDomain,
    run: async world => {
      await world.ask.createLease({ leaseId: ids.lease }, never)
      await world.ask.removeLease({ leaseId: ids.lease }, never)
      await world.ask.createLease({ leaseId: ids.lease }, never)
    },
    intents: [],
    check: async world => assert((await leases(world)) === ids.lease, 'the leases are others')
  }
}

export const blockCopyOperations: Record<string, Operation> = {
  'copy a chain into a qcow2 volume': {
    prepare: chainOfThree,
    run: world => copy(world, 'qcow2', 'thin'),
    intents: [template, otherImage],
    check: world => copyChecked(world, 'qcow2')
  },
  'copy a chain into a raw volume': {
    prepare: chainOfThree,
    run: world => copy(world, 'raw', 'preallocated'),
    intents: [template, otherImage],
    check: world => copyChecked(world, 'raw')
  },
  'import a file': {
    prepare: async world => {
      await withStorageDomain(world)
      const path = `${world.root}/import/in.qcow2`
      await run('qemu-img', 'create', '-q', '-f', 'qcow2', path, '3M')
      await run('qemu-io', '-f', 'qcow2', '-c', 'write -P 5 0 1M', path)
    },
    run: async world => {
      const source = { kind: 'path' as const, path: `${world.root}/import/in.qcow2` }
      const begun = await world.ask.importBegin({ ...target, source, declared: 'qcow2' }, never)
      await world.program(begun?.program ?? null)
      await world.ask.importFinish(target, never)
    },
    intents: [leaf, otherImage],
    check: async world => {
      const { metadata } = await only(world, otherImage)
      assert(metadata.legality === 'legal' && metadata.capacity === MiB(3), 'it is not imported')
    }
  },
  'import an upload': {
    prepare: async world => {
      await withStorageDomain(world)
      const path = `${world.root}/import/in.qcow2`
      await run('qemu-img', 'create', '-q', '-f', 'qcow2', path, '3M')
      await run('qemu-io', '-f', 'qcow2', '-c', 'write -P 5 0 1M', path)
    },
    run: async world => importUpload(world, target),
    intents: [leaf, otherImage],
    check: async world => {
      const { metadata } = await only(world, otherImage)
      assert(metadata.legality === 'legal' && metadata.capacity === MiB(3), 'it is not imported')
      const left = await run('find', world.root, '-name', 'upload-*')
      assert(left === '', `${left.trim()} is left`)
    }
  }
}

export const blockMergeOperations: Record<string, Operation> = {
  'merge an inner volume': {
    prepare: chainOfThree,
    run: world => merge(world, middle, base),
    intents: [image],
    check: world => mergeChecked(world, [base, leaf])
  },
  'merge the leaf': {
    prepare: chainOfThree,
    run: world => merge(world, leaf, middle),
    intents: [leaf, image],
    check: world => mergeChecked(world, [base, middle])
  },
  'sweep what crashes left': {
    prepare: async world => {
      await chainOfThree(world)
      await halfDone(world as BlockWorld)
    },
    run: async world => void (await world.ask.sweep({}, never)),
    intents: [],
    check: async world => {
      const found = (await volumesOf(world, image)).map(({ volumeId }) => volumeId).join()
      assert(found === [base, middle, leaf].join(), `left are ${found}`)
      await spaceChecked(world, 3)
    }
  }
}

export const blockOperations = {
  ...blockDomainOperations,
  ...blockVolumeOperations,
  ...blockSnapshotOperations,
  ...blockRemovalOperations,
  ...blockCopyOperations,
  ...blockMergeOperations
}
