import { type Bytes, MiB, bytes } from '../../common/units.js'
import { FormatError } from './format-error.js'
import type { AllocationPolicy, VolumeFormat } from './volume-metadata.js'

// How large volumes on block storage are made and how far they grow. Some of VDSM's sums are done in floating
// point (capacity * 1.1) and cut afterwards; doing them exactly gives other bytes. So they are done the same way.

export const extent: Bytes = MiB(128)
export const defaultChunk: Bytes = MiB(2560)
const overhead = 1.1

/** VDSM's rounding: add, cut to an integer, divide. `size` may carry a fraction. */
export function roundUpLikeVdsm(size: number, step: number): Bytes {
  return bytes(Math.floor(Math.floor(size + step - 1) / step) * step)
}

/** The most a qcow2 volume of a block storage domain can need. */
export const largestOnBlock = (capacity: Bytes): Bytes => roundUpLikeVdsm(capacity * overhead, extent)

/** The same on files, and the limit of the extension arithmetic. */
export const largestOnFile = (capacity: Bytes): Bytes => roundUpLikeVdsm(capacity * overhead, MiB(1))

/** The size a new volume of a block storage domain asks for, before LVM rounds up to extents; `standard` of a thin one. */
export function initialAllocation(
  volume: { format: VolumeFormat; allocation: AllocationPolicy; capacity: Bytes },
  initial: Bytes | null,
  standard: Bytes = defaultChunk
): Bytes {
  const { format, allocation, capacity } = volume
  if (format === 'raw') {
    if (allocation === 'thin')
      throw new FormatError('invalid', 'a raw volume on block storage is preallocated')
    if (initial) throw new FormatError('invalid', 'a raw volume on block storage has no initial size')
    return capacity
  }
  const most = largestOnBlock(capacity)
  if (initial && initial > most) throw new FormatError('invalid', `initial size ${initial} is beyond ${most}`)
  if (allocation === 'preallocated') return initial || capacity
  return initial ? bytes(Math.floor(initial * overhead)) : bytes(Math.min(standard, capacity))
}

/** What `lvcreate` and `lvextend` are told. */
export const mebibytes = (size: Bytes): number => roundUpLikeVdsm(size, MiB(1)) / MiB(1)

/** What LVM makes of it. */
export const extents = (size: Bytes): number => roundUpLikeVdsm(mebibytes(size), 128) / 128

/** The size to which a qcow2 volume shrinks or grows: what it needs, a chunk more if it is still written. */
export function optimalSize(required: Bytes, capacity: Bytes, isLeaf: boolean): Bytes {
  const wanted = roundUpLikeVdsm(required + (isLeaf ? defaultChunk : 0), extent)
  return bytes(Math.min(wanted, largestOnBlock(capacity)))
}

/** VDSM's thin extension. `replicating` doubles chunk and limit while a disk is mirrored. */
export type Extension = {
  chunk: Bytes
  freeLimit: Bytes
  threshold: Bytes
  largest: Bytes
  nextSize: Bytes
  canGrow: boolean
}

export function vdsmExtension(capacity: Bytes, physical: Bytes, replicating: boolean): Extension {
  const chunk = bytes(defaultChunk * (replicating ? 2 : 1))
  const freeLimit = bytes(Math.floor((80 * chunk) / 100))
  const largest = largestOnFile(capacity)
  const next = roundUpLikeVdsm(physical + chunk, MiB(1))
  return {
    chunk,
    freeLimit,
    threshold: bytes(Math.max(1, physical - freeLimit)),
    largest,
    nextSize: bytes(Math.min(next, largest)),
    canGrow: physical < largest
  }
}
