import { type Bytes, bytes } from '../../common/units.js'
import { FormatError } from './format-error.js'
import {
  type Header,
  type XleaseRecord,
  decodeHeader,
  decodeRecord,
  encodeHeader,
  encodeRecord,
  freeRecord,
  headerSize,
  nameSize,
  recordSize,
  writeName
} from './xleases-record.js'

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

export type Xlease = { leaseId: string; record: number; offset: Bytes; updating: boolean }

/** One write of a block of the index; `offset` is in the volume. */
export type IndexWrite = { offset: Bytes; block: Buffer }

export const indexOffset = (alignment: Bytes): Bytes => alignment
export const leaseOffset = (record: number, alignment: Bytes): Bytes => bytes((3 + record) * alignment)

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
