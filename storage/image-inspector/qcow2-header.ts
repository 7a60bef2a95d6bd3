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

/** Incompatible features that some image may have. Bit 1 is "corrupt", bit 2 an external data file. */
export const features = { dirty: 1n << 0n, compressionType: 1n << 3n, extendedL2: 1n << 4n } as const

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
  const perTable = cluster / ((header.incompatible & features.extendedL2) !== 0n ? 16n : 8n)
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
