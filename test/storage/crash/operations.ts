import { readFile, writeFile } from 'node:fs/promises'
import { type Bytes, MiB } from '../../../common/units.js'
import { writeDirect } from '../../../storage/direct-io.js'
import { fileLayout } from '../../../storage/file-layout.js'
import { hostIdOffset } from '../../../storage/format/leases-layout.js'
import { unusedHostRecord, writeSanlockRecord } from '../../../storage/format/sanlock-record.js'
import { parseVolumeMetadata, volumeMetadataText } from '../../../storage/format/volume-metadata.js'
import type { CreateVolume } from '../../../storage/create-volume.js'
import { ids, importUpload, never, newStorageDomain, run, type World } from './world.js'

/** One operation under test: how its world is made, what it does, and what must be true when it has been done. */
export type Operation = {
  prepare(world: World): Promise<void>
  run(world: World): Promise<void>
  /** Volumes and images that the unfinished operation owns: the ledger of the agent knows them. */
  intents: string[]
  /** Throws if the effect is not there, or is there twice. */
  check(world: World): Promise<void>
}

const { image, base, middle, leaf, template, templateImage, otherImage } = ids

const layout = (world: World) => fileLayout(`${world.mount}/${ids.storageDomain}`)

export function assert(condition: boolean, text: string): asserts condition {
  if (!condition) throw new Error(text)
}

const withStorageDomain = async (world: World) => {
  await world.ask.createStorageDomain(newStorageDomain(world), never)
}

const volume = (change: Partial<CreateVolume>): CreateVolume => ({
  imageId: image,
  volumeId: base,
  parent: null,
  capacity: MiB(4),
  format: 'qcow2',
  allocation: 'thin',
  diskContent: 'DATA',
  description: 'crash',
  legal: true,
  ...change
})

const create = (world: World, change: Partial<CreateVolume> = {}) =>
  world.ask.createVolume(volume(change), never)

/** Bytes that tell where they came from, written through qemu-io so that the chain is used as a guest would. */
async function fill(world: World, place: { imageId: string; volumeId: string }, pattern: number, at: string) {
  const format = (await world.ask.listVolumes({ imageId: place.imageId }, never)).find(
    v => v.volumeId === place.volumeId
  )
  const path = layout(world).volume(place.imageId, place.volumeId)
  await run('qemu-io', '-f', format?.metadata.format ?? 'raw', '-c', `write -P ${pattern} ${at}`, path)
}

/** SHA-256 of what a guest would read through the chain below a volume. */
async function contentOf(world: World, imageId: string, volumeId: string, format = 'qcow2'): Promise<string> {
  const out = `${world.root}/content.raw`
  await run('qemu-img', 'convert', '-f', format, '-O', 'raw', layout(world).volume(imageId, volumeId), out)
  return (await run('sha256sum', out)).slice(0, 64)
}

async function volumesOf(world: World, imageId: string) {
  return world.ask.listVolumes({ imageId }, never)
}

async function only(world: World, imageId: string) {
  const volumes = await volumesOf(world, imageId)
  const [first] = volumes
  assert(volumes.length === 1 && first !== undefined, `image ${imageId} has ${volumes.length} volumes, not 1`)
  return first
}

/** base <- middle <- leaf, each with bytes of its own. */
async function chainOfThree(world: World) {
  await withStorageDomain(world)
  await create(world)
  await fill(world, { imageId: image, volumeId: base }, 1, '0 1M')
  await create(world, { volumeId: middle, parent: { imageId: image, volumeId: base } })
  await fill(world, { imageId: image, volumeId: middle }, 2, '512k 1M')
  await create(world, { volumeId: leaf, parent: { imageId: image, volumeId: middle }, capacity: MiB(6) })
  await fill(world, { imageId: image, volumeId: leaf }, 3, '1M 1M')
  await writeFile(`${world.root}/before`, await contentOf(world, image, leaf))
}

async function mergeChecked(world: World, topId: string, left: string[]) {
  const volumes = await volumesOf(world, image)
  const found = volumes.map(({ volumeId }) => volumeId).join()
  assert(found === left.join(), `left are ${found}`)
  const [top] = left.slice(-1)
  const before = await readFile(`${world.root}/before`, 'utf8')
  assert(
    (await contentOf(world, image, top ?? '')) === before,
    `the guest's bytes changed when ${topId} was merged`
  )
}

async function merge(world: World, topId: string, baseId: string) {
  const request = { imageId: image, topId, baseId }
  await world.program(await world.ask.mergeBegin(request, never))
  await world.ask.mergeFinish(request, never)
}

async function withTemplate(world: World) {
  await withStorageDomain(world)
  await create(world, { imageId: templateImage, volumeId: template })
  await fill(world, { imageId: templateImage, volumeId: template }, 7, '0 1M')
  await world.ask.shareVolume({ imageId: templateImage, volumeId: template }, never)
}

const clone = { volumeId: leaf, parent: { imageId: templateImage, volumeId: template } }

const target = {
  imageId: otherImage,
  volumeId: leaf,
  format: 'qcow2' as const,
  allocation: 'thin' as const,
  shared: false,
  description: 'copy'
}

async function copy(world: World, allocation: 'thin' | 'preallocated', format: 'raw' | 'qcow2') {
  const source = await world.ask.copySource({ imageId: image, volumeId: leaf }, never)
  const request = { ...target, allocation, format }
  await world.program(await world.ask.copyBegin({ ...request, source }, never))
  await world.ask.copyFinish(request, never)
}

async function copyChecked(world: World, format: string) {
  const { metadata } = await only(world, otherImage)
  assert(
    metadata.legality === 'legal' && metadata.generation === 1,
    'the copy is not legal with generation 1'
  )
  const before = await readFile(`${world.root}/before`, 'utf8')
  assert((await contentOf(world, otherImage, leaf, format)) === before, 'the copy has other bytes')
}

async function editMeta(world: World, volumeId: string, change: object) {
  const path = layout(world).meta(image, volumeId)
  const metadata = parseVolumeMetadata(await readFile(path))
  await writeFile(path, volumeMetadataText({ ...metadata, ...change }))
}

async function resizeChecked(world: World, format: 'raw' | 'qcow2') {
  const { metadata } = await only(world, image)
  assert(metadata.capacity === MiB(8), `capacity is ${metadata.capacity}`)
  const said = JSON.parse(
    await run('qemu-img', 'info', '--output', 'json', '-f', format, layout(world).volume(image, base))
  )
  assert(said['virtual-size'] === MiB(8), `the data has ${said['virtual-size']} bytes`)
}

const leases = async (world: World) =>
  (await world.ask.listLeases({}, never)).map(({ leaseId }) => leaseId).join()

const deadHost = {
  sanlockHostId: 7,
  hostName: 'host7',
  generation: 3,
  timestamp: 4711,
  proofId: '99999999-1111-4222-8333-444444444444'
}

async function withDeadHost(world: World) {
  await withStorageDomain(world)
  const record = unusedHostRecord(ids.storageDomain, 512, MiB(1), 1)
  const alive = {
    ...record,
    ownerId: 7n,
    ownerGeneration: 3n,
    leaseVersion: 3n,
    resource: 'host7',
    timestamp: 4711n
  }
  await writeDirect(layout(world).ids, hostIdOffset(7, 512), writeSanlockRecord(alive))
}

export const operations: Record<string, Operation> = {
  'create a storage domain': {
    prepare: async () => {},
    run: async world => void (await world.ask.createStorageDomain(newStorageDomain(world), never)),
    intents: [],
    check: async world => {
      const { metadata } = await world.restarted().ask.describe({}, never)
      assert(metadata.poolIds[0] === ids.dataCenter, 'it is not attached')
    }
  },
  'attach a storage domain': {
    prepare: async world => void (await world.ask.createStorageDomain(newStorageDomain(world, null), never)),
    run: async world => void (await world.ask.attach({ dataCenterId: ids.dataCenter }, never)),
    intents: [],
    check: async world => {
      const { metadata } = await world.ask.describe({}, never)
      assert(metadata.poolIds.join() === ids.dataCenter, 'it is not attached')
    }
  },
  'detach a storage domain': {
    prepare: withStorageDomain,
    run: async world => void (await world.ask.detach({}, never)),
    intents: [],
    check: async world =>
      assert((await world.ask.describe({}, never)).metadata.poolIds.length === 0, 'it is attached')
  },
  'format a storage domain': {
    prepare: async world => {
      await world.ask.createStorageDomain(newStorageDomain(world, null), never)
      await create(world)
    },
    run: async world => void (await world.ask.format({}, never)),
    intents: [],
    check: async world => {
      assert((await run('find', world.mount, '-mindepth', '1')) === '', 'something is left')
      await withStorageDomain(world)
    }
  },
  'create a thin volume': {
    prepare: withStorageDomain,
    run: async world => void (await create(world)),
    intents: [],
    check: async world => assert((await only(world, image)).metadata.legality === 'legal', 'it is not legal')
  },
  'create a preallocated raw volume': {
    prepare: withStorageDomain,
    run: async world => void (await create(world, { format: 'raw', allocation: 'preallocated' })),
    intents: [],
    check: async world => assert((await only(world, image)).allocated >= MiB(4), 'its space is not taken')
  },
  'take a snapshot': {
    prepare: async world => {
      await withStorageDomain(world)
      await create(world)
    },
    run: async world =>
      void (await create(world, { volumeId: leaf, parent: { imageId: image, volumeId: base } })),
    intents: [],
    check: async world => {
      const roles = (await volumesOf(world, image)).map(({ metadata }) => metadata.role).join()
      assert(roles === 'internal,leaf', `roles are ${roles}`)
    }
  },
  'create a volume from a template': {
    prepare: withTemplate,
    run: async world => void (await create(world, clone)),
    intents: [],
    check: async world => {
      const chain = await world.ask.prepare({ imageId: image, volumeId: leaf }, never)
      assert(chain.map(({ volumeId }) => volumeId).join() === `${leaf},${template}`, 'the chain is another')
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
  'remove and wipe an image': {
    prepare: chainOfThree,
    run: async world => void (await world.ask.removeImage({ imageId: image, wipe: true }, never)),
    intents: [],
    check: async world => {
      assert((await volumesOf(world, image)).length === 0, 'it has volumes')
      assert((await run('ls', layout(world).images)) === '', 'its directory is left')
    }
  },
  'remove an image made from a template': {
    prepare: async world => {
      await withTemplate(world)
      await create(world, clone)
    },
    run: async world => void (await world.ask.removeImage({ imageId: image, wipe: true }, never)),
    intents: [],
    check: async world => {
      assert((await volumesOf(world, image)).length === 0, 'it has volumes')
      const said = await run(
        'qemu-io',
        '-f',
        'qcow2',
        '-r',
        '-c',
        'read -P 7 0 1M',
        layout(world).volume(templateImage, template)
      )
      assert(!/failed/.test(said), `the template was wiped: ${said}`)
    }
  },
  'remove the leaf of an image': {
    prepare: chainOfThree,
    run: async world => void (await world.ask.removeVolume({ imageId: image, volumeId: leaf }, never)),
    intents: [leaf],
    check: async world => {
      const roles = (await volumesOf(world, image)).map(({ metadata }) => metadata.role).join()
      assert(roles === 'internal,leaf', `roles are ${roles}`)
    }
  },
  'resize a raw volume': {
    prepare: async world => {
      await withStorageDomain(world)
      await create(world, { format: 'raw' })
    },
    run: async world =>
      void (await world.ask.resizeVolume({ imageId: image, volumeId: base, capacity: MiB(8) }, never)),
    intents: [base],
    check: world => resizeChecked(world, 'raw')
  },
  'resize a qcow2 volume': {
    prepare: async world => {
      await withStorageDomain(world)
      await create(world)
    },
    run: async world =>
      void (await world.ask.resizeVolume({ imageId: image, volumeId: base, capacity: MiB(8) }, never)),
    intents: [base],
    check: world => resizeChecked(world, 'qcow2')
  },
  'prepare after an interrupted resize': {
    prepare: async world => {
      await withStorageDomain(world)
      await create(world)
      await editMeta(world, base, { capacity: 0 as Bytes })
    },
    run: async world => void (await world.ask.prepare({ imageId: image, volumeId: base }, never)),
    intents: [base],
    check: async world =>
      assert((await only(world, image)).metadata.capacity === MiB(4), 'the capacity is not repaired')
  },
  'copy a chain into a qcow2 volume': {
    prepare: chainOfThree,
    run: world => copy(world, 'preallocated', 'qcow2'),
    intents: [leaf, otherImage],
    check: world => copyChecked(world, 'qcow2')
  },
  'copy a chain into a raw volume': {
    prepare: chainOfThree,
    run: world => copy(world, 'preallocated', 'raw'),
    intents: [leaf, otherImage],
    check: world => copyChecked(world, 'raw')
  },
  'merge an inner volume': {
    prepare: chainOfThree,
    run: world => merge(world, middle, base),
    intents: [image],
    check: world => mergeChecked(world, middle, [base, leaf])
  },
  'merge the leaf': {
    prepare: chainOfThree,
    run: world => merge(world, leaf, middle),
    intents: [leaf, image],
    check: world => mergeChecked(world, leaf, [base, middle])
  },
  'merge a leaf that is half removed': {
    prepare: async world => {
      await chainOfThree(world)
      const paths = layout(world)
      await run(
        'qemu-img',
        'commit',
        '-q',
        '-f',
        'qcow2',
        '-b',
        paths.volume(image, middle),
        paths.volume(image, leaf)
      )
      await editMeta(world, middle, { capacity: MiB(6) })
      await editMeta(world, leaf, { legality: 'illegal', parentId: null })
    },
    run: world => merge(world, leaf, middle),
    intents: [leaf, image],
    check: world => mergeChecked(world, leaf, [base, middle])
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
  },
  'create the lease of a VM': {
    prepare: withStorageDomain,
    run: async world => void (await world.ask.createLease({ leaseId: ids.lease }, never)),
    intents: [],
    check: async world => assert((await leases(world)) === ids.lease, 'the leases are others')
  },
  'remove the lease of a VM': {
    prepare: async world => {
      await withStorageDomain(world)
      await world.ask.createLease({ leaseId: ids.lease }, never)
    },
    run: async world => void (await world.ask.removeLease({ leaseId: ids.lease }, never)),
    intents: [],
    check: async world => assert((await leases(world)) === '', 'a lease is left')
  },
  'rebuild the leases of VMs': {
    prepare: async world => {
      await withStorageDomain(world)
      await world.ask.createLease({ leaseId: ids.lease }, never)
      // The record vanishes: its resource is what is left of a removal that was cut off.
      const at = MiB(1) + 512
      const blank = Buffer.alloc(512)
      for (let i = 0; i < 8; i++) blank.write('00000000000\0--\n', i * 64 + 49, 'latin1')
      await writeDirect(layout(world).xleases, at as Bytes, blank)
    },
    run: async world => void (await world.ask.rebuildLeases({}, never)),
    intents: [],
    check: async world => assert((await leases(world)) === '', 'the resource without record is a lease again')
  },
  'clear the leases of a dead host': {
    prepare: withDeadHost,
    run: async world => void (await world.ask.clearHostLease(deadHost, never)),
    intents: [],
    check: async world => {
      const dump = await run(
        'sanlock',
        'direct',
        'read_leader',
        '-s',
        `${ids.storageDomain}:7:${layout(world).ids}:0`
      )
      assert(/^timestamp 0$/m.test(dump) && /^owner_generation 3$/m.test(dump), dump)
    }
  },
  'sweep what crashes left': {
    prepare: async world => {
      await chainOfThree(world)
      await withHalfDone(world)
    },
    run: async world => void (await world.ask.sweep({}, never)),
    intents: [],
    check: async world => {
      const found = (await volumesOf(world, image)).map(({ volumeId }) => volumeId).join()
      assert(found === [base, leaf].join(), `left are ${found}`)
      assert(
        (await contentOf(world, image, leaf)) === (await readFile(`${world.root}/before`, 'utf8')),
        'other bytes'
      )
    }
  },
  'sweep a merge that did not reach its child': {
    prepare: async world => {
      await chainOfThree(world)
      await editMeta(world, middle, { legality: 'illegal' })
      await editMeta(world, base, { role: 'leaf' })
    },
    run: async world => void (await world.ask.sweep({}, never)),
    intents: [],
    check: async world => {
      assert(
        (await volumesOf(world, image)).every(({ metadata }) => metadata.legality === 'legal'),
        'one is illegal'
      )
      await world.ask.prepare({ imageId: image, volumeId: leaf }, never)
    }
  }
}

/** A removed image not purged, a file of no volume, and a merge whose child has its new header, not its record. */
async function withHalfDone(world: World) {
  const paths = layout(world)
  await create(world, { imageId: otherImage, volumeId: template })
  await run('mv', paths.image(otherImage), paths.removed(otherImage, false))
  await writeFile(paths.volume(image, template), 'half made')
  const inImage = [paths.volume(image, leaf), '-F', 'qcow2', '-b']
  await run(
    'qemu-img',
    'commit',
    '-q',
    '-f',
    'qcow2',
    '-b',
    paths.volume(image, base),
    paths.volume(image, middle)
  )
  await run('qemu-img', 'rebase', '-u', '-f', 'qcow2', ...inImage.slice(1), base, inImage[0] ?? '')
  await editMeta(world, middle, { legality: 'illegal' })
}

/** Parts of about the same length, so that they can run beside each other. */
export const volumeOperations = [
  'create a thin volume',
  'create a preallocated raw volume',
  'take a snapshot',
  'create a volume from a template',
  'share a volume',
  'remove and wipe an image',
  'remove an image made from a template',
  'remove the leaf of an image',
  'resize a raw volume',
  'resize a qcow2 volume',
  'prepare after an interrupted resize'
]
export const copyOperations = [
  'copy a chain into a qcow2 volume',
  'copy a chain into a raw volume',
  'import a file',
  'import an upload'
]
export const mergeOperations = [
  'merge an inner volume',
  'merge the leaf',
  'merge a leaf that is half removed'
]
export const otherOperations = Object.keys(operations).filter(
  name => ![...volumeOperations, ...copyOperations, ...mergeOperations].includes(name)
)
