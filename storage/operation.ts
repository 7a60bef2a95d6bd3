import type { Clock } from '../common/clock.js'
import { Fault } from '../common/fault.js'
import type { Logger } from '../common/log.js'
import type { Run } from '../common/run.js'
import { type Bytes, bytes, GiB, roundUp } from '../common/units.js'
import type { VolumeMetadata } from './format/volume-metadata.js'
import { qemuImgCall, type QemuImgCommand } from './qemu-img-args.js'
import type { Place, StorageDomain } from './storage-domain.js'

/** What a plot works with. */
export type Operation = {
  storageDomain: StorageDomain
  run: Run
  clock: Clock
  log: Logger
}

export const largestCapacity = GiB(64 * 1024)

/** Guests see whole pages: what QEMU would round anyway is rounded where it is written down. */
export const roundCapacity = (capacity: Bytes) => roundUp(capacity, bytes(4096))

/** A short run of qemu-img, in the worker. Long ones are data programs (data-program.ts). */
export async function qemuImg(run: Run, command: QemuImgCommand, signal: AbortSignal): Promise<string> {
  const { argv } = qemuImgCall(command)
  const [program = '', ...args] = argv
  try {
    return (await run(program, args, signal)).stdout
  } catch (error) {
    if (Fault.is(error, 'COMMAND_FAILED') && /No space left on device/.test(error.message)) {
      throw new Fault('STORAGE_DOMAIN_FULL', 'the storage domain is full', { cause: error })
    }
    throw error
  }
}

/** The records of all volumes of an image, shared ones included. A damaged one is a fault. */
export async function readImage(
  storageDomain: StorageDomain,
  imageId: string
): Promise<Map<string, VolumeMetadata>> {
  const ids = await storageDomain.volumes.volumeIds(imageId)
  if (ids === null) {
    throw new Fault('NOT_FOUND', `no image ${imageId} in storage domain ${storageDomain.identity.id}`)
  }
  const records = await Promise.all(ids.map(volumeId => storageDomain.volumes.read({ imageId, volumeId })))
  return new Map(
    ids.map((id, i) => [id, records[i]]).filter((pair): pair is [string, VolumeMetadata] => !!pair[1])
  )
}

/** Volumes of this image that name the given one as their parent. */
export function childrenIn(image: ReadonlyMap<string, VolumeMetadata>, volumeId: string): string[] {
  return [...image].filter(([, { parentId }]) => parentId === volumeId).map(([id]) => id)
}

export function throwIfIllegal({ legality }: VolumeMetadata, { volumeId }: Place): void {
  if (legality === 'legal') return
  throw new Fault('WRONG_STATE', `volume ${volumeId} is ${legality}: an operation on it did not end`, {
    facts: { volumeId, legality }
  })
}
