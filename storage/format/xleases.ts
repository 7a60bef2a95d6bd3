import { type Bytes, bytes } from '../../common/units.js'
import { FormatError } from './format-error.js'
import { parseInteger } from './text.js'

// The index of the special volume `xleases`: which external lease (a VM's, say) lies where.
//
//   slot 0      unused             slot = one alignment
//   slot 1      the index: a header of 512 bytes, then 3960 records of 64
//   slot 2      unused
//   slot 3 + n  the sanlock lease of record n
//
// Where a lease lies follows from the number of its record. The offset in the record is for people.

export const indexSize = 253_952
export const recordCount = 3960
const headerSize = 512
const recordSize = 64
const magic = 0x12152016
const nameSize = 48

export type Header = { lockspace: string; formattedAt: number; updating: boolean }

export type XleaseRecord =
  | { kind: 'free' }
  | { kind: 'used'; leaseId: string; offset: bigint; updating: boolean }
  | { kind: 'damaged'; problem: string }

export type Xlease = { leaseId: string; record: number; offset: Bytes; updating: boolean }

/** One write of a block of the index; `offset` is in the volume. */
export type IndexWrite = { offset: Bytes; block: Buffer }

export const indexOffset = (alignment: Bytes): Bytes => alignment
export const leaseOffset = (record: number, alignment: Bytes): Bytes => bytes((3 + record) * alignment)

export function encodeHeader(header: Header): Buffer {
  const block = Buffer.alloc(headerSize)
  block.writeInt32BE(magic, 0)
  block.write('0001', 5, 'latin1')
  writeName(block, header.lockspace, 10)
  block.write(decimal(header.formattedAt, 10), 59, 'latin1')
  block.write(header.updating ? 'u' : '-', 70, 'latin1')
  block.write('\n', 511, 'latin1')
  return block
}

export function decodeHeader(index: Buffer): Header {
  if (index.length < headerSize) throw new FormatError('truncated', `the header has ${index.length} bytes`)
  const found = index.readUInt32BE(0)
  if (found !== magic) throw new FormatError('invalid', `bad magic 0x${found.toString(16)}`, 0)
  if (integerAt(index, 5, 4) !== 1n) throw new FormatError('invalid', 'unsupported version of the index', 5)
  const lockspace = nameAt(index, 10)
  if (lockspace === null) throw new FormatError('invalid', 'the lockspace is not ASCII', 10)
  const time = integerAt(index, 59, 10)
  if (time === null) throw new FormatError('invalid', 'the time of formatting is not a number', 59)
  return { lockspace, formattedAt: Number(time), updating: index[70] === 0x75 }
}

export function encodeRecord(leaseId: string, offset: bigint, updating = false): Buffer {
  const record = Buffer.alloc(recordSize)
  writeName(record, leaseId, 0)
  record.write(decimal(offset, 11), 49, 'latin1')
  record.write(updating ? 'u-\n' : '--\n', 61, 'latin1')
  return record
}

export const freeRecord: Buffer = encodeRecord('', 0n)

export function decodeRecord(record: Buffer): XleaseRecord {
  const leaseId = nameAt(record, 0)
  if (leaseId === null) return { kind: 'damaged', problem: 'the lease id is not ASCII' }
  const offset = integerAt(record, 49, 11)
  if (offset === null) return { kind: 'damaged', problem: 'the offset is not a number' }
  if (leaseId === '') return { kind: 'free' }
  return { kind: 'used', leaseId, offset, updating: record[61] === 0x75 }
}

function writeName(block: Buffer, name: string, at: number): void {
  if (!/^[\x00-\x7f]*$/.test(name) || name.length > nameSize) {
    throw new FormatError('invalid', `not a name of at most ${nameSize} ASCII characters: ${name}`)
  }
  block.write(name, at, 'latin1')
}

function nameAt(block: Buffer, at: number): string | null {
  const name = block.toString('latin1', at, at + nameSize).replace(/\0+$/, '')
  return /^[\x00-\x7f]*$/.test(name) ? name : null
}

function decimal(value: number | bigint, digits: number): string {
  const text = String(value).padStart(digits, '0')
  if (!/^\d+$/.test(text) || text.length > digits)
    throw new FormatError('overflow', `${value} has no ${digits} digits`)
  return text
}

function integerAt(block: Buffer, at: number, length: number): bigint | null {
  return parseInteger(block.toString('latin1', at, at + length))
}

/** The whole index as it lies in memory. Every change returns the block to write, and is visible here after it. */
export class XleasesIndex {
  readonly header: Header
  readonly alignment: Bytes
  readonly sectorSize: 512 | 4096
  readonly #bytes: Buffer

  private constructor(content: Buffer, alignment: Bytes, sectorSize: 512 | 4096) {
    this.#bytes = Buffer.from(content.subarray(0, indexSize))
    this.header = decodeHeader(this.#bytes)
    this.alignment = alignment
    this.sectorSize = sectorSize
  }

  /** For use: an index that was being rewritten when its writer died is refused until it is rebuilt. */
  static load(content: Buffer, alignment: Bytes, sectorSize: 512 | 4096): XleasesIndex {
    const index = XleasesIndex.loadForRebuild(content, alignment, sectorSize)
    if (index.header.updating)
      throw new FormatError('updating', 'the index of leases must be rebuilt first', 70)
    return index
  }

  static loadForRebuild(content: Buffer, alignment: Bytes, sectorSize: 512 | 4096): XleasesIndex {
    if (content.length < indexSize) {
      throw new FormatError('truncated', `the index has ${indexSize} bytes, only ${content.length} were read`)
    }
    return new XleasesIndex(content, alignment, sectorSize)
  }

  get bytes(): Buffer {
    return Buffer.from(this.#bytes)
  }

  record(record: number): XleaseRecord {
    return decodeRecord(this.#recordBytes(record))
  }

  /** All leases by record; damaged records are left out. */
  leases(): Xlease[] {
    const found: Xlease[] = []
    for (let record = 0; record < recordCount; record++) {
      const entry = this.record(record)
      if (entry.kind !== 'used') continue
      const { leaseId, updating } = entry
      found.push({ leaseId, record, offset: leaseOffset(record, this.alignment), updating })
    }
    return found
  }

  /** Where a lease lies. A record half made by an old version counts as none. */
  lookup(leaseId: string): Xlease | null {
    const record = this.#find(leaseId)
    const entry = record === null ? null : this.record(record)
    if (record === null || entry?.kind !== 'used' || entry.updating) return null
    return { leaseId, record, offset: leaseOffset(record, this.alignment), updating: false }
  }

  /**
   * The record a new lease gets. Write the sanlock resource at its offset first, then what `put` returns.
   * `limit` is the number of leases the volume has room for.
   */
  place(leaseId: string, limit: number = recordCount): { record: number; offset: Bytes } {
    const known = this.#find(leaseId)
    if (known !== null) {
      const entry = this.record(known)
      if (entry.kind === 'used' && !entry.updating) {
        throw new FormatError('exists', `lease ${leaseId} exists in record ${known}`)
      }
    }
    const record = known ?? this.#firstFree()
    if (record === null || record >= limit) throw new FormatError('noSpace', `no room for lease ${leaseId}`)
    return { record, offset: leaseOffset(record, this.alignment) }
  }

  /** `updating` is a mark of old versions; nobody sets it any more. */
  put(leaseId: string, record: number, updating = false): IndexWrite {
    const offset = BigInt(leaseOffset(record, this.alignment))
    return this.#change(record, encodeRecord(leaseId, offset, updating))
  }

  /** First the write, then the empty sanlock resource at the lease's offset. */
  remove(leaseId: string): { offset: Bytes; write: IndexWrite } {
    const record = this.#find(leaseId)
    if (record === null) throw new FormatError('notFound', `no lease ${leaseId}`)
    return { offset: leaseOffset(record, this.alignment), write: this.clear(record) }
  }

  clear(record: number): IndexWrite {
    return this.#change(record, freeRecord)
  }

  #change(record: number, content: Buffer): IndexWrite {
    content.copy(this.#recordBytes(record))
    const at = headerSize + record * recordSize
    const start = at - (at % this.sectorSize)
    return {
      offset: bytes(indexOffset(this.alignment) + start),
      block: Buffer.from(this.#bytes.subarray(start, start + this.sectorSize))
    }
  }

  #recordBytes(record: number): Buffer {
    if (!Number.isInteger(record) || record < 0 || record >= recordCount) {
      throw new RangeError(`no record ${record} in the index`)
    }
    const at = headerSize + record * recordSize
    return this.#bytes.subarray(at, at + recordSize)
  }

  #find(leaseId: string): number | null {
    const wanted = Buffer.alloc(nameSize + 1)
    writeName(wanted, leaseId, 0)
    return this.#first(record => record.subarray(0, nameSize + 1).equals(wanted))
  }

  #firstFree(): number | null {
    return this.#first(record => record.equals(freeRecord))
  }

  #first(matches: (record: Buffer) => boolean): number | null {
    for (let record = 0; record < recordCount; record++) if (matches(this.#recordBytes(record))) return record
    return null
  }
}

/** An index without leases, its header flag as asked. */
export function emptyIndex(header: Header): Buffer {
  const index = Buffer.alloc(indexSize)
  encodeHeader(header).copy(index)
  for (let record = 0; record < recordCount; record++)
    freeRecord.copy(index, headerSize + record * recordSize)
  return index
}

/** Formatting: everything with the flag set, fsync, then the first block with the flag cleared. */
export function formatWrites(
  header: Omit<Header, 'updating'>,
  alignment: Bytes,
  sectorSize: 512 | 4096
): [whole: IndexWrite, first: IndexWrite] {
  return rewriteWrites(emptyIndex({ ...header, updating: true }), header, alignment, sectorSize)
}

/** A rebuilt index: everything with the flag set, then the first block with the flag cleared. */
export function rewriteWrites(
  index: Buffer,
  header: Omit<Header, 'updating'>,
  alignment: Bytes,
  sectorSize: 512 | 4096
): [whole: IndexWrite, first: IndexWrite] {
  const whole = Buffer.from(index)
  encodeHeader({ ...header, updating: true }).copy(whole)
  const first = Buffer.from(whole.subarray(0, sectorSize))
  encodeHeader({ ...header, updating: false }).copy(first)
  const offset = indexOffset(alignment)
  return [
    { offset, block: whole },
    { offset, block: first }
  ]
}
