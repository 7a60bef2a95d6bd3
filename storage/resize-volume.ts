import { crashpoint, idempotent } from '../common/crashpoint.js'
import { Fault } from '../common/fault.js'
import { bytes, type Bytes } from '../common/units.js'
import type { VolumeMetadata } from './format/volume-metadata.js'
import { childrenIn, type Operation, qemuImg, readImage, roundCapacity, throwIfIllegal } from './operation.js'
import type { Place } from './storage-domain.js'

export type ResizeVolume = Place & { capacity: Bytes }

/**
 * Makes the size that the guest sees larger, while no VM uses it. Of a qcow2 volume the capacity in the record
 * is 0 in between: whoever finds that reads the real one from the header (repairCapacity).
 */
export async function resizeVolume(
  op: Operation,
  request: ResizeVolume,
  signal: AbortSignal
): Promise<VolumeMetadata> {
  const { volumes, leases } = op.storageDomain
  await using manager = await leases.asManager(signal)
  void manager

  const volume = await volumes.read(request)
  const to = volumes.capacityFor(roundCapacity(request.capacity), volume.format)
  throwIfIllegal(volume, request)
  await throwIfNotLeaf(op, volume, request)
  if (volume.capacity === to) return volume
  if (volume.capacity > to) throw smaller(volume, to)

  const path = volumes.path(request)
  await volumes.reach([request], signal)
  if (volume.format === 'raw') {
    await idempotent('volume.resize/grow', () => volumes.grow(request, to, volume, signal))
  } else {
    if (volumes.onBlock && volume.allocation === 'preallocated') {
      await volumes.grow(request, to, volume, signal)
    }
    await idempotent('volume.resize/unknown', () => {
      return volumes.write(request, { ...volume, capacity: bytes(0) }, 'volume.resize/unknown')
    })
    await idempotent('volume.resize/header', () =>
      qemuImg(op.run, { kind: 'resize', path, size: to }, signal)
    )
    await volumes.flush(request)
  }
  const resized = { ...volume, capacity: to }
  await idempotent('volume.resize/metadata', () => volumes.write(request, resized, 'volume.resize/metadata'))
  await volumes.letGo(request.imageId)
  await crashpoint('volume.resize/done')
  op.log.info({ volume: request.volumeId, capacity: to }, 'volume resized')
  return resized
}

async function throwIfNotLeaf(
  op: Operation,
  volume: VolumeMetadata,
  { imageId, volumeId }: Place
): Promise<void> {
  const image = await readImage(op.storageDomain, imageId)
  if (volume.role === 'leaf' && childrenIn(image, volumeId).length === 0) return
  throw new Fault('WRONG_STATE', `volume ${volumeId} is not the leaf of its image`)
}

function smaller(volume: VolumeMetadata, to: Bytes): Fault {
  const description = `a capacity of ${to} is smaller than the present ${volume.capacity}`
  return new Fault('INVALID_REQUEST', description, { violations: [{ field: 'capacity', description }] })
}
