import { crashpoint, idempotent } from '../common/crashpoint.js'
import { Fault } from '../common/fault.js'
import { nextGeneration, type VolumeMetadata } from './format/volume-metadata.js'
import { type Operation, readImage, throwIfIllegal } from './operation.js'
import type { Place } from './storage-domain.js'

/** Makes the only volume of an image a template's volume, in one write: never written again, free to be a parent. */
export async function shareVolume(op: Operation, place: Place, signal: AbortSignal): Promise<VolumeMetadata> {
  const { volumes, leases } = op.storageDomain
  await using manager = await leases.asManager(signal)
  void manager

  const volume = await volumes.read(place)
  if (volume.role === 'shared') return volume
  throwIfIllegal(volume, place)
  const image = await readImage(op.storageDomain, place.imageId)
  if (volume.parentId !== null || image.size > 1) {
    throw new Fault(
      'WRONG_STATE',
      `volume ${place.volumeId} is not the only one of its image; copy it instead`
    )
  }
  const shared = { ...volume, role: 'shared' as const, generation: nextGeneration(volume.generation) }
  await idempotent('volume.share/metadata', () => volumes.write(place, shared, 'volume.share/metadata'))
  await crashpoint('volume.share/done')
  return shared
}
