import type { BoundedReader } from './bounded-reader.js'
import type { Findings, SizeLimit } from './findings.js'
import { type Qcow2Header, checkGeometry, extensionTypes, features, readExtensions } from './qcow2-header.js'

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
  const isDirty = (incompatible & features.dirty) !== 0n
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
