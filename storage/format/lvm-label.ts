import { FormatError } from './format-error.js'
import { lvmChecksum } from './lvm-checksum.js'

// Where LVM keeps its text on a physical volume, little-endian.
//
//   label     in one of the first four sectors: 'LABELONE', at 32 the PV's id (32 characters), at 72 pairs
//             {place u64, size u64}: data areas, ended by a pair of zeroes, then metadata areas, ended likewise
//   area      at its place: 4 ' LVM2 x[5A%r0N*>', 40 {place u64, size u64, checksum u32, flags u32}: where in the
//             area the current text is; it is a ring that goes on after the first 512 bytes. Flag 1: ignored

const magic = Buffer.from(' LVM2 x[5A%r0N*>', 'latin1')
const headerSize = 512

export type MetadataArea = { offset: bigint; size: bigint }

/** The metadata areas that the label in the first 2048 bytes names. */
export function readPvLabel(start: Buffer): { pvId: string; areas: MetadataArea[] } {
  for (let sector = 0; sector + 512 <= start.length && sector < 2048; sector += 512) {
    if (start.toString('latin1', sector, sector + 8) !== 'LABELONE') continue
    const pvId = start.toString('latin1', sector + 32, sector + 64)
    const [, areas = []] = readPairLists(start.subarray(sector + 72, sector + 512))
    return { pvId, areas }
  }
  throw new FormatError('missing', 'no LVM label in the first four sectors', 0)
}

function readPairLists(bytes: Buffer): MetadataArea[][] {
  const lists: MetadataArea[][] = [[]]
  for (let at = 0; at + 16 <= bytes.length && lists.length < 3; at += 16) {
    const pair = { offset: bytes.readBigUInt64LE(at), size: bytes.readBigUInt64LE(at + 8) }
    if (pair.offset === 0n && pair.size === 0n) lists.push([])
    else lists.at(-1)?.push(pair)
  }
  return lists
}

export type TextPlace = {
  parts: Array<{ offset: bigint; length: number }>
  /** Of the text: one that differs was read while somebody wrote. */
  checksum: number
}

const mostText = 2 ** 26

/** Where the current text lies on the device; null when this copy is ignored or was never written. */
export function readAreaHeader(header: Buffer, area: MetadataArea): TextPlace | null {
  if (!header.subarray(4, 20).equals(magic)) throw new FormatError('invalid', 'no LVM metadata area', 4)
  const [place, size] = [header.readBigUInt64LE(40), header.readBigUInt64LE(48)]
  const isIgnored = (header.readUInt32LE(60) & 1) !== 0
  if (isIgnored || place === 0n || size === 0n) return null
  const areaSize = header.readBigUInt64LE(32)
  if (place < BigInt(headerSize) || place >= areaSize || size > areaSize || size > BigInt(mostText)) {
    throw new FormatError('invalid', 'the text of the LVM metadata area lies outside it', 40)
  }
  const first = size < areaSize - place ? size : areaSize - place
  const parts = [{ offset: area.offset + place, length: Number(first) }]
  if (first < size) parts.push({ offset: area.offset + BigInt(headerSize), length: Number(size - first) })
  return { parts, checksum: header.readUInt32LE(56) }
}

/** Whether a header of a metadata area was read whole. */
export function isWholeAreaHeader(header: Buffer): boolean {
  return header.length >= headerSize && header.readUInt32LE(0) === lvmChecksum(header.subarray(4, headerSize))
}
