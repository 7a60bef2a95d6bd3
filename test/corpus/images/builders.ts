import { crc32c } from '../../../storage/format/crc32c.js'
import { SparseImage } from './sparse-image.js'

// Good images, byte by byte, so that an attack can change exactly one of them. What qemu-img makes of the same
// formats is tried beside them in image-inspector-qemu-img.test.ts.

export type Qcow2Change = {
  version?: number
  backing?: { offset: bigint; length: number; name?: string }
  clusterBits?: number
  size?: bigint
  encryption?: number
  l1Entries?: number
  l1Offset?: bigint
  refcountOffset?: bigint
  refcountClusters?: number
  snapshots?: number
  snapshotsOffset?: bigint
  incompatible?: bigint
  compatible?: bigint
  autoclear?: bigint
  refcountOrder?: number
  headerLength?: number
  compressionType?: number
  /** Type, data and (when it should lie) the length. */
  extensions?: Array<{ type: number; data: Buffer; length?: number }>
  endMark?: boolean
  fileSize?: number
}

/** An empty image of 64 MiB: header, refcount table, refcount block and L1 table, a cluster each. */
export function qcow2(change: Qcow2Change = {}): SparseImage {
  const headerLength = change.headerLength ?? 104
  const header = Buffer.alloc(65_536)
  header.write('QFI\xfb', 0, 'latin1')
  header.writeUInt32BE(change.version ?? 3, 4)
  header.writeBigUInt64BE(change.backing?.offset ?? 0n, 8)
  header.writeUInt32BE(change.backing?.length ?? 0, 16)
  header.writeUInt32BE(change.clusterBits ?? 16, 20)
  header.writeBigUInt64BE(change.size ?? 64n * 2n ** 20n, 24)
  header.writeUInt32BE(change.encryption ?? 0, 32)
  header.writeUInt32BE(change.l1Entries ?? 1, 36)
  header.writeBigUInt64BE(change.l1Offset ?? 0x30000n, 40)
  header.writeBigUInt64BE(change.refcountOffset ?? 0x10000n, 48)
  header.writeUInt32BE(change.refcountClusters ?? 1, 56)
  header.writeUInt32BE(change.snapshots ?? 0, 60)
  header.writeBigUInt64BE(change.snapshotsOffset ?? 0n, 64)
  if (change.version !== 2) {
    header.writeBigUInt64BE(change.incompatible ?? 0n, 72)
    header.writeBigUInt64BE(change.compatible ?? 0n, 80)
    header.writeBigUInt64BE(change.autoclear ?? 0n, 88)
    header.writeUInt32BE(change.refcountOrder ?? 4, 96)
    header.writeUInt32BE(headerLength, 100)
    if (change.compressionType !== undefined) header.writeUInt8(change.compressionType, 104)
  }
  writeExtensions(header, change.version === 2 ? 72 : headerLength, change)
  const { offset, name } = change.backing ?? {}
  if (name !== undefined && offset !== undefined) header.write(name, Number(offset), 'utf8')
  const tables = Buffer.alloc(0x30000)
  tables.writeBigUInt64BE(0x20000n, 0)
  for (let cluster = 0; cluster < 4; cluster++) tables.writeUInt16BE(1, 0x10000 + cluster * 2)
  const whole = Buffer.concat([header, tables])
  return SparseImage.of(whole.subarray(0, change.fileSize ?? whole.length))
}

function writeExtensions(header: Buffer, start: number, change: Qcow2Change): void {
  let at = start
  for (const { type, data, length } of change.extensions ?? []) {
    header.writeUInt32BE(type, at)
    header.writeUInt32BE(length ?? data.length, at + 4)
    data.copy(header, at + 8)
    at = Math.ceil((at + 8 + data.length) / 8) * 8
  }
  if (change.endMark === false) {
    for (; at + 8 <= header.length; at += 8) header.writeUInt32BE(0x11223344, at)
  }
}

/** An image whose header names another file, as `qemu-img create -u -b NAME -F FORMAT` writes it. */
export function qcow2Over(name: string, format = 'raw', change: Qcow2Change = {}): SparseImage {
  return qcow2({
    extensions: [{ type: 0xe2792aca, data: Buffer.from(format) }],
    backing: { offset: 0x1000n, length: Buffer.byteLength(name), name },
    ...change
  })
}

export type VmdkChange = {
  descriptor?: string
  descriptorSectors?: number
  descriptorOffset?: bigint
  capacity?: bigint
  grain?: bigint
  entries?: number
  directory?: bigint
  checkBytes?: string
  compression?: number
  footer?: Partial<{
    capacity: bigint
    grain: bigint
    descriptorOffset: bigint
    directory: bigint
    magic: string
  }>
}

export const vmdkDescriptor = (lines: Record<string, string> = {}, extents = ['RW 2048 SPARSE "a.vmdk"']) =>
  [
    '# Disk DescriptorFile',
    ...Object.entries({
      version: '1',
      CID: '12345678',
      parentCID: 'ffffffff',
      createType: '"monolithicSparse"',
      ...lines
    }).map(([key, value]) => `${key}=${value}`),
    '',
    '# Extent description',
    ...extents,
    '',
    'ddb.adapterType = "ide"',
    ''
  ].join('\n')

/** A sparse VMDK of 1 MiB; with `footer` the header is repeated at the end, as stream writers do. */
export function vmdk(change: VmdkChange = {}): SparseImage {
  const sectors = change.descriptorSectors ?? 20
  const size = (1n + BigInt(sectors) + 256n) * 512n
  const header = vmdkHeader(change, sectors)
  const pieces = [
    { at: 0n, bytes: header },
    { at: 512n, bytes: Buffer.from(change.descriptor ?? vmdkDescriptor(), 'latin1') }
  ]
  const image = new SparseImage(size, pieces)
  if (change.footer === undefined) return image
  header.writeBigUInt64LE(0xffff_ffff_ffff_ffffn, 56)
  const { magic, ...fields } = change.footer
  const footer = vmdkHeader({ ...change, directory: 25n, ...fields }, sectors)
  footer.write(magic ?? 'KDMV', 0, 'latin1')
  return image.with({ at: size, bytes: Buffer.concat([footer, Buffer.alloc(512)]) })
}

function vmdkHeader(change: Partial<VmdkChange>, sectors: number): Buffer {
  const header = Buffer.alloc(512)
  header.write('KDMV', 0, 'latin1')
  header.writeUInt32LE(1, 4)
  header.writeUInt32LE(3, 8)
  header.writeBigUInt64LE(change.capacity ?? 2048n, 12)
  header.writeBigUInt64LE(change.grain ?? 128n, 20)
  header.writeBigUInt64LE(change.descriptorOffset ?? 1n, 28)
  header.writeBigUInt64LE(BigInt(sectors), 36)
  header.writeUInt32LE(change.entries ?? 512, 44)
  header.writeBigUInt64LE(change.directory ?? 25n, 56)
  header.write(change.checkBytes ?? '\n \r\n', 73, 'latin1')
  header.writeUInt16LE(change.compression ?? 0, 77)
  return header
}

export type VhdChange = {
  type?: number
  size?: bigint
  geometry?: [cylinders: number, heads: number, sectors: number]
  entries?: number
  blockSize?: number
  headerAt?: bigint
  parentName?: string
  locator?: boolean
  badChecksum?: boolean
  otherCopy?: boolean
}

/** A dynamic VHD of 4 MiB, or a fixed one (`type: 2`) of 1 MiB. */
export function vhd(change: VhdChange = {}): SparseImage {
  const type = change.type ?? 3
  const size = change.size ?? (type === 2 ? 2n ** 20n : 2n ** 22n)
  const footer = vhdFooter(type, size, change)
  if (type === 2) return new SparseImage(size, []).with({ at: size, bytes: footer })
  const copy = Buffer.from(footer)
  if (change.otherCopy) copy.writeUInt32BE(2, 60)
  const header = vhdDynamicHeader(change)
  const table = Buffer.alloc(512, 0xff)
  return SparseImage.of(Buffer.concat([copy, header, table, footer]))
}

function vhdFooter(type: number, size: bigint, change: VhdChange): Buffer {
  const footer = Buffer.alloc(512)
  footer.write('conectix', 0, 'latin1')
  footer.writeUInt32BE(2, 8)
  footer.writeUInt32BE(0x10000, 12)
  footer.writeBigUInt64BE(type === 2 ? 0xffff_ffff_ffff_ffffn : (change.headerAt ?? 512n), 16)
  footer.write('win ', 28, 'latin1')
  footer.writeBigUInt64BE(size, 40)
  footer.writeBigUInt64BE(size, 48)
  const [cylinders, heads, sectors] = change.geometry ?? [1, 1, 1]
  footer.writeUInt16BE(cylinders, 56)
  footer.writeUInt8(heads, 58)
  footer.writeUInt8(sectors, 59)
  footer.writeUInt32BE(type, 60)
  seal(footer, 64)
  if (change.badChecksum) footer.writeUInt32BE((footer.readUInt32BE(64) ^ 1) >>> 0, 64)
  return footer
}

function vhdDynamicHeader(change: VhdChange): Buffer {
  const header = Buffer.alloc(1024)
  header.write('cxsparse', 0, 'latin1')
  header.writeBigUInt64BE(0xffff_ffff_ffff_ffffn, 8)
  header.writeBigUInt64BE(1536n, 16)
  header.writeUInt32BE(0x10000, 24)
  header.writeUInt32BE(change.entries ?? 2, 28)
  header.writeUInt32BE(change.blockSize ?? 2 ** 21, 32)
  if (change.parentName !== undefined) header.write(change.parentName, 64, 'utf16le')
  if (change.locator) header.write('W2ku', 576, 'latin1')
  seal(header, 36)
  return header
}

function seal(block: Buffer, at: number): void {
  block.writeUInt32BE(0, at)
  let sum = 0
  for (const byte of block) sum += byte
  block.writeUInt32BE(~sum >>> 0, at)
}

export type VdiChange = {
  type?: number
  parent?: boolean
  size?: bigint
  blockSize?: number
  blocks?: number
  map?: number
  version?: number
}

/** A dynamic VDI of 4 MiB. */
export function vdi(change: VdiChange = {}): SparseImage {
  const header = Buffer.alloc(1024)
  header.write('<<< QEMU VM Virtual Disk Image >>>\n', 0, 'latin1')
  header.write('\x7f\x10\xda\xbe', 64, 'latin1')
  header.writeUInt32LE(change.version ?? 0x00010001, 68)
  header.writeUInt32LE(0x180, 72)
  header.writeUInt32LE(change.type ?? 1, 76)
  header.writeUInt32LE(change.map ?? 512, 340)
  header.writeUInt32LE(1024, 344)
  header.writeUInt32LE(512, 360)
  header.writeBigUInt64LE(change.size ?? 2n ** 22n, 368)
  header.writeUInt32LE(change.blockSize ?? 2 ** 20, 376)
  header.writeUInt32LE(change.blocks ?? 4, 384)
  if (change.parent) header.fill(0xab, 424, 440)
  return SparseImage.of(header)
}

export type VhdxChange = {
  hasParent?: boolean
  locator?: boolean
  log?: boolean
  size?: bigint
  secondTable?: 'different'
  badChecksum?: boolean
  unknownRegion?: boolean
  items?: number
  itemPlace?: number
}

const guid = (text: string): Buffer => {
  const bytes = Buffer.from(text.replaceAll('-', ''), 'hex')
  bytes.subarray(0, 4).reverse()
  bytes.subarray(4, 6).reverse()
  bytes.subarray(6, 8).reverse()
  return bytes
}

/** An empty VHDX of 1 MiB. */
export function vhdx(change: VhdxChange = {}): SparseImage {
  const image = Buffer.alloc(4 * 2 ** 20)
  image.write('vhdxfile', 0, 'latin1')
  for (const [i, at] of [0x10000, 0x20000].entries()) {
    const header = image.subarray(at, at + 4096)
    header.write('head', 0, 'latin1')
    header.writeBigUInt64LE(BigInt(i + 1), 8)
    if (change.log) header.fill(0x77, 48, 64)
    sealLittleEndian(header)
  }
  for (const at of [0x30000, 0x40000]) {
    const table = image.subarray(at, at + 65_536)
    writeRegions(table, change)
    if (at === 0x40000 && change.secondTable === 'different') table.writeBigUInt64LE(0x100000n, 32)
    sealLittleEndian(table)
    if (change.badChecksum) table.writeUInt32LE(1, 4)
  }
  writeVhdxMetadata(image.subarray(0x200000, 0x300000), change)
  return SparseImage.of(image)
}

function writeRegions(table: Buffer, change: VhdxChange): void {
  const metadata = change.unknownRegion
    ? '11111111-2222-3333-4444-555555555555'
    : '8b7ca206-4790-4b9a-b8fe-575f050f886e'
  table.write('regi', 0, 'latin1')
  table.writeUInt32LE(2, 8)
  guid('2dc27766-f623-4200-9d64-115e9bfd4a08').copy(table, 16)
  table.writeBigUInt64LE(0x300000n, 32)
  table.writeUInt32LE(0x100000, 40)
  guid(metadata).copy(table, 48)
  table.writeBigUInt64LE(0x200000n, 64)
  table.writeUInt32LE(0x100000, 72)
}

function writeVhdxMetadata(region: Buffer, change: VhdxChange): void {
  const items: Array<[string, Buffer]> = [
    ['caa16737-fa36-4d43-b3b6-33f0aa44e76b', Buffer.from([0, 0, 16, 0, change.hasParent ? 2 : 0, 0, 0, 0])],
    ['2fa54224-cd1b-4876-b211-5dbed83bf4b8', Buffer.alloc(8)]
  ]
  items[1]?.[1].writeBigUInt64LE(change.size ?? 2n ** 20n, 0)
  if (change.locator) items.push(['a8d35f2d-b30b-454d-abf7-d3d84834ab0c', Buffer.alloc(20)])
  region.write('metadata', 0, 'latin1')
  region.writeUInt16LE(change.items ?? items.length, 10)
  let place = 65_536
  for (const [i, [id, data]] of items.entries()) {
    guid(id).copy(region, 32 + i * 32)
    region.writeUInt32LE(change.itemPlace ?? place, 48 + i * 32)
    region.writeUInt32LE(data.length, 52 + i * 32)
    data.copy(region, place)
    place += data.length
  }
}

function sealLittleEndian(block: Buffer): void {
  block.writeUInt32LE(0, 4)
  block.writeUInt32LE(crc32c(block), 4)
}

/** The smallest thing that is taken for an ISO 9660 file system. */
export function iso(): SparseImage {
  return new SparseImage(2n ** 20n, [{ at: 32_768n, bytes: Buffer.from('\x01CD001\x01\x00', 'latin1') }])
}
