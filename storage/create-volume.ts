import { crashpoint, idempotent } from '../common/crashpoint.js'
import { within } from '../common/deadline.js'
import { Fault } from '../common/fault.js'
import { Rollback } from '../common/rollback.js'
import { type Bytes, seconds } from '../common/units.js'
import {
  type AllocationPolicy,
  type DiskContent,
  type VolumeFormat,
  volumeMetadataText,
  type VolumeMetadata
} from './format/volume-metadata.js'
import { deepestChain } from './chain.js'
import { type Operation, qemuImg, readImage, roundCapacity, throwIfIllegal } from './operation.js'
import type { NewVolume, Place } from './storage-domain.js'

export type CreateVolume = Place & {
  /** The volume below: the image's leaf, or a template's volume in its own image. */
  parent: Place | null
  capacity: Bytes
  format: VolumeFormat
  allocation: AllocationPolicy
  diskContent: DiskContent
  description: string
  /**
   * False where the data comes later, with its format and its space: nobody may use the volume until then. Only
   * a preallocated raw one is made whole at once, because it is written in place.
   */
  legal: boolean
  /** Room that the data of a thin volume needs at once, where it does not grow by itself. */
  initialSize?: Bytes | undefined
}

/**
 * Intent, data, metadata, publish: a crash between any two of them leaves only garbage to collect. A parent in
 * the same image becomes internal before its child is visible, so an image never has two leaves.
 */
export async function createVolume(
  op: Operation,
  wanted: CreateVolume,
  signal: AbortSignal
): Promise<VolumeMetadata> {
  const { volumes, leases } = op.storageDomain
  const request = { ...wanted, allocation: allocationOf(op, wanted) }
  const limited = within(seconds(120), signal)
  await using manager = await leases.asManager(limited)
  void manager

  const known = await alreadyThere(op, request)
  if (known !== null) return known
  const parent = request.parent === null ? null : await checkedParent(op, request.parent, request)
  const volume = await describe(op, request)
  await using rollback = new Rollback(op.log)

  if (request.parent !== null && request.parent.imageId !== request.imageId) {
    const template = request.parent
    await idempotent('volume.create/share', () => volumes.share(template, request.imageId))
    rollback.onFailure('remove what was made', () => volumes.removeLeftovers(request.imageId))
  }
  await idempotent('volume.create/reserve', () => volumes.reserve(volume, limited))
  rollback.onFailure('give space back', async () => {
    await volumes.release(request)
    await volumes.removeLeftovers(request.imageId)
  })

  const isEmpty = !request.legal && !(request.format === 'raw' && request.allocation === 'preallocated')
  await together(
    isEmpty
      ? Promise.resolve()
      : idempotent('volume.create/format', () => format(op, volume, parent, limited)),
    idempotent('volume.create/lease', () => leases.writeVolumeLease(request, limited))
  )
  if (request.allocation === 'preallocated' && !isEmpty) {
    await idempotent('volume.create/allocate', () => volumes.allocate(volume, limited))
  }
  await idempotent('volume.create/flush', () => volumes.flush(request))

  if (parent?.role === 'leaf' && request.parent) {
    const place = request.parent
    await idempotent('volume.create/parent-internal', () => {
      return volumes.write(place, { ...parent, role: 'internal' }, 'volume.create/parent-internal')
    })
    rollback.onFailure('make the parent a leaf again', () =>
      volumes.write(place, parent, 'volume.create/parent-internal')
    )
  }
  await idempotent('volume.create/publish', () => volumes.publish(volume, 'volume.create/publish'))
  rollback.commit()
  await volumes.letGo(request.imageId)
  await crashpoint('volume.create/done')
  op.log.info({ volume: request.volumeId, image: request.imageId }, 'volume created')
  return volume.metadata
}

/** A raw volume on block storage has all its space, whatever was asked for. */
function allocationOf({ storageDomain }: Operation, { format, allocation }: CreateVolume): AllocationPolicy {
  return storageDomain.volumes.onBlock && format === 'raw' ? 'preallocated' : allocation
}

/** Both, to their ends: nothing is undone while one of them still works. */
async function together(...works: Array<Promise<void>>): Promise<void> {
  const outcomes = await Promise.allSettled(works)
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
}

/** The same request again finds its volume; another one of that id is refused. */
async function alreadyThere(op: Operation, request: CreateVolume): Promise<VolumeMetadata | null> {
  const { volumes } = op.storageDomain
  const known = await volumes.read(request).catch((error: unknown) => {
    if (Fault.is(error, 'VOLUME_NOT_FOUND')) return null
    throw error
  })
  if (known === null) return null
  const same =
    known.imageId === request.imageId &&
    known.parentId === (request.parent?.volumeId ?? null) &&
    known.format === request.format &&
    known.allocation === request.allocation &&
    known.capacity >= request.capacity
  if (same) return known
  throw new Fault('ALREADY_EXISTS', `volume ${request.volumeId} exists with other properties`)
}

async function checkedParent(op: Operation, place: Place, request: CreateVolume): Promise<VolumeMetadata> {
  const parent = await op.storageDomain.volumes.read(place)
  throwIfIllegal(parent, place)
  if (request.format !== 'qcow2') throw invalid('a volume with a parent is qcow2')
  if (request.capacity < parent.capacity) {
    throw invalid(`a capacity of ${request.capacity} is smaller than the parent's ${parent.capacity}`)
  }
  if (place.imageId !== request.imageId && parent.role !== 'shared') {
    throw new Fault('WRONG_STATE', `volume ${place.volumeId} of another image is not a template's volume`)
  }
  // A leaf that the last attempt made internal is one again after the sweep, or now: it has no children.
  const image = await readImage(op.storageDomain, place.imageId)
  const children = [...image.values()].filter(({ parentId }) => parentId === place.volumeId)
  if (parent.role !== 'shared' && children.length > 0) {
    throw new Fault('WRONG_STATE', `volume ${place.volumeId} is not the leaf of its image`)
  }
  if (image.size >= deepestChain) {
    throw new Fault(
      'WRONG_STATE',
      `image ${place.imageId} has ${image.size} volumes; ${deepestChain} is the limit`
    )
  }
  return parent.role === 'internal' ? { ...parent, role: 'leaf' } : parent
}

async function describe(op: Operation, request: CreateVolume): Promise<NewVolume> {
  const { identity, volumes } = op.storageDomain
  const ids = (await volumes.volumeIds(request.imageId)) ?? []
  const records = await Promise.all(ids.map(volumeId => volumes.read({ imageId: request.imageId, volumeId })))
  const own = records.filter(record => record.imageId === request.imageId)
  if (request.parent === null && own.length > 0) {
    throw new Fault('WRONG_STATE', `image ${request.imageId} has volumes already; a new one needs a parent`)
  }
  const metadata: VolumeMetadata = {
    storageDomainId: identity.id,
    imageId: request.imageId,
    parentId: request.parent?.volumeId ?? null,
    capacity: volumes.capacityFor(roundCapacity(request.capacity), request.format),
    format: request.format,
    allocation: request.allocation,
    role: 'leaf',
    legality: request.legal ? 'legal' : 'illegal',
    diskContent: request.diskContent,
    description: request.description,
    createdAt: Math.floor(op.clock.wall() / 1000),
    generation: 0,
    sequence: 1 + Math.max(0, ...own.map(({ sequence }) => sequence))
  }
  // Refuses what does not fit before anything is made.
  volumeMetadataText(metadata)
  return { ...request, metadata }
}

async function format(op: Operation, volume: NewVolume, parent: VolumeMetadata | null, signal: AbortSignal) {
  const path = op.storageDomain.volumes.path(volume)
  const { capacity: size, format: kind, parentId } = volume.metadata
  if (op.storageDomain.volumes.onBlock && kind === 'raw') return
  if (parent === null || parentId === null) {
    await qemuImg(op.run, { kind: 'createBase', format: kind, path, size }, signal)
  } else {
    await qemuImg(op.run, { kind: 'createChild', path, size, parentId, parentFormat: parent.format }, signal)
  }
}

function invalid(description: string): Fault {
  return new Fault('INVALID_REQUEST', description, { violations: [{ field: 'capacity', description }] })
}
