import { crashpoint, idempotent } from '../common/crashpoint.js'
import { Fault } from '../common/fault.js'
import { childrenOf, roleOf } from './chain.js'
import type { VolumeMetadata } from './format/volume-metadata.js'
import type { Operation } from './operation.js'
import { backingOf } from './qcow2-head.js'
import { removeVolume } from './remove-volume.js'
import type { Place } from './storage-domain.js'

export type Swept = {
  /** What was finished, undone or removed, in words. */
  done: string[]
  /** What only a person or the request that began it may decide: illegal volumes, damaged metadata. */
  reported: string[]
}

/**
 * Carries on with what a crash left, alone among all hosts: what was published is finished, what was not is
 * removed. Never touches data that somebody may still want.
 */
export async function sweep(op: Operation, signal: AbortSignal): Promise<Swept> {
  const { volumes, leases } = op.storageDomain
  const swept: Swept = { done: [], reported: [] }
  await using manager = await leases.asManager(signal)
  void manager

  for (const removed of await volumes.removed()) {
    await volumes.purge(removed, signal)
    swept.done.push(`image ${removed.imageId}: removed for good`)
  }
  swept.done.push(...(await volumes.tidy(signal)))
  await crashpoint('storage-domain.sweep/images')
  for (const imageId of await volumes.imageIds()) {
    signal.throwIfAborted()
    await sweepImage(op, imageId, swept, signal)
  }
  if (await leases.repairVmLeases(signal)) swept.done.push('the index of VM leases was rebuilt')
  await crashpoint('storage-domain.sweep/done')
  if (swept.done.length > 0) op.log.info(swept, 'storage domain swept')
  return swept
}

async function sweepImage(op: Operation, imageId: string, swept: Swept, signal: AbortSignal): Promise<void> {
  const { volumes } = op.storageDomain
  for (const name of await volumes.removeLeftovers(imageId)) {
    swept.done.push(`image ${imageId}: rest of an unfinished creation removed (${name})`)
  }
  const image = await readWhatCanBe(op, imageId, swept)
  for (const [volumeId, metadata] of image) {
    if (metadata.imageId !== imageId) continue
    await sweepVolume(op, { imageId, volumeId }, metadata, image, swept, signal)
  }
}

async function readWhatCanBe(
  op: Operation,
  imageId: string,
  swept: Swept
): Promise<Map<string, VolumeMetadata>> {
  const found = new Map<string, VolumeMetadata>()
  for (const volumeId of (await op.storageDomain.volumes.volumeIds(imageId)) ?? []) {
    try {
      found.set(volumeId, await op.storageDomain.volumes.read({ imageId, volumeId }))
    } catch (error) {
      if (!Fault.is(error, 'CORRUPT')) throw error
      swept.reported.push(`volume ${volumeId}: ${error.message}`)
    }
  }
  return found
}

type Image = Map<string, VolumeMetadata>

async function sweepVolume(
  op: Operation,
  place: Place,
  metadata: VolumeMetadata,
  image: Image,
  swept: Swept,
  signal: AbortSignal
) {
  const { volumes } = op.storageDomain
  const children = childrenOf(place.volumeId, image)
  if (metadata.role === 'shared') {
    for (const imageId of await volumes.sharers(place)) await volumes.share(place, imageId)
    return
  }
  if (metadata.legality === 'illegal') {
    await sweepIllegal(op, place, metadata, image, children, swept, signal)
    return
  }
  const role = roleOf(metadata, children.length > 0)
  if (role === metadata.role) return
  if (role === 'leaf' && hasLeafBeside(place.volumeId, metadata, image)) {
    // A live merge took it out of the chain, and whoever began the merge has not removed it yet.
    swept.reported.push(`volume ${place.volumeId} is not in the chain of its image any more`)
    return
  }
  await idempotent('storage-domain.sweep/role', () =>
    volumes.write(place, { ...metadata, role }, 'storage-domain.sweep/role')
  )
  image.set(place.volumeId, { ...metadata, role })
  swept.done.push(`volume ${place.volumeId}: role corrected to ${role}`)
}

function hasLeafBeside(volumeId: string, { imageId }: VolumeMetadata, image: Image): boolean {
  return [...image].some(
    ([id, other]) =>
      id !== volumeId && other.imageId === imageId && other.role === 'leaf' && other.legality === 'legal'
  )
}

/**
 * Only a merge makes an inner volume illegal, after its data went into its parent. If its child's header still
 * names it, the merge is taken back: it is legal again. If not, the merge goes on: it leaves the chain.
 */
async function sweepIllegal(
  op: Operation,
  place: Place,
  metadata: VolumeMetadata,
  image: Image,
  children: string[],
  swept: Swept,
  signal: AbortSignal
) {
  const { volumes } = op.storageDomain
  if (metadata.role === 'leaf' && metadata.parentId === null && image.size > 1) {
    await removeVolume(op, place, signal)
    swept.done.push(`volume ${place.volumeId}: removal finished`)
    image.delete(place.volumeId)
    return
  }
  if (metadata.role !== 'internal' || metadata.parentId === null) {
    if (metadata.role === 'internal' && children.length === 0)
      return finishRemoval(op, place, image, swept, signal)
    swept.reported.push(`volume ${place.volumeId} is illegal: an operation on it did not end`)
    return
  }
  for (const childId of children) {
    const child = { imageId: place.imageId, volumeId: childId }
    const record = await volumes.read(child)
    await volumes.reach([child], signal)
    const backing = await backingOf(volumes, child)
    await volumes.letGo(child.imageId)
    if (backing === place.volumeId) {
      const legal: VolumeMetadata = { ...metadata, legality: 'legal' }
      await idempotent('storage-domain.sweep/legal', () =>
        volumes.write(place, legal, 'storage-domain.sweep/legal')
      )
      image.set(place.volumeId, legal)
      swept.done.push(`volume ${place.volumeId}: its merge was taken back`)
      return
    }
    if (backing !== metadata.parentId) {
      swept.reported.push(`volume ${childId}: its header names ${backing ?? 'no parent'}`)
      return
    }
    const onto: VolumeMetadata = { ...record, parentId: metadata.parentId }
    await idempotent('storage-domain.sweep/child', () =>
      volumes.write(child, onto, 'storage-domain.sweep/child')
    )
    image.set(childId, onto)
  }
  await finishRemoval(op, place, image, swept, signal)
}

async function finishRemoval(op: Operation, place: Place, image: Image, swept: Swept, signal: AbortSignal) {
  await removeVolume(op, place, signal)
  image.delete(place.volumeId)
  swept.done.push(`volume ${place.volumeId}: its merge was finished`)
}
