import { crashpoint, idempotent } from '../common/crashpoint.js'
import { Fault } from '../common/fault.js'
import { type Bytes, bytes } from '../common/units.js'
import { roleOf } from './chain.js'
import { dataProgram, type DataProgram } from './data-program.js'
import { nextGeneration, type VolumeMetadata } from './format/volume-metadata.js'
import { optimalSize } from './format/volume-sizes.js'
import { childrenIn, type Operation, qemuImg, readImage, throwIfIllegal } from './operation.js'
import { qemuImgCall } from './qemu-img-args.js'
import { removeVolume } from './remove-volume.js'
import type { Sanlock } from './sanlock.js'
import type { Place } from './storage-domain.js'
import { verifyChain } from './verify-chain.js'

// Folds a volume (top) into its parent (base) while no VM uses the image:
//
//   begin    base is made as large as top
//   data     qemu-img commit: what top has is written to base. The chain is right at every moment of it, since
//            top still covers what base has only half
//   finish   base generation + 1 · top illegal · child onto base, in its header, then in its record · top removed
//
// A repeat begins where the state says: no top = done, top illegal = finish, else the data once more.

export type MergeVolumes = { imageId: string; topId: string; baseId: string }

export async function beginMerge(
  op: Operation,
  request: MergeVolumes,
  sanlock: Sanlock,
  signal: AbortSignal
): Promise<DataProgram | null> {
  const { imageId, topId, baseId } = request
  const { volumes, leases } = op.storageDomain
  await using manager = await leases.asManager(signal)
  void manager

  const image = await readImage(op.storageDomain, imageId)
  const base = image.get(baseId)
  if (base === undefined) throw new Fault('VOLUME_NOT_FOUND', `no volume ${baseId} in image ${imageId}`)
  const top = image.get(topId)
  // Then there is nothing more to copy: finishMerge sees what is left to do.
  if (top === undefined || top.legality === 'illegal') return null
  throwIfNotAdjacent({ imageId, topId, baseId }, top, base)
  await verifyChain(op, { imageId, volumeId: topId }, signal)

  const place = { imageId, volumeId: baseId }
  if (base.capacity < top.capacity) {
    await idempotent('volume.merge/grow', () => growBase(op, place, base, top.capacity, signal))
    const grown = { ...base, capacity: top.capacity }
    await idempotent('volume.merge/capacity', () => volumes.write(place, grown, 'volume.merge/capacity'))
  }
  if (volumes.onBlock && base.format === 'qcow2') {
    await idempotent('volume.merge/room', () => makeRoom(op, request, base, top.role === 'leaf', signal))
  }
  const paths = { top: volumes.path({ imageId, volumeId: topId }), base: volumes.path(place) }
  const lease = op.storageDomain.identity.shared ? await leases.volumeResource(place) : null
  await crashpoint('volume.merge/begun')
  return dataProgram(qemuImgCall({ kind: 'commit', ...paths }), lease, sanlock)
}

/** First the data, then the record: a header that has more than its record is repaired, less is damage. */
async function growBase(op: Operation, place: Place, base: VolumeMetadata, to: Bytes, signal: AbortSignal) {
  const { volumes } = op.storageDomain
  if (base.format === 'raw') return volumes.grow(place, to, base, signal)
  await qemuImg(op.run, { kind: 'resize', path: volumes.path(place), size: to }, signal)
  await volumes.flush(place)
}

/** A qcow2 base on block storage holds what both together need before anything is written to it. */
async function makeRoom(
  op: Operation,
  { imageId, topId, baseId }: MergeVolumes,
  base: VolumeMetadata,
  isLeaf: boolean,
  signal: AbortSignal
) {
  const { volumes } = op.storageDomain
  const layer = { format: base.format, path: volumes.path({ imageId, volumeId: baseId }) }
  const measure = { onBlock: true, inUse: false, depth: { kind: 'pair' as const, base: layer } }
  const path = volumes.path({ imageId, volumeId: topId })
  const said = JSON.parse(await qemuImg(op.run, { kind: 'measure', path, ...measure }, signal)) as {
    required: number
    bitmaps?: number
  }
  const to = optimalSize(bytes(said.required + (said.bitmaps ?? 0)), base.capacity, isLeaf)
  const [extended] = await volumes.extend([{ volumeId: baseId, to }], signal)
  if (extended?.failure) throw new Fault(extended.failure.reason, extended.failure.text)
  await volumes.refresh([baseId], signal)
}

function throwIfNotAdjacent(
  { imageId, topId, baseId }: MergeVolumes,
  top: VolumeMetadata,
  base: VolumeMetadata
) {
  if (top.imageId !== imageId || base.imageId !== imageId || base.role === 'shared') {
    throw new Fault('WRONG_STATE', `volume ${baseId} belongs to a template and is never written`)
  }
  if (top.parentId !== baseId) {
    throw new Fault('WRONG_STATE', `volume ${baseId} is not the parent of volume ${topId}`)
  }
  throwIfIllegal(base, { imageId, volumeId: baseId })
}

/** After the data is in base. May be repeated at any point of it. */
export async function finishMerge(op: Operation, request: MergeVolumes, signal: AbortSignal): Promise<void> {
  const { imageId, topId, baseId } = request
  const { volumes, leases } = op.storageDomain
  await using manager = await leases.asManager(signal)
  void manager

  const image = await readImage(op.storageDomain, imageId)
  const top = image.get(topId)
  const base = image.get(baseId)
  if (base === undefined) throw new Fault('VOLUME_NOT_FOUND', `no volume ${baseId} in image ${imageId}`)
  if (top === undefined) return recheckBase(op, { imageId, volumeId: baseId })
  const places = { top: { imageId, volumeId: topId }, base: { imageId, volumeId: baseId } }
  const all = [...image.keys()].map(volumeId => ({ imageId, volumeId }))
  await volumes.reach(all, signal)

  if (top.legality !== 'illegal') {
    await volumes.flush(places.base)
    const merged = { ...base, generation: nextGeneration(base.generation) }
    await idempotent('volume.merge/generation', () =>
      volumes.write(places.base, merged, 'volume.merge/generation')
    )
    const old: VolumeMetadata = { ...top, legality: 'illegal' }
    await idempotent('volume.merge/top-illegal', () =>
      volumes.write(places.top, old, 'volume.merge/top-illegal')
    )
  }
  for (const childId of childrenIn(image, topId)) {
    await ontoBase(op, { imageId, volumeId: childId }, baseId, base, signal)
  }
  await crashpoint('volume.merge/remove-top')
  await removeVolume(op, places.top, signal)
  await recheckBase(op, places.base)
  await volumes.letGo(imageId)
  await crashpoint('volume.merge/done')
  op.log.info({ image: imageId, top: topId, base: baseId }, 'volumes merged')
}

/** An earlier attempt may have ended between taking top out of the chain and making base its leaf. */
async function recheckBase(op: Operation, place: Place): Promise<void> {
  const image = await readImage(op.storageDomain, place.imageId)
  const base = image.get(place.volumeId)
  if (base === undefined) return
  const role = roleOf(base, childrenIn(image, place.volumeId).length > 0)
  if (role !== base.role)
    await op.storageDomain.volumes.write(place, { ...base, role }, 'volume.merge/base-role')
}

async function ontoBase(
  op: Operation,
  child: Place,
  baseId: string,
  base: VolumeMetadata,
  signal: AbortSignal
) {
  const { volumes } = op.storageDomain
  const path = volumes.path(child)
  await idempotent('volume.merge/rebase', () => {
    return qemuImg(
      op.run,
      { kind: 'rebaseHeader', path, parentId: baseId, parentFormat: base.format },
      signal
    )
  })
  await volumes.flush(child)
  const record = await volumes.read(child)
  await idempotent('volume.merge/child', () => {
    return volumes.write(child, { ...record, parentId: baseId }, 'volume.merge/child')
  })
}
