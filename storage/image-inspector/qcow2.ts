import type { BoundedReader } from './bounded-reader.js'
import { type Findings, type SizeLimit, requireSize } from './findings.js'

// The header of qcow2, big-endian, and what of it we accept. An image from outside is converted into a fresh
// volume and may bring nothing but data; a volume of ours must say exactly what its metadata says.
//
//     0 magic    4 version    8 backing file: offset u64, length u32 (16)    20 cluster bits    24 virtual size
//    32 encryption   36 L1 entries   40 L1 offset   48 refcount table offset   56 its clusters
//    60 internal snapshots   64 their offset   72 features: incompatible, 80 compatible, 88 autoclear
//    96 refcount order   100 header length   104 compression type
//    from the header's length on: extensions {type u32, length u32, data padded to 8}, ended by type 0

export type Qcow2Header = {
  version: number
  backingName: { offset: bigint; length: number }
  clusterBits: number
  virtualSize: bigint
  encryption: number
  l1: { entries: number; offset: bigint }
  refcountTable: { offset: bigint; clusters: number }
  snapshots: { count: number; offset: bigint }
  incompatible: bigint
  autoclear: bigint
  refcountOrder: number
  headerLength: number
  compressionType: number
}

export type Extension = { type: number; data: Buffer }

const dirty = 1n << 0n
const compressionTypeBit = 1n << 3n
const extendedL2 = 1n << 4n
const knownOnImport = dirty | compressionTypeBit | extendedL2
const rawExternalData = 1n << 1n

export const extensionTypes = {
  end: 0,
  backingFormat: 0xe2792aca,
  dataFile: 0x44415441,
  encryption: 0x0537be77,
  bitmaps: 0x23852875,
  featureNames: 0x6803f857
} as const

/** Everything of the header and its extensions lies within this much of the file, or is refused. */
const headerRoom = 65_536

export function readQcow2Header(head: Buffer, findings: Findings): Qcow2Header | null {
  if (!findings.require(head.length >= 72, 'truncated', `the header has ${head.length} bytes`)) return null
  const version = head.readUInt32BE(4)
  const isKnown = version === 2 || version === 3
  if (!findings.require(isKnown, 'version', `version ${version} is not 2 or 3`)) return null
  const isV3 = version === 3
  if (isV3 && !findings.require(head.length >= 104, 'truncated', `the header has ${head.length} bytes`))
    return null
  const headerLength = isV3 ? head.readUInt32BE(100) : 72
  return {
    version,
    backingName: { offset: head.readBigUInt64BE(8), length: head.readUInt32BE(16) },
    clusterBits: head.readUInt32BE(20),
    virtualSize: head.readBigUInt64BE(24),
    encryption: head.readUInt32BE(32),
    l1: { entries: head.readUInt32BE(36), offset: head.readBigUInt64BE(40) },
    refcountTable: { offset: head.readBigUInt64BE(48), clusters: head.readUInt32BE(56) },
    snapshots: { count: head.readUInt32BE(60), offset: head.readBigUInt64BE(64) },
    incompatible: isV3 ? head.readBigUInt64BE(72) : 0n,
    autoclear: isV3 ? head.readBigUInt64BE(88) : 0n,
    refcountOrder: isV3 ? head.readUInt32BE(96) : 4,
    headerLength,
    compressionType: headerLength >= 112 ? (head[104] ?? 0) : 0
  }
}

/** Sizes and places, the same for every qcow2. False when the geometry is too broken to go on. */
export function checkGeometry(
  header: Qcow2Header,
  fileSize: bigint,
  limit: SizeLimit,
  findings: Findings,
  clusterBits: { least: number; most: number }
): boolean {
  const { least, most } = clusterBits
  const bits = header.clusterBits
  const hasGeometry =
    findings.require(bits >= least && bits <= most, 'cluster-bits', `cluster bits ${bits}`) &&
    checkHeaderLength(header, findings) &&
    requireSize(findings, header.virtualSize, limit)
  if (!hasGeometry) return false

  const cluster = 1n << BigInt(bits)
  checkTables(header, cluster, fileSize, findings)
  const { count, offset } = header.snapshots
  findings.require(
    count === 0 && offset === 0n,
    'internal-snapshots',
    `${count} internal snapshots at ${offset}`
  )
  findings.require(header.encryption === 0, 'encryption', `encryption method ${header.encryption}`)
  findings.require(header.refcountOrder <= 6, 'refcount-order', `refcount order ${header.refcountOrder}`)
  return true
}

function checkHeaderLength(header: Qcow2Header, findings: Findings): boolean {
  const length = header.headerLength
  const isFine = header.version === 2 || (length >= 104 && length <= 512 && length % 8 === 0)
  return findings.require(isFine, 'header-length', `header length ${length}`)
}

function checkTables(header: Qcow2Header, cluster: bigint, fileSize: bigint, findings: Findings): void {
  const { entries, offset } = header.l1
  const length = BigInt(entries) * 8n
  const perTable = cluster / ((header.incompatible & extendedL2) !== 0n ? 16n : 8n)
  const needed = divideUp(header.virtualSize, cluster * perTable)
  findings.require(length <= 32n << 20n, 'l1-size', `the L1 table has ${entries} entries`)
  findings.require(BigInt(entries) >= needed, 'l1-size', `the L1 table has ${entries} of ${needed} entries`)
  checkPlace('l1-offset', 'the L1 table', offset, length, cluster, fileSize, findings)

  const table = header.refcountTable
  const tableLength = BigInt(table.clusters) * cluster
  const isSane = table.clusters > 0 && tableLength <= 8n << 20n
  findings.require(isSane, 'refcount-table', `the refcount table has ${table.clusters} clusters`)
  checkPlace('refcount-table', 'the refcount table', table.offset, tableLength, cluster, fileSize, findings)
}

const divideUp = (a: bigint, b: bigint): bigint => (a + b - 1n) / b

function checkPlace(
  rule: string,
  what: string,
  offset: bigint,
  length: bigint,
  cluster: bigint,
  fileSize: bigint,
  findings: Findings
): void {
  const isInside = offset >= cluster && offset % cluster === 0n && offset + length <= fileSize
  findings.require(isInside, rule, `${what} at ${offset} is not aligned or not inside the file`)
}

/** The extensions behind the header; null (with a finding) when they do not end, or not inside the first cluster. */
export function readExtensions(header: Qcow2Header, head: Buffer, findings: Findings): Extension[] | null {
  const room = Math.min(headerRoom, 2 ** header.clusterBits, head.length)
  const extensions: Extension[] = []
  for (let at = header.headerLength; at + 8 <= room;) {
    const type = head.readUInt32BE(at)
    const length = head.readUInt32BE(at + 4)
    if (type === extensionTypes.end) return extensions
    const end = at + 8 + length
    if (end > room) {
      findings.add(
        'extensions',
        `extension 0x${type.toString(16)} of ${length} bytes leaves the first cluster`
      )
      return null
    }
    if (extensions.length === 64) {
      findings.add('extensions', 'more than 64 extensions')
      return null
    }
    extensions.push({ type, data: head.subarray(at + 8, end) })
    at = Math.ceil(end / 8) * 8
  }
  // An old image may end right behind its header, which has the meaning of an end mark.
  if (header.version === 2 && head.length <= 80) return extensions
  findings.add('extensions', 'the extensions have no end mark')
  return null
}

/** An image from outside. */
export function checkImport(
  header: Qcow2Header,
  head: Buffer,
  reader: BoundedReader,
  limit: SizeLimit,
  findings: Findings
): void {
  const { offset, length } = header.backingName
  findings.require(offset === 0n && length === 0, 'backing-file', 'the image has a backing file')
  checkImportFeatures(header, findings)
  if (!checkGeometry(header, reader.size, limit, findings, { least: 9, most: 21 })) return
  for (const { type } of readExtensions(header, head, findings) ?? []) {
    if (type === extensionTypes.backingFormat)
      findings.add('backing-file', 'the image names a backing format')
    if (type === extensionTypes.dataFile) findings.add('data-file', 'the image names an external data file')
    if (type === extensionTypes.encryption) findings.add('encryption', 'the image is encrypted')
  }
}

function checkImportFeatures(header: Qcow2Header, findings: Findings): void {
  const { incompatible } = header
  findings.require((incompatible & 2n) === 0n, 'corrupt', 'the image is marked corrupt')
  findings.require((incompatible & 4n) === 0n, 'data-file', 'the image has an external data file')
  const unknown = incompatible & ~(knownOnImport | 6n)
  findings.require(unknown === 0n, 'features', `unknown incompatible features 0x${unknown.toString(16)}`)
  const isRawData = (header.autoclear & rawExternalData) !== 0n
  findings.require(!isRawData, 'data-file', 'the image says that its data file is raw')
  checkCompression(header, findings)
}

function checkCompression(header: Qcow2Header, findings: Findings): void {
  const hasBit = (header.incompatible & compressionTypeBit) !== 0n
  const type = header.compressionType
  const isFine = hasBit ? header.headerLength >= 112 && type <= 1 : type === 0
  findings.require(
    isFine,
    'compression-type',
    `compression type ${type} with header length ${header.headerLength}`
  )
}

export type ExpectedQcow2 = {
  /** The names that may stand in the header for the parent; null for none. */
  backing: { names: readonly string[]; format: 'raw' | 'qcow2' } | null
  capacity: bigint
  /** Recovery is running: a volume whose writer died may be marked dirty. */
  mayBeDirty: boolean
  /** V2 headers belong to storage domains of format V3 and below. */
  mayBeVersion2: boolean
}

/** A volume of our own chain. Whatever it says beyond its metadata, a guest or a thief wrote it. */
export function checkOwn(
  header: Qcow2Header,
  head: Buffer,
  reader: BoundedReader,
  limit: SizeLimit,
  expected: ExpectedQcow2,
  findings: Findings
): void {
  const isVersionFine = header.version === 3 || expected.mayBeVersion2
  findings.require(isVersionFine, 'version', `version ${header.version} in a volume of this storage domain`)
  checkOwnFeatures(header, expected, findings)
  if (!checkGeometry(header, reader.size, limit, findings, { least: 12, most: 21 })) return
  const rounded = ((expected.capacity + 4095n) / 4096n) * 4096n
  const isSizeFine = header.virtualSize >= expected.capacity && header.virtualSize <= rounded
  const sizes = `the virtual size is ${header.virtualSize}, the capacity ${expected.capacity}`
  findings.require(isSizeFine, 'capacity', sizes)
  const isOrderFine = header.refcountOrder === 4
  findings.require(isOrderFine, 'refcount-order', `refcount order ${header.refcountOrder}`)
  const isLengthFine = [72, 104, 112].includes(header.headerLength)
  findings.require(isLengthFine, 'header-length', `header length ${header.headerLength}`)
  checkBacking(header, head, expected, findings)
}

function checkOwnFeatures(header: Qcow2Header, expected: ExpectedQcow2, findings: Findings): void {
  const { incompatible, autoclear } = header
  findings.require((incompatible & 2n) === 0n, 'corrupt', 'the volume is marked corrupt')
  findings.require((incompatible & 4n) === 0n, 'data-file', 'the volume has an external data file')
  const isDirty = (incompatible & dirty) !== 0n
  findings.require(!isDirty || expected.mayBeDirty, 'dirty', 'the volume is marked dirty')
  const others = incompatible & ~7n
  findings.require(others === 0n, 'features', `incompatible features 0x${others.toString(16)}`)
  findings.require((autoclear & ~1n) === 0n, 'features', `autoclear features 0x${autoclear.toString(16)}`)
  findings.require(
    header.compressionType === 0,
    'compression-type',
    `compression type ${header.compressionType}`
  )
}

function checkBacking(header: Qcow2Header, head: Buffer, expected: ExpectedQcow2, findings: Findings): void {
  const extensions = readExtensions(header, head, findings)
  const formats = (extensions ?? []).filter(({ type }) => type === extensionTypes.backingFormat)
  for (const { type } of extensions ?? []) {
    if (type === extensionTypes.dataFile) findings.add('data-file', 'the volume names an external data file')
    if (type === extensionTypes.encryption) findings.add('encryption', 'the volume is encrypted')
  }
  const name = backingName(header, head, findings)
  if (name === undefined) return
  if (expected.backing === null) {
    findings.require(name === null, 'backing-file', 'a volume without parent has a backing file')
    findings.require(formats.length === 0, 'backing-format', 'a volume without parent names a backing format')
    return
  }
  const isExpected = name !== null && expected.backing.names.includes(name)
  findings.require(isExpected, 'backing-file', 'the backing file is not the parent of the metadata')
  const format = formats.length === 1 ? (formats[0]?.data.toString('latin1') ?? '') : ''
  const isFormatFine = format === expected.backing.format
  findings.require(isFormatFine, 'backing-format', "the backing format is not the parent's")
}

/** The name of the backing file, null for none, undefined (with a finding) when it lies where none may. */
function backingName(header: Qcow2Header, head: Buffer, findings: Findings): string | null | undefined {
  const { offset, length } = header.backingName
  if (offset === 0n && length === 0) return null
  const room = Math.min(2 ** header.clusterBits, head.length)
  const isInside = offset >= BigInt(header.headerLength) && offset + BigInt(length) <= BigInt(room)
  if (
    !findings.require(isInside && length > 0 && length <= 1023, 'backing-file', `its name lies at ${offset}`)
  ) {
    return undefined
  }
  return head.toString('latin1', Number(offset), Number(offset) + length)
}
