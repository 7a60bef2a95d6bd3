import { crc32c } from '../format/crc32c.js'
import type { BoundedReader } from './bounded-reader.js'
import { type Findings, type SizeLimit, requireSize } from './findings.js'

// VHDX, little-endian. Two headers (one is current), two copies of the table of regions; one region holds the
// metadata items, and those say whether there is a parent.
//
//   header    64 KiB and 128 KiB: 0 'head'  4 CRC-32C  8 sequence u64  48 id of the log (zero: none to replay)
//   regions   192 KiB and 256 KiB: 0 'regi'  4 CRC-32C  8 entries u32  16 entries of 32 bytes
//             entry: 0 id  16 place u64  24 length u32
//   metadata  0 'metadata'  10 entries u16  32 entries of 32 bytes: 0 id  16 place in the region u32  20 length u32

const KiB = 1024n
const ids = {
  metadataRegion: '8b7ca206-4790-4b9a-b8fe-575f050f886e',
  tableRegion: '2dc27766-f623-4200-9d64-115e9bfd4a08',
  fileParameters: 'caa16737-fa36-4d43-b3b6-33f0aa44e76b',
  virtualDiskSize: '2fa54224-cd1b-4876-b211-5dbed83bf4b8',
  parentLocator: 'a8d35f2d-b30b-454d-abf7-d3d84834ab0c'
} as const
const mostMetadata = 2n ** 20n

/** Returns the virtual size. */
export async function checkVhdx(
  reader: BoundedReader,
  limit: SizeLimit,
  findings: Findings
): Promise<bigint> {
  await checkHeaders(reader, findings)
  const metadata = await findMetadata(reader, findings)
  if (metadata === null) return 0n
  const items = readItems(metadata, findings)
  if (items === null) return 0n
  findings.require(!items.has(ids.parentLocator), 'parent', 'the disk has a parent locator')
  const parameters = items.get(ids.fileParameters)
  const size = items.get(ids.virtualDiskSize)
  if (!findings.require(parameters?.length === 8 && size?.length === 8, 'metadata', 'items are missing'))
    return 0n
  const hasParent = ((parameters?.readUInt32LE(4) ?? 0) & 2) !== 0
  findings.require(!hasParent, 'parent', 'the disk is a difference to a parent')
  const virtualSize = size?.readBigUInt64LE(0) ?? 0n
  requireSize(findings, virtualSize, limit)
  return virtualSize
}

/** A log that waits to be replayed would change, after our look, what we looked at. */
async function checkHeaders(reader: BoundedReader, findings: Findings): Promise<void> {
  let valid = 0
  for (const offset of [64n * KiB, 128n * KiB]) {
    const header = await reader.exactly(offset, 4096, 'a header')
    if (header === null) return
    if (header.toString('latin1', 0, 4) !== 'head' || !hasChecksum(header)) continue
    valid++
    const isLogEmpty = header.subarray(48, 64).every(byte => byte === 0)
    findings.require(isLogEmpty, 'pending-log', 'the disk has a log that was not replayed')
  }
  findings.require(valid > 0, 'header', 'no header is valid')
}

async function findMetadata(reader: BoundedReader, findings: Findings): Promise<Buffer | null> {
  const first = await reader.exactly(192n * KiB, 65_536, 'the table of regions')
  const second = await reader.exactly(256n * KiB, 65_536, 'the second table of regions')
  if (first === null || second === null) return null
  const isValid = first.toString('latin1', 0, 4) === 'regi' && hasChecksum(first)
  if (!findings.require(isValid, 'regions', 'the table of regions is damaged')) return null
  const isSame = first.equals(second)
  if (!findings.require(isSame, 'regions', 'the two tables of regions differ')) return null
  const count = first.readUInt32LE(8)
  if (!findings.require(count <= 2047, 'regions', `${count} regions`)) return null

  const known: string[] = [ids.metadataRegion, ids.tableRegion]
  const regions = entriesOf(first, 16, count)
  const isKnown = regions.length <= 2 && regions.every(entry => known.includes(idAt(entry)))
  if (!findings.require(isKnown, 'regions', 'the table of regions has unknown regions')) return null
  const region = regions.filter(entry => idAt(entry) === ids.metadataRegion)
  if (!findings.require(region.length === 1, 'regions', 'there is no one metadata region')) return null
  const [entry = Buffer.alloc(32)] = region
  const [place, length] = [entry.readBigUInt64LE(16), BigInt(entry.readUInt32LE(24))]
  if (!findings.require(length >= 65_536n, 'metadata', `a metadata region of ${length} bytes`)) return null
  return await reader.exactly(
    place,
    Number(length < mostMetadata ? length : mostMetadata),
    'the metadata region'
  )
}

function readItems(metadata: Buffer, findings: Findings): Map<string, Buffer> | null {
  const count = metadata.readUInt16LE(10)
  const isTable = metadata.toString('latin1', 0, 8) === 'metadata' && count <= 1023
  if (!findings.require(isTable, 'metadata', 'the table of metadata is damaged')) return null
  const items = new Map<string, Buffer>()
  for (const entry of entriesOf(metadata, 32, count)) {
    const [place, length, id] = [entry.readUInt32LE(16), entry.readUInt32LE(20), idAt(entry)]
    const isInside = length === 0 || (place >= 65_536 && place + length <= metadata.length)
    const isFine = isInside && !items.has(id)
    if (!findings.require(isFine, 'metadata', `item ${id} lies elsewhere or is there twice`)) return null
    items.set(id, metadata.subarray(place, place + length))
  }
  return items
}

function entriesOf(table: Buffer, at: number, count: number): Buffer[] {
  return Array.from({ length: count }, (_, i) => table.subarray(at + i * 32, at + (i + 1) * 32)).filter(
    entry => entry.length === 32
  )
}

/** The first three groups of an id are stored in reverse order. */
function idAt(entry: Buffer): string {
  const reversed = (from: number, to: number) =>
    Buffer.from(entry.subarray(from, to)).reverse().toString('hex')
  const plain = (from: number, to: number) => entry.toString('hex', from, to)
  return [reversed(0, 4), reversed(4, 6), reversed(6, 8), plain(8, 10), plain(10, 16)].join('-')
}

/** CRC-32C over the block with the checksum itself as zero. */
function hasChecksum(block: Buffer): boolean {
  const copy = Buffer.from(block)
  copy.writeUInt32LE(0, 4)
  return block.readUInt32LE(4) === crc32c(copy)
}
