import { Fault } from '../../common/fault.js'
import { leaseName } from '../audit-storage-domain.js'
import { childrenOf, readChain, roleOf } from '../chain.js'
import { readDirect } from '../direct-io.js'
import { ifThere } from '../files.js'
import type { VolumeMetadata } from '../format/volume-metadata.js'
import type { Operation } from '../operation.js'
import { backingOf, virtualSize } from '../qcow2-head.js'
import type { Place } from '../storage-domain.js'
import { type Diagnosis, type RepairKind, unrepaired } from './diagnosis.js'

// What is wrong with one image: its records held against the data, which is what a guest really sees. A raw volume
// is never looked into, since a guest may have written anything there.

type Image = Map<string, VolumeMetadata>

export async function diagnoseImage(
  op: Operation,
  imageId: string,
  owned: ReadonlySet<string>,
  signal: AbortSignal
): Promise<Diagnosis[]> {
  const { volumes } = op.storageDomain
  const found: Diagnosis[] = []
  const leftovers = await volumes.leftovers(imageId)
  const hasRecord = (name: string) => leftovers.includes(`${name.slice(0, 36)}.meta`)
  for (const name of leftovers) {
    const text = `image ${imageId} holds ${name}, which belongs to no volume`
    const object = name.slice(0, 36)
    if (name.endsWith('.meta'))
      found.push(unrepaired(object, imageId, `the data of volume ${object} is missing`, 'it is lost'))
    else if (!hasRecord(name)) found.push({ kind: 'sweep', object, imageId, text, plan: 'it is removed' })
  }
  const image: Image = new Map()
  const ids = (await volumes.volumeIds(imageId)) ?? []
  if (ids.some(id => owned.has(id))) return []
  for (const volumeId of ids) {
    try {
      image.set(volumeId, await volumes.read({ imageId, volumeId }))
    } catch (error) {
      if (!Fault.is(error, 'CORRUPT')) throw error
      found.push(unrepaired(volumeId, imageId, error.message))
    }
  }
  if (ids.length === 0 && found.some(({ kind }) => kind === null)) return found
  if (ids.length === 0) {
    const text = `image ${imageId} has no volume`
    found.push({ kind: 'sweep', object: imageId, imageId, text, plan: 'its directory is removed' })
    return found
  }
  const own = [...image].filter(([, metadata]) => metadata.imageId === imageId)
  await volumes.reach(
    own.map(([volumeId]) => ({ imageId, volumeId })),
    signal
  )
  try {
    for (const [volumeId] of own) {
      signal.throwIfAborted()
      found.push(...(await diagnoseVolume(op, { imageId, volumeId }, image)))
    }
  } finally {
    await volumes.letGo(imageId)
  }
  if (found.length === 0 && image.size === ids.length) found.push(...brokenChain(imageId, image))
  return found
}

/** What no repair of a single volume explains. */
function brokenChain(imageId: string, image: Image): Diagnosis[] {
  const reading = readChain(imageId, image)
  if (reading.kind === 'broken') {
    return reading.problems.map(({ volumeId, text }) => unrepaired(volumeId ?? imageId, imageId, text))
  }
  return reading.chain.leftovers.map(id =>
    unrepaired(id, imageId, `volume ${id} of image ${imageId} is no part of its chain`)
  )
}

async function diagnoseVolume(op: Operation, place: Place, image: Image): Promise<Diagnosis[]> {
  const metadata = image.get(place.volumeId)
  if (metadata === undefined) return []
  const problems = [
    await wrongLegality(op, place, metadata, image),
    await wrongParent(op, place, metadata, image),
    wrongRole(place, metadata, image),
    await wrongSize(op, place, metadata),
    await wrongLease(op, place)
  ]
  return problems.flatMap(problem => problem ?? [])
}

const made = ({ imageId, volumeId }: Place, kind: RepairKind, text: string, plan: string): Diagnosis => ({
  kind,
  object: volumeId,
  imageId,
  text: `volume ${volumeId} ${text}`,
  plan
})

async function wrongLegality(
  op: Operation,
  place: Place,
  metadata: VolumeMetadata,
  image: Image
): Promise<Diagnosis | null> {
  if (metadata.legality !== 'illegal') return null
  const { volumeId } = place
  const text = 'is illegal: an operation on it did not end'
  const own = [...image.values()].filter(({ imageId }) => imageId === place.imageId)
  if (own.length === 1 && metadata.generation === 0 && metadata.role !== 'shared') {
    return made(place, 'removeUnfinished', 'was never finished', 'its image is removed')
  }
  const isInner = metadata.role === 'internal' && metadata.parentId !== null
  const isBesideChain = metadata.role === 'leaf' && metadata.parentId === null && own.length > 1
  if (isInner || isBesideChain) return made(place, 'sweep', text, "the data's headers tell how it ends")
  const isSound = metadata.format === 'raw' || (await backing(op, place)) === metadata.parentId
  if (isSound) return made(place, 'makeLegal', text, 'it is legal again: its data is as its record says')
  return unrepaired(volumeId, place.imageId, `volume ${volumeId} ${text}, and its data names another parent`)
}

/** The parent in the header, undefined where there is no header to read. */
async function backing(op: Operation, place: Place): Promise<string | null | undefined> {
  const { volumes } = op.storageDomain
  return (await virtualSize(volumes, place)) === 0 ? undefined : backingOf(volumes, place)
}

async function wrongParent(
  op: Operation,
  place: Place,
  { format, parentId, legality }: VolumeMetadata,
  image: Image
): Promise<Diagnosis | null> {
  if (format === 'raw' || legality === 'illegal') return null
  const real = await backing(op, place)
  const { volumeId, imageId } = place
  if (real === undefined) return unrepaired(volumeId, imageId, `volume ${volumeId} is no qcow2 image`)
  if (real === parentId) return null
  // A merge that was cut off before the record: the sweep sees it by the illegal volume between.
  if (parentId !== null && image.get(parentId)?.legality === 'illegal') return null
  const says = `has ${parentId ?? 'no parent'} in its record and ${real ?? 'none'} in its data`
  if (real !== null && (!image.has(real) || isAbove(volumeId, real, image))) {
    return unrepaired(
      volumeId,
      imageId,
      `volume ${volumeId} ${says}, which is not there`,
      'what it needs is lost'
    )
  }
  return made(place, 'correctParent', says, `its record names ${real ?? 'no parent'}`)
}

/** Whether a volume is among the ancestors of another: it cannot become its child. */
function isAbove(volumeId: string, other: string, image: Image): boolean {
  for (let at: string | null = other, left = image.size; at !== null && left >= 0; left--) {
    if (at === volumeId) return true
    at = image.get(at)?.parentId ?? null
  }
  return false
}

function wrongRole(place: Place, metadata: VolumeMetadata, image: Image): Diagnosis | null {
  const role = roleOf(metadata, childrenOf(place.volumeId, image).length > 0)
  if (role === metadata.role || metadata.legality === 'illegal') return null
  const another = [...image].some(
    ([id, { role: its, imageId }]) => id !== place.volumeId && its === 'leaf' && imageId === place.imageId
  )
  if (role === 'leaf' && another) {
    return unrepaired(place.volumeId, place.imageId, `volume ${place.volumeId} is no part of its chain`)
  }
  return made(place, 'sweep', `is ${metadata.role}, not ${role}`, 'its role is corrected')
}

async function wrongSize(
  op: Operation,
  place: Place,
  { format, capacity, legality }: VolumeMetadata
): Promise<Diagnosis | null> {
  const { volumes } = op.storageDomain
  if (legality === 'illegal') return null
  if (format === 'raw') {
    const { physical } = await volumes.usage(place)
    if (physical >= capacity) return null
    return made(place, 'grow', `has ${physical} bytes for a capacity of ${capacity}`, 'it gets the room')
  }
  const size = await virtualSize(volumes, place)
  if (size === 0 || size === capacity) return null
  return made(
    place,
    'correctCapacity',
    `has a capacity of ${capacity}, its data ${size}`,
    'the record follows'
  )
}

/** Without a lease of its own name nobody can write it under guard. */
async function wrongLease(op: Operation, place: Place): Promise<Diagnosis | null> {
  const { identity, leases } = op.storageDomain
  if (!identity.shared) return null
  const { path, offset } = await leases.volumeResource(place)
  const sector = await ifThere(readDirect(path, offset, identity.geometry.sectorSize))
  const name = sector === null ? null : leaseName(sector)
  if (name === place.volumeId) return null
  return made(place, 'writeVolumeLease', `has ${name ?? 'no'} lease`, 'its lease is written')
}
