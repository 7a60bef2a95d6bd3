import { FormatError } from './format-error.js'
import { parseInteger } from './text.js'

// The header of the index of external leases and its records. Text is ASCII, numbers are decimal text but for
// the magic, which is big-endian.
//
//   header   0 magic 12 15 20 16   5 '0001'   10 lockspace (48 bytes)   59 time of formatting (10 digits)
//            70 '-', or 'u' while the index is rewritten   511 line end
//   record   0 lease id (48 bytes)   49 offset (11 digits)   61 '-', or 'u' from old versions   62 '-'   63 line end

export const headerSize = 512
export const recordSize = 64
const magic = 0x12152016
export const nameSize = 48

export type Header = { lockspace: string; formattedAt: number; updating: boolean }

export type XleaseRecord =
  | { kind: 'free' }
  | { kind: 'used'; leaseId: string; offset: bigint; updating: boolean }
  | { kind: 'damaged'; problem: string }

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

export function writeName(block: Buffer, name: string, at: number): void {
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
