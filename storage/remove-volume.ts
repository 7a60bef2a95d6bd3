import { crashpoint, idempotent } from '../common/crashpoint.js'
import { Fault } from '../common/fault.js'
import { childrenIn, type Operation, readImage } from './operation.js'
import type { Place } from './storage-domain.js'

/**
 * Removes one volume of a chain. Nobody may have it as parent. After each act a crash leaves something that the
 * same call carries on with: illegal and still in the chain, illegal beside the chain, or only files.
 */
export async function removeVolume(op: Operation, place: Place, signal: AbortSignal): Promise<void> {
  const { volumes, leases } = op.storageDomain
  await using manager = await leases.asManager(signal)
  void manager

  const image = await readImage(op.storageDomain, place.imageId)
  const volume = image.get(place.volumeId)
  if (volume === undefined) {
    await volumes.removeLeftovers(place.imageId)
    return
  }
  if (volume.role === 'shared')
    throw new Fault('WRONG_STATE', `volume ${place.volumeId} belongs to a template`)
  const [child] = childrenIn(image, place.volumeId)
  if (child !== undefined)
    throw new Fault('WRONG_STATE', `volume ${place.volumeId} is the parent of ${child}`)

  if (volume.legality !== 'illegal') {
    await volumes.write(place, { ...volume, legality: 'illegal' }, 'volume.remove/illegal')
  }
  await idempotent('volume.remove/unlink-parent', () => {
    return volumes.write(
      place,
      { ...volume, legality: 'illegal', parentId: null },
      'volume.remove/unlink-parent'
    )
  })
  const parent = volume.parentId === null ? undefined : image.get(volume.parentId)
  if (
    volume.parentId !== null &&
    parent?.role === 'internal' &&
    onlyChild(image, volume.parentId, place.volumeId)
  ) {
    const above = { imageId: place.imageId, volumeId: volume.parentId }
    await idempotent('volume.remove/parent-leaf', () => {
      return volumes.write(above, { ...parent, role: 'leaf' }, 'volume.remove/parent-leaf')
    })
  }
  await idempotent('volume.remove/files', () => volumes.remove(place, 'volume.remove/files'))
  await crashpoint('volume.remove/done')
  op.log.info({ volume: place.volumeId, image: place.imageId }, 'volume removed')
}

function onlyChild(
  image: Awaited<ReturnType<typeof readImage>>,
  parentId: string,
  volumeId: string
): boolean {
  return childrenIn(image, parentId).every(child => child === volumeId)
}
