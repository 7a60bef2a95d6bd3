import { Fault } from '../common/fault.js'
import { bytes } from '../common/units.js'
import { type ChainProblem, type ChainVolume, readChain } from './chain.js'
import { type ExpectedVolume, inspectVolume } from './image-inspector.js'
import { largestCapacity, type Operation, readImage } from './operation.js'
import type { Place } from './storage-domain.js'

// Before anything opens a chain: does each header say what the metadata says? A volume that a guest could write
// to is never believed about its parent.

type Chain = [ChainVolume, ...ChainVolume[]]

/** The chain from a volume down, leaf first, reachable. Refuses an illegal, broken or lying one. */
export async function verifyChain(op: Operation, place: Place, signal: AbortSignal): Promise<Chain> {
  const image = await readImage(op.storageDomain, place.imageId)
  if (!image.has(place.volumeId)) {
    throw new Fault('VOLUME_NOT_FOUND', `no volume ${place.volumeId} in image ${place.imageId}`)
  }
  const reading = readChain(place.imageId, image)
  if (reading.kind === 'broken') throw broken(place, reading.problems)
  const from = reading.chain.volumes.findIndex(({ volumeId }) => volumeId === place.volumeId)
  const [top, ...below] = reading.chain.volumes.slice(Math.max(0, from))
  if (from < 0 || top === undefined) {
    throw new Fault('WRONG_STATE', `volume ${place.volumeId} is not part of the chain of its image`)
  }
  const chain: Chain = [top, ...below]
  const places = chain.map(({ volumeId }) => ({ imageId: place.imageId, volumeId }))
  await op.storageDomain.volumes.reach(places, signal)
  for (const [i, volume] of chain.entries()) await verifyVolume(op, place.imageId, volume, chain[i + 1])
  return chain
}

async function verifyVolume(
  op: Operation,
  imageId: string,
  volume: ChainVolume,
  parent: ChainVolume | undefined
) {
  const place = { imageId, volumeId: volume.volumeId }
  await using file = await op.storageDomain.volumes.openData(place)
  if (volume.metadata.format === 'qcow2') await repairCapacity(op, place, volume, file)
  const { problems } = await inspectVolume(file, expected(volume, parent))
  const [first] = problems
  if (first === undefined) return
  throw new Fault(
    'CORRUPT',
    `volume ${volume.volumeId} is not what its metadata says: ${first.rule}: ${first.text}`,
    {
      facts: { imageId, volumeId: volume.volumeId, rule: first.rule }
    }
  )
}

/** oVirt writes the bare id of the parent, and wrote `../<image>/<volume>` long ago. */
function expected({ metadata }: ChainVolume, parent: ChainVolume | undefined): ExpectedVolume {
  const { format, capacity } = metadata
  if (parent === undefined) return { format, capacity: BigInt(capacity), backing: null, mayBeDirty: true }
  const path = [
    parent.volumeId,
    `../${metadata.imageId}/${parent.volumeId}`,
    `../${parent.metadata.imageId}/${parent.volumeId}`
  ]
  return {
    format,
    capacity: BigInt(capacity),
    backing: { path, format: parent.metadata.format },
    mayBeDirty: true
  }
}

/** A resize that a crash ended leaves a record with less than the header has: the header is right. */
async function repairCapacity(op: Operation, place: Place, volume: ChainVolume, file: { read: ReadHead }) {
  const head = await file.read(0n, 32)
  if (volume.metadata.role === 'shared' || head.length < 32 || head.toString('latin1', 0, 4) !== 'QFI\xfb')
    return
  const size = head.readBigUInt64BE(24)
  if (size <= BigInt(volume.metadata.capacity) || size > BigInt(largestCapacity)) return
  volume.metadata = { ...volume.metadata, capacity: bytes(Number(size)) }
  await op.storageDomain.volumes.write(place, volume.metadata, 'volume.repair-capacity')
  op.log.warn({ volume: place.volumeId, capacity: Number(size) }, 'capacity repaired from the header')
}
type ReadHead = (offset: bigint, length: number) => Promise<Buffer>

function broken(place: Place, problems: ChainProblem[]): Fault {
  const [first] = problems
  const facts = { imageId: place.imageId, rule: first?.rule ?? '', volumeId: first?.volumeId ?? '' }
  const isState = problems.every(
    ({ rule }) => rule === 'illegal' || rule === 'noLeaf' || rule === 'tooDeep' || rule === 'wrongRole'
  )
  const text = problems.map(problem => problem.text).join('; ')
  return new Fault(
    isState ? 'WRONG_STATE' : 'CORRUPT',
    `the chain of image ${place.imageId} cannot be used: ${text}`,
    {
      facts
    }
  )
}
