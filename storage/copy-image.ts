import { crashpoint, idempotent } from '../common/crashpoint.js'
import { type Bytes, bytes } from '../common/units.js'
import { createVolume } from './create-volume.js'
import { dataProgram, type DataProgram } from './data-program.js'
import {
  type AllocationPolicy,
  type DiskContent,
  nextGeneration,
  type VolumeFormat,
  type VolumeMetadata
} from './format/volume-metadata.js'
import { type Operation, qemuImg } from './operation.js'
import { virtualSize } from './qcow2-head.js'
import { type ConvertInto, type Layer, qemuImgCall } from './qemu-img-args.js'
import type { Sanlock } from './sanlock.js'
import type { Place } from './storage-domain.js'
import { verifyChain } from './verify-chain.js'

// Copies a chain into one new volume, maybe of another storage domain:
//
//   source   the chain is checked; nobody writes it meanwhile (the image's lock)
//   begin    the target is created, illegal
//   data     qemu-img convert, holding the target's lease
//   finish   legal and generation 1, in one write

export type CopySource = Place
export type CopyPlan = { from: Layer; capacity: Bytes; diskContent: DiskContent }

export type CopyTarget = Place & {
  format: VolumeFormat
  allocation: AllocationPolicy
  /** Whether it becomes a template's volume. */
  shared: boolean
  description: string
}
export type BeginCopy = CopyTarget & { source: CopyPlan }

export async function copySource(op: Operation, place: CopySource): Promise<CopyPlan> {
  const [top] = await verifyChain(op, place)
  const { capacity, diskContent, format } = top.metadata
  return { from: { format, path: op.storageDomain.volumes.path(place) }, capacity, diskContent }
}

/** Null when an earlier attempt has finished. */
export async function beginCopy(
  op: Operation,
  request: BeginCopy,
  sanlock: Sanlock,
  signal: AbortSignal
): Promise<DataProgram | null> {
  const target = await createTarget(op, request, request.source.capacity, request.source.diskContent, signal)
  if (target.legality === 'legal') return null
  const to = { format: request.format, path: op.storageDomain.volumes.path(request) }
  const call = qemuImgCall({
    kind: 'convert',
    from: request.source.from,
    to,
    into: intoFile(target),
    bitmaps: false
  })
  await crashpoint('image.copy/begun')
  const lease = op.storageDomain.identity.shared ? op.storageDomain.leases.volumeResource(request) : null
  return dataProgram(call, lease, sanlock)
}

/** A new image's only volume, illegal until its data has come. */
export async function createTarget(
  op: Operation,
  { imageId, volumeId, format, allocation, description }: Omit<CopyTarget, 'shared'>,
  capacity: Bytes,
  diskContent: DiskContent,
  signal: AbortSignal
): Promise<VolumeMetadata> {
  const volume = { imageId, volumeId, format, allocation, description, capacity, diskContent }
  return createVolume(op, { ...volume, parent: null, legal: false }, signal)
}

export function intoFile({ format, allocation }: VolumeMetadata): ConvertInto {
  return format === 'raw' && allocation === 'preallocated' ? { kind: 'zeroFile' } : { kind: 'newFile' }
}

export async function finishCopy(
  op: Operation,
  target: CopyTarget,
  signal: AbortSignal
): Promise<VolumeMetadata> {
  const { volumes, leases } = op.storageDomain
  await using manager = await leases.asManager(signal)
  void manager

  const volume = await volumes.read(target)
  if (volume.legality === 'legal') return volume
  if (volume.format === 'qcow2' && volume.allocation === 'preallocated') {
    const whole = { ...target, parent: null, metadata: volume }
    await idempotent('image.copy/allocate', () => volumes.allocate(whole, signal))
  }
  await idempotent('image.copy/whole', () => growToCapacity(op, target, volume, signal))
  await idempotent('image.copy/flush', () => volumes.flush(target))
  const { physical } = await volumes.usage(target)
  const done: VolumeMetadata = {
    ...volume,
    capacity: volume.format === 'raw' ? bytes(Math.max(volume.capacity, physical)) : volume.capacity,
    role: target.shared ? 'shared' : 'leaf',
    legality: 'legal',
    generation: nextGeneration(volume.generation)
  }
  await idempotent('image.copy/publish', () => volumes.write(target, done, 'image.copy/publish'))
  await crashpoint('image.copy/done')
  op.log.info({ volume: target.volumeId, image: target.imageId }, 'image copied')
  return done
}

/** A source that does not end on a page leaves less than the capacity, which is rounded up to one. */
async function growToCapacity(op: Operation, place: Place, volume: VolumeMetadata, signal: AbortSignal) {
  const { volumes } = op.storageDomain
  if (volume.format === 'raw') return volumes.grow(place, volume.capacity, volume, signal)
  const path = volumes.path(place)
  const size = await virtualSize(path)
  if (size >= volume.capacity) return
  await qemuImg(op.run, { kind: 'resize', path, size: volume.capacity }, signal)
}
