import { crashpoint, idempotent } from '../common/crashpoint.js'
import { Fault } from '../common/fault.js'
import type { Operation } from './operation.js'
import { readImage } from './operation.js'

export type RemoveImage = { imageId: string; wipe: boolean }

/** Marking is one atomic act; from then on the image is gone, and only its space is still to be given back. */
export async function removeImage(
  op: Operation,
  { imageId, wipe }: RemoveImage,
  signal: AbortSignal
): Promise<void> {
  const { volumes, leases } = op.storageDomain
  await using manager = await leases.asManager(signal)
  void manager

  if ((await volumes.volumeIds(imageId)) !== null) {
    await throwIfUsed(op, imageId)
    await idempotent('image.remove/mark', () => volumes.markRemoved(imageId, wipe, 'image.remove/mark'))
    op.log.info({ image: imageId }, 'image removed')
  }
  await crashpoint('image.remove/marked')
  for (const removed of await volumes.removed()) {
    if (removed.imageId === imageId) await volumes.purge(removed, signal)
  }
  await crashpoint('image.remove/done')
}

async function throwIfUsed(op: Operation, imageId: string): Promise<void> {
  const image = await readImage(op.storageDomain, imageId).catch((error: unknown) => {
    // A damaged record must not make an image immortal: what cannot be read is not a template either.
    if (Fault.is(error, 'CORRUPT')) return new Map()
    throw error
  })
  for (const [volumeId, metadata] of image) {
    if (metadata.role !== 'shared' || metadata.imageId !== imageId) continue
    const users = await op.storageDomain.volumes.sharers({ imageId, volumeId })
    if (users.length === 0) continue
    throw new Fault('WRONG_STATE', `image ${imageId} is a template that image ${users[0]} was made from`, {
      facts: { imageId, users: String(users.length) }
    })
  }
}
