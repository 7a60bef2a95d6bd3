import type { BoundedReader } from './bounded-reader.js'
import { type Findings, type SizeLimit, requireSize } from './findings.js'

// VDI, little-endian.
//
//    68 version   76 type: 1 dynamic, 2 static, 4 difference …   340 place of the block map   360 sector size
//   368 virtual size u64   376 block size   384 blocks   424 id of the parent   440 id of the parent's change

/** Returns the virtual size. */
export function checkVdi(head: Buffer, reader: BoundedReader, limit: SizeLimit, findings: Findings): bigint {
  if (!findings.require(head.length >= 512, 'truncated', `the header has ${head.length} bytes`)) return 0n
  const virtualSize = head.readBigUInt64LE(368)
  const version = head.readUInt32LE(68)
  findings.require(version === 0x00010001, 'version', `version 0x${version.toString(16)}`)
  const type = head.readUInt32LE(76)
  findings.require(type === 1 || type === 2, 'image-type', `image type ${type}`)
  const hasNoParent = head.subarray(424, 456).every(byte => byte === 0)
  findings.require(hasNoParent, 'parent', 'the disk has a parent')
  findings.require(
    head.readUInt32LE(360) === 512,
    'sector-size',
    `sectors of ${head.readUInt32LE(360)} bytes`
  )
  if (!requireSize(findings, virtualSize, limit)) return virtualSize

  const [map, blocks] = [BigInt(head.readUInt32LE(340)), BigInt(head.readUInt32LE(384))]
  const blockSize = BigInt(head.readUInt32LE(376))
  findings.require(blockSize === 2n ** 20n, 'block-size', `a block size of ${blockSize}`)
  const isInside = map >= 512n && map + blocks * 4n <= reader.size
  findings.require(isInside, 'block-map', `the map of ${blocks} blocks at ${map} is not inside the file`)
  findings.require(blocks * blockSize >= virtualSize, 'block-map', `${blocks} blocks do not cover the disk`)
  return virtualSize
}
