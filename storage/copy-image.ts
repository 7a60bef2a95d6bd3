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
import { defaultChunk, largestOnBlock } from './format/volume-sizes.js'
import type { Run } from '../common/run.js'
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
export type CopyPlan = {
  from: Layer
  capacity: Bytes
  diskContent: DiskContent
  /** What a qcow2 copy of it needs. */
  required: Bytes
}

export type CopyTarget = Place & {
  format: VolumeFormat
  allocation: AllocationPolicy
  /** Whether it becomes a template's volume. */
  shared: boolean
  description: string
}
export type BeginCopy = CopyTarget & { source: CopyPlan }

export async function copySource(op: Operation, place: CopySource, signal: AbortSignal): Promise<CopyPlan> {
  const [top] = await verifyChain(op, place, signal)
  const { capacity, diskContent, format } = top.metadata
  const from = { format, path: op.storageDomain.volumes.path(place) }
  return { from, capacity, diskContent, required: await measuredSize(op.run, from, signal) }
}

/** After the data has been read, or will not be. */
export async function copySourceEnd(op: Operation, { imageId }: { imageId: string }): Promise<void> {
  await op.storageDomain.volumes.letGo(imageId)
}

async function measuredSize(run: Run, { format, path }: Layer, signal: AbortSignal): Promise<Bytes> {
  const text = await qemuImg(run, { kind: 'measureChain', format, path }, signal)
  return requiredIn(text)
}

/** Out of what `qemu-img measure` says. */
export function requiredIn(json: string): Bytes {
  const said = JSON.parse(json) as { required?: unknown; bitmaps?: unknown }
  return bytes(Number(said.required ?? 0) + Number(said.bitmaps ?? 0))
}

/** Null when an earlier attempt has finished. */
export async function beginCopy(
  op: Operation,
  request: BeginCopy,
  sanlock: Sanlock,
  signal: AbortSignal
): Promise<DataProgram | null> {
  const { capacity, diskContent, required } = request.source
  const initialSize = op.storageDomain.volumes.onBlock ? roomFor(request, capacity, required) : undefined
  const target = await createTarget(op, request, { capacity, diskContent, initialSize }, signal)
  if (target.legality === 'legal') return null
  await op.storageDomain.volumes.reach([request], signal)
  const to = { format: request.format, path: op.storageDomain.volumes.path(request) }
  const call = qemuImgCall({
    kind: 'convert',
    from: request.source.from,
    to,
    into: intoVolume(op, target),
    bitmaps: false
  })
  await crashpoint('image.copy/begun')
  const lease = op.storageDomain.identity.shared
    ? await op.storageDomain.leases.volumeResource(request)
    : null
  return dataProgram(call, lease, sanlock)
}

/** A chunk more than the copy needs is for what comes after it. A thin volume gets a tenth more than is asked for. */
export function roomFor(
  { format, allocation }: CopyTarget,
  capacity: Bytes,
  required: Bytes
): Bytes | undefined {
  if (format === 'raw') return undefined
  const most = largestOnBlock(capacity)
  if (allocation === 'preallocated') return bytes(Math.min(Math.max(capacity, required), most))
  return bytes(Math.ceil(Math.min(required + defaultChunk, most) / 1.1))
}

/** A new image's only volume, illegal until its data has come. */
export async function createTarget(
  op: Operation,
  { imageId, volumeId, format, allocation, description }: Omit<CopyTarget, 'shared'>,
  source: { capacity: Bytes; diskContent: DiskContent; initialSize: Bytes | undefined },
  signal: AbortSignal
): Promise<VolumeMetadata> {
  const volume = { imageId, volumeId, format, allocation, description, ...source }
  return createVolume(op, { ...volume, parent: null, legal: false }, signal)
}

export function intoVolume(op: Operation, { format, allocation }: VolumeMetadata): ConvertInto {
  if (op.storageDomain.volumes.onBlock) return format === 'raw' ? { kind: 'device' } : { kind: 'newFile' }
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
  await volumes.reach([target], signal)
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
  await volumes.letGo(target.imageId)
  await crashpoint('image.copy/done')
  op.log.info({ volume: target.volumeId, image: target.imageId }, 'image copied')
  return done
}

/** A source that does not end on a page leaves less than the capacity, which is rounded up to one. */
async function growToCapacity(op: Operation, place: Place, volume: VolumeMetadata, signal: AbortSignal) {
  const { volumes } = op.storageDomain
  if (volume.format === 'raw') return volumes.grow(place, volume.capacity, volume, signal)
  const path = volumes.path(place)
  const size = await virtualSize(volumes, place)
  if (size >= volume.capacity) return
  await qemuImg(op.run, { kind: 'resize', path, size: volume.capacity }, signal)
}
