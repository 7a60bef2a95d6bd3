import { type Bytes, MiB, bytes } from '../../common/units.js'
import { FormatError } from './format-error.js'

// Where things lie in the special volumes. Offsets are in bytes; `alignment` is the room of one sanlock lease.

/** Smallest and greatest metadata slot of format V5. Slot 0 is reserved. */
export const firstSlot = 1
export const lastSlot = 1947

/** sanlock's name of the manager's lease. */
export const managerLease = 'SDM'

/** Room for one sanlock lease: 1, 2, 4 or 8 MiB. */
export const alignments: readonly Bytes[] = [MiB(1), MiB(2), MiB(4), MiB(8)]

/** The smallest alignment with which so many hosts can join the lockspace. */
export function alignmentFor(sectorSize: 512 | 4096, hosts: number): Bytes {
  if (!Number.isInteger(hosts) || hosts < 1 || hosts > 2000) {
    throw new FormatError('invalid', `a lockspace has 1 to 2000 hosts, not ${hosts}`)
  }
  if (sectorSize === 512 || hosts <= 250) return MiB(1)
  if (hosts <= 500) return MiB(2)
  return hosts <= 1000 ? MiB(4) : MiB(8)
}

/** The manager's lease in `leases`. */
export const managerLeaseOffset = (alignment: Bytes): Bytes => alignment

/** A volume's lease in `leases` of a block storage domain; on files it is at 0 of `<volume>.lease`. */
export function volumeLeaseOffset(slot: number, alignment: Bytes): Bytes {
  return bytes((100 + checkedSlot(slot)) * alignment)
}

/** A volume's metadata in the special volume `metadata`. V4 began at 0 with 512 bytes a slot. */
export function slotOffset(slot: number, version: 4 | 5 = 5): Bytes {
  checkedSlot(slot)
  return version === 5 ? bytes(MiB(1) + 8192 * slot) : bytes(512 * slot)
}

function checkedSlot(slot: number): number {
  if (!Number.isInteger(slot) || slot < 0 || slot > lastSlot) {
    throw new FormatError('invalid', `metadata slots are 0 to ${lastSlot}, not ${slot}`)
  }
  return slot
}

/**
 * The first gap from 1 on. Volumes marked for removal still own their slot; those being initialised have none
 * yet. The last lease ends where the leases volume ends, so there are no more slots than leases.
 */
export function freeSlot(taken: Iterable<number>): number {
  const used = new Set(taken)
  for (let slot = firstSlot; slot <= lastSlot; slot++) if (!used.has(slot)) return slot
  throw new FormatError('noSpace', `all ${lastSlot} metadata slots are taken`)
}

/** The bytes of a host's lease in `ids`, and of its page in `inbox` and `outbox`. */
export const hostIdOffset = (sanlockHostId: number, sectorSize: 512 | 4096): Bytes =>
  bytes((sanlockHostId - 1) * sectorSize)

export const mailboxPageOffset = (sanlockHostId: number): Bytes => bytes(sanlockHostId * 4096)

export type SpecialVolume = { name: string; size: Bytes }

/** The special volumes of a block storage domain in the order of their creation. LVM rounds up to extents. */
export function specialVolumes(alignment: Bytes): SpecialVolume[] {
  return [
    { name: 'metadata', size: MiB(128) },
    { name: 'ids', size: MiB(8) },
    { name: 'inbox', size: MiB(16) },
    { name: 'outbox', size: MiB(16) },
    { name: 'leases', size: bytes(2048 * alignment) },
    { name: 'xleases', size: bytes(1024 * alignment) },
    { name: 'master', size: MiB(1024) }
  ]
}

export const isSpecialVolume = (name: string): boolean =>
  specialVolumes(MiB(1)).some(special => special.name === name)
