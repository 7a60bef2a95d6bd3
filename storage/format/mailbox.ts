import { FormatError } from './format-error.js'
import { uuidBytes, uuidText } from './uuid.js'

// VDSM's mailbox, version 1: how a host asks the manager to extend a volume, over the storage alone. A host
// owns one page of the inbox (it writes, the manager reads) and one of the outbox (the other way round).
//
//   page       slot 0 … 62   messages of 64 bytes
//              slot 63       its last 4 bytes: sum of the 4092 bytes before, little-endian; outbox: 0
//   message    0 '1'  1 'xtnd'  5 storage domain  21 volume (16 bytes each, reversed)
//              37 size in MiB, 16 hexadecimal digits  53 eleven '0'
//   slot       64 x 0x00 empty, 64 x 0x01 CLEAN: the other side may forget it
//   page 0     of the inbox is the event block: NUL 'evt' and a random UUID

export const messageSize = 64
export const pageSize = 4096
export const slotCount = 63
export const pageCount = 250
export const areaSize = pageCount * pageSize
const checksumAt = pageSize - 4
const eventMagic = Buffer.from('\0evt', 'latin1')

export type ExtendRequest = { storageDomainId: string; volumeId: string; sizeMiB: number }

export type Slot =
  | { kind: 'empty' }
  | { kind: 'clean' }
  | ({ kind: 'extend'; version: string } & ExtendRequest)
  | { kind: 'unknown'; version: string; operation: string }

export const cleanSlot: Buffer = Buffer.alloc(messageSize, 1)
export const emptySlot: Buffer = Buffer.alloc(messageSize)

/** A request, and with the same size the reply "done"; a reply of size 0 says "failed". */
export function encodeExtend({ storageDomainId, volumeId, sizeMiB }: ExtendRequest): Buffer {
  if (!Number.isInteger(sizeMiB) || sizeMiB < 0 || sizeMiB > 0xffffffff) {
    throw new FormatError('overflow', `a size in a message is 0 to 4294967295 MiB, not ${sizeMiB}`)
  }
  const size = sizeMiB.toString(16).padStart(16, '0')
  return Buffer.concat([
    Buffer.from('1xtnd', 'latin1'),
    uuidBytes(storageDomainId).reverse(),
    uuidBytes(volumeId).reverse(),
    Buffer.from(size + '0'.repeat(11), 'latin1')
  ])
}

/** Reads 64 bytes. The version is not looked at, as VDSM does not either. */
export function decodeSlot(slot: Buffer): Slot {
  if (slot.equals(cleanSlot)) return { kind: 'clean' }
  if (slot[0] === 0) return { kind: 'empty' }
  const version = slot.toString('latin1', 0, 1)
  const operation = slot.toString('latin1', 1, 5)
  const digits = slot.toString('latin1', 37, 53)
  if (operation !== 'xtnd' || !/^0{8}[0-9a-f]{8}$/.test(digits))
    return { kind: 'unknown', version, operation }
  return {
    kind: 'extend',
    version,
    storageDomainId: uuidText(Buffer.from(slot.subarray(5, 21)).reverse()),
    volumeId: uuidText(Buffer.from(slot.subarray(21, 37)).reverse()),
    sizeMiB: Number.parseInt(digits, 16)
  }
}

/** The 64 bytes of a slot within its page. Not a copy. */
export function slotBytes(page: Buffer, slot: number): Buffer {
  return page.subarray(slot * messageSize, (slot + 1) * messageSize)
}

/** The page of a host within an area of 250 pages. Not a copy. */
export function pageOf(area: Buffer, sanlockHostId: number): Buffer {
  return area.subarray(sanlockHostId * pageSize, (sanlockHostId + 1) * pageSize)
}

export function pageChecksum(page: Buffer): number {
  let sum = 0
  for (const byte of page.subarray(0, checksumAt)) sum += byte
  return sum
}

/** Puts the checksum in place. Only pages of the inbox carry one. */
export function sealPage(page: Buffer): Buffer {
  page.writeUInt32LE(pageChecksum(page), checksumAt)
  return page
}

export const storedChecksum = (page: Buffer): number => page.readUInt32LE(checksumAt)

/** False for a torn write: the page counts as unread this round, and is read again in the next. */
export const isPageSealed = (page: Buffer): boolean => storedChecksum(page) === pageChecksum(page)

/** The slots in use, CLEAN ones included. */
export function usedSlots(page: Buffer): Array<{ slot: number; content: Exclude<Slot, { kind: 'empty' }> }> {
  const used = []
  for (let slot = 0; slot < slotCount; slot++) {
    const content = decodeSlot(slotBytes(page, slot))
    if (content.kind !== 'empty') used.push({ slot, content })
  }
  return used
}

/** Page 0 of the inbox. Whoever wrote last wins; a UUID that differs from the last one says "read the inbox". */
export function eventPage(eventId: string): Buffer {
  const page = Buffer.alloc(pageSize)
  eventMagic.copy(page)
  uuidBytes(eventId).copy(page, 4)
  return page
}

export function eventOf(page: Buffer): string | null {
  return page.subarray(0, 4).equals(eventMagic) ? uuidText(page.subarray(4, 20)) : null
}
