import type { BoundedReader } from './bounded-reader.js'
import { type Findings, type SizeLimit, isPowerOfTwo, requireSize } from './findings.js'

// VMDK with one sparse extent in the same file; little-endian, places and sizes in sectors of 512 bytes.
//
//     8 flags   12 capacity u64   20 grain u64   28 descriptor offset u64   36 its size u64   44 entries a table
//    56 grain directory u64 (all ones: see the footer)   73 check bytes   77 compression u16

type SparseHeader = {
  capacity: bigint
  grain: bigint
  descriptorOffset: bigint
  descriptorSize: bigint
  entries: number
  directory: bigint
  compression: number
  hasCheckBytes: boolean
}

const atFooter = 0xffff_ffff_ffff_ffffn
const sector = 512n
const mostDescriptorBytes = 2n ** 20n
const checkBytes = Buffer.from('\n \r\n', 'latin1')

function readHeader(block: Buffer): SparseHeader {
  return {
    capacity: block.readBigUInt64LE(12),
    grain: block.readBigUInt64LE(20),
    descriptorOffset: block.readBigUInt64LE(28),
    descriptorSize: block.readBigUInt64LE(36),
    entries: block.readUInt32LE(44),
    directory: block.readBigUInt64LE(56),
    compression: block.readUInt16LE(77),
    hasCheckBytes: block.subarray(73, 77).equals(checkBytes)
  }
}

/** Returns the virtual size. */
export async function checkVmdk(
  head: Buffer,
  reader: BoundedReader,
  limit: SizeLimit,
  findings: Findings
): Promise<bigint> {
  if (!findings.require(head.length >= 512, 'truncated', `the header has ${head.length} bytes`)) return 0n
  const header = readHeader(head)
  const virtualSize = header.capacity * sector
  checkHeader(header, reader.size, findings)
  if (!requireSize(findings, virtualSize, limit)) return virtualSize
  if (header.directory === atFooter) await checkFooter(header, reader, findings)
  else {
    const isInside = header.directory > 0n && header.directory * sector < reader.size
    findings.require(isInside, 'grain-directory', `the grain directory at sector ${header.directory}`)
  }
  await checkDescriptor(header, reader, findings)
  return virtualSize
}

function checkHeader(header: SparseHeader, fileSize: bigint, findings: Findings): void {
  const { grain, entries, compression, descriptorOffset, descriptorSize } = header
  findings.require(header.hasCheckBytes, 'check-bytes', 'the header was damaged by a text transfer')
  const isGrainFine = grain >= 8n && grain <= 128n && isPowerOfTwo(grain)
  findings.require(isGrainFine, 'grain', `a grain of ${grain} sectors`)
  findings.require(entries > 0 && entries <= 512, 'grain-table', `${entries} entries in a grain table`)
  findings.require(compression <= 1, 'compression', `compression method ${compression}`)
  const end = (descriptorOffset + descriptorSize) * sector
  const isInside = descriptorOffset > 0n && descriptorSize > 0n && end <= fileSize
  const place = `the descriptor of ${descriptorSize} sectors at sector ${descriptorOffset} is not inside the file`
  findings.require(isInside, 'descriptor-place', place)
  const isSmall = descriptorSize * sector <= mostDescriptorBytes
  findings.require(isSmall, 'descriptor-size', `the descriptor has ${descriptorSize} sectors`)
}

/** A stream cannot know its directory at its start, so the header is repeated at the end. It must be the same. */
async function checkFooter(header: SparseHeader, reader: BoundedReader, findings: Findings): Promise<void> {
  const offset = reader.size - 1024n
  const block = await reader.exactly(offset, 512, 'the footer')
  if (block === null) return
  const isMarked = block.toString('latin1', 0, 4) === 'KDMV'
  if (!findings.require(isMarked, 'footer', 'there is no footer')) return
  const footer = readHeader(block)
  const same: Array<keyof SparseHeader> = [
    ...(['capacity', 'grain', 'descriptorOffset', 'descriptorSize', 'entries', 'compression'] as const)
  ]
  const differing = same.filter(field => footer[field] !== header[field])
  findings.require(differing.length === 0, 'footer', `footer and header differ in ${differing.join(', ')}`)
  const isInside =
    footer.directory !== atFooter && footer.directory > 0n && footer.directory * sector < reader.size
  findings.require(isInside, 'grain-directory', `the grain directory at sector ${footer.directory}`)
  const descriptorEnd = (header.descriptorOffset + header.descriptorSize) * sector
  findings.require(descriptorEnd <= offset, 'footer', 'descriptor and footer overlap')
}

async function checkDescriptor(
  header: SparseHeader,
  reader: BoundedReader,
  findings: Findings
): Promise<void> {
  const length = header.descriptorSize * sector
  const offset = header.descriptorOffset * sector
  if (length <= 0n || length > mostDescriptorBytes || offset <= 0n || offset + length > reader.size) return
  const block = await reader.exactly(offset, Number(length), 'the descriptor')
  if (block === null) return
  const end = block.indexOf(0)
  const padding = end < 0 ? Buffer.alloc(0) : block.subarray(end)
  findings.require(isZero(padding), 'descriptor-text', 'something follows the end of the descriptor')
  const text = block.toString('latin1', 0, end < 0 ? block.length : end)
  checkDescriptorText(text, findings)
}

const isZero = (bytes: Buffer): boolean => bytes.every(byte => byte === 0)

/** `key = value` and extent lines; only one extent, in this very file, and no parent. */
export function checkDescriptorText(text: string, findings: Findings): void {
  const isText = /^[\t\n\r\x20-\x7e\x80-\xff]*$/.test(text)
  if (!findings.require(isText, 'descriptor-text', 'the descriptor is not text')) return
  const lines = text.split(/\r?\n|\r/).map(line => line.trim())
  const values = (key: string) =>
    lines.map(line => keyValue(line)).flatMap(pair => (pair?.key === key ? [pair.value] : []))

  const types = values('createtype')
  const isTypeFine = types.length === 1 && /^(monolithicSparse|streamOptimized)$/i.test(types[0] ?? '')
  findings.require(isTypeFine, 'create-type', `createType ${types.join(', ').slice(0, 100) || 'is missing'}`)
  const parents = values('parentcid')
  const hasNoParent = parents.length === 1 && parents[0]?.toLowerCase() === 'ffffffff'
  findings.require(hasNoParent, 'parent', `parentCID ${parents.join(', ').slice(0, 100) || 'is missing'}`)
  findings.require(values('parentfilenamehint').length === 0, 'parent', 'the descriptor names a parent file')
  checkExtents(lines, findings)
}

function keyValue(line: string): { key: string; value: string } | null {
  const match = /^([^=#\s]+)\s*=\s*(.*)$/.exec(line)
  if (match === null) return null
  const value = (match[2] ?? '').replace(/^"(.*)"$/, '$1')
  return { key: (match[1] ?? '').toLowerCase(), value }
}

function checkExtents(lines: string[], findings: Findings): void {
  const extents = lines.filter(line => /^(RW|RDONLY|NOACCESS)\b/i.test(line))
  const isOne = extents.length === 1
  if (!findings.require(isOne, 'extents', `${extents.length} extents, one is allowed`)) return
  const match = /^(?:RW|RDONLY|NOACCESS)\s+\d{1,19}\s+SPARSE\s+"([^"]*)"$/i.exec(extents[0] ?? '')
  if (!findings.require(match !== null, 'extents', 'the extent is not a sparse one in this file')) return
  const isPlainName = !/[/\\]/.test(match?.[1] ?? '')
  findings.require(isPlainName, 'extents', 'the name of the extent is a path')
}
