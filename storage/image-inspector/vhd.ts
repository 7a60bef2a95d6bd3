import type { BoundedReader } from './bounded-reader.js'
import { type Findings, type SizeLimit, isPowerOfTwo, requireSize } from './findings.js'

// VHD ("vpc"), big-endian. The footer is the file's last sector; dynamic disks repeat it as the first.
//
//   footer   16 place of the dynamic header   28 creator   48 size   56 geometry: cylinders u16, heads, sectors
//            60 type: 2 fixed, 3 dynamic, 4 differencing   64 checksum
//   header   0 'cxsparse'   16 place of the table   28 its entries   32 block size   40 parent's id
//            64 parent's name   576 eight parent locators of 24 bytes

const largest = 2n * 2n ** 40n

/** Returns the virtual size. */
export async function checkVhd(
  head: Buffer,
  tail: Buffer,
  reader: BoundedReader,
  limit: SizeLimit,
  findings: Findings
): Promise<bigint> {
  const footer = tail.subarray(Math.max(0, tail.length - 512))
  const isWhole = footer.length === 512 && footer.toString('latin1', 0, 8) === 'conectix'
  if (!findings.require(isWhole, 'footer', 'the last sector is no footer')) return 0n
  findings.require(hasChecksum(footer, 64), 'footer', 'the checksum of the footer is wrong')

  const virtualSize = sizeOf(footer)
  const isSizeFine =
    requireSize(findings, virtualSize, limit) &&
    findings.require(virtualSize <= largest, 'size', `a VHD has at most 2 TiB, not ${virtualSize} bytes`)
  const type = footer.readUInt32BE(60)
  findings.require(type !== 4, 'differencing', 'the disk is a difference to a parent')
  findings.require([2, 3, 4].includes(type), 'disk-type', `disk type ${type}`)
  if (!isSizeFine) return virtualSize
  if (type === 2) checkFixed(head, virtualSize, reader, findings)
  if (type === 3) await checkDynamic(head, footer, reader, findings)
  return virtualSize
}

/** The complement of the sum of all other bytes. */
function hasChecksum(block: Buffer, at: number): boolean {
  let sum = 0
  for (const [i, byte] of block.entries()) if (i < at || i >= at + 4) sum += byte
  return block.readUInt32BE(at) === ~sum >>> 0
}

/** QEMU trusts the geometry of some writers and the size of the others. */
function sizeOf(footer: Buffer): bigint {
  const creator = footer.toString('latin1', 28, 32)
  const size = footer.readBigUInt64BE(48)
  const [cylinders, heads, sectors] = [footer.readUInt16BE(56), footer.readUInt8(58), footer.readUInt8(59)]
  const byGeometry = BigInt(cylinders) * BigInt(heads) * BigInt(sectors) * 512n
  const isGreatest = cylinders === 65_535 && heads === 16 && sectors === 255
  const trustsSize = ['win ', 'qem2', 'd2v ', 'tap\0', 'CTXS'].includes(creator)
  return trustsSize || isGreatest || byGeometry === 0n ? size : byGeometry
}

function checkFixed(head: Buffer, virtualSize: bigint, reader: BoundedReader, findings: Findings): void {
  const hasCopy = head.toString('latin1', 0, 8) === 'conectix'
  findings.require(!hasCopy, 'disk-type', 'a fixed disk begins with a footer')
  const isWhole = virtualSize + 512n <= reader.size
  findings.require(isWhole, 'size', `the file is shorter than its ${virtualSize} bytes of data`)
}

async function checkDynamic(
  head: Buffer,
  footer: Buffer,
  reader: BoundedReader,
  findings: Findings
): Promise<void> {
  const isSame = head.length >= 512 && head.subarray(0, 512).equals(footer)
  findings.require(isSame, 'footer', 'the first sector is no copy of the footer')
  const header = await reader.exactly(footer.readBigUInt64BE(16), 1024, 'the dynamic header')
  if (header === null) return
  const isMarked = header.toString('latin1', 0, 8) === 'cxsparse'
  if (!findings.require(isMarked, 'dynamic-header', 'there is no dynamic header')) return
  findings.require(hasChecksum(header, 36), 'dynamic-header', 'the checksum of the dynamic header is wrong')

  const entries = BigInt(header.readUInt32BE(28))
  const blockSize = BigInt(header.readUInt32BE(32))
  const table = header.readBigUInt64BE(16)
  const isBlockFine = isPowerOfTwo(blockSize) && blockSize >= 512n && blockSize <= 2n ** 28n
  findings.require(isBlockFine, 'block-size', `a block size of ${blockSize}`)
  const isTableFine = entries > 0n && entries * 4n <= 32n << 20n && table + entries * 4n <= reader.size
  findings.require(isTableFine, 'table', `the table of ${entries} entries at ${table} is not inside the file`)
  const isCovered = entries * blockSize >= sizeOf(footer)
  findings.require(isCovered, 'table', `the table of ${entries} entries does not cover the disk`)
  const parent = [header.subarray(40, 56), header.subarray(64, 576), header.subarray(576, 768)]
  const hasNone = parent.every(part => part.every(byte => byte === 0))
  findings.require(hasNone, 'differencing', 'the disk names a parent')
}
