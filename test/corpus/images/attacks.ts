import type { ImageFormat } from '../../../storage/image-inspector.js'
import * as good from './builders.js'
import { SparseImage } from './sparse-image.js'

// Images that must never reach qemu-img. Each names the rule that has to stop it when it is declared as what
// it is; declared as anything else it must be refused as well.

export type Attack = {
  name: string
  /** What the attacker would declare. */
  declared: ImageFormat
  rule: string
  image: SparseImage
}

/** Stands for a file of the host. Its text must never come out of an import. */
export const canary = '/etc/drover-canary'

const attack = (name: string, declared: ImageFormat, rule: string, image: SparseImage): Attack => ({
  name,
  declared,
  rule,
  image
})

const text = (content: string): SparseImage => SparseImage.of(Buffer.from(content, 'latin1'))
const patch = (image: SparseImage, at: number, bytes: Buffer | string): SparseImage =>
  image.with({ at: BigInt(at), bytes: typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes })

const backing = (name: string, format?: string): SparseImage => good.qcow2Over(name, format)
const dataFile = { type: 0x44415441, data: Buffer.from(canary) }

const leaks: Attack[] = [
  attack('qcow2-backing-file', 'qcow2', 'qcow2.backing-file', backing(canary)),
  attack('qcow2-backing-relative', 'qcow2', 'qcow2.backing-file', backing('../../../../../etc/shadow')),
  attack(
    'qcow2-backing-nothing',
    'qcow2',
    'qcow2.backing-file',
    good.qcow2({ backing: { offset: 0x1000n, length: 0 } })
  ),
  ...[
    'nbd://127.0.0.1:10999/x',
    'http://169.254.169.254/',
    'ssh://host/x',
    'rbd:pool/x',
    'gluster://h/v/x',
    'iscsi://h/t/0',
    'fat:/etc'
  ].map((url, i) => attack(`qcow2-backing-url-${i}`, 'qcow2', 'qcow2.backing-file', backing(url))),
  attack(
    'qcow2-backing-json',
    'qcow2',
    'qcow2.backing-file',
    backing(`json:{"driver":"raw","file":{"driver":"file","filename":"${canary}"}}`)
  ),
  attack(
    'qcow2-backing-format-only',
    'qcow2',
    'qcow2.backing-file',
    good.qcow2({ extensions: [{ type: 0xe2792aca, data: Buffer.from('raw') }] })
  ),
  attack(
    'qcow2-data-file-bit',
    'qcow2',
    'qcow2.data-file',
    good.qcow2({ incompatible: 4n, extensions: [dataFile] })
  ),
  attack('qcow2-data-file-name', 'qcow2', 'qcow2.data-file', good.qcow2({ extensions: [dataFile] })),
  attack('qcow2-data-file-raw', 'qcow2', 'qcow2.data-file', good.qcow2({ autoclear: 2n })),
  attack(
    'qcow2-two-data-files',
    'qcow2',
    'qcow2.data-file',
    good.qcow2({ extensions: [dataFile, dataFile] })
  ),
  attack(
    'guest-wrote-qcow2-into-raw',
    'raw',
    'raw-has-format',
    good.qcow2({ incompatible: 4n, extensions: [dataFile] })
  )
]

const headers: Attack[] = [
  attack('qcow2-version-1', 'qcow2', 'qcow2.version', good.qcow2({ version: 1 })),
  attack('qcow2-version-4', 'qcow2', 'qcow2.version', good.qcow2({ version: 4 })),
  ...[0, 8, 22, 31, 0xffffffff].map(bits =>
    attack(`qcow2-cluster-bits-${bits}`, 'qcow2', 'qcow2.cluster-bits', good.qcow2({ clusterBits: bits }))
  ),
  attack('qcow2-l1-entries', 'qcow2', 'qcow2.l1-size', good.qcow2({ l1Entries: 0xffffffff })),
  attack('qcow2-l1-of-1-pib', 'qcow2', 'qcow2.size', good.qcow2({ l1Entries: 4 * 2 ** 20, size: 2n ** 50n })),
  attack('qcow2-l1-too-small', 'qcow2', 'qcow2.l1-size', good.qcow2({ size: 2n ** 40n })),
  attack('qcow2-l1-none', 'qcow2', 'qcow2.l1-size', good.qcow2({ l1Entries: 0 })),
  attack('qcow2-l1-offset-far', 'qcow2', 'qcow2.l1-offset', good.qcow2({ l1Offset: 2n ** 40n })),
  attack('qcow2-l1-offset-crooked', 'qcow2', 'qcow2.l1-offset', good.qcow2({ l1Offset: 0x30008n })),
  attack('qcow2-l1-offset-header', 'qcow2', 'qcow2.l1-offset', good.qcow2({ l1Offset: 0n })),
  attack(
    'qcow2-l1-offset-wraps',
    'qcow2',
    'qcow2.l1-offset',
    good.qcow2({ l1Offset: 0xffff_ffff_ffff_0000n })
  ),
  ...[1n, 2n, 5n, 40n, 63n].map(bit => {
    const rule = bit === 1n ? 'corrupt' : bit === 2n ? 'data-file' : 'features'
    return attack(
      `qcow2-incompatible-${bit}`,
      'qcow2',
      `qcow2.${rule}`,
      good.qcow2({ incompatible: 1n << bit })
    )
  }),
  attack('qcow2-refcount-order', 'qcow2', 'qcow2.refcount-order', good.qcow2({ refcountOrder: 7 })),
  attack(
    'qcow2-refcount-clusters',
    'qcow2',
    'qcow2.refcount-table',
    good.qcow2({ refcountClusters: 0x7fffffff })
  ),
  attack('qcow2-refcount-none', 'qcow2', 'qcow2.refcount-table', good.qcow2({ refcountClusters: 0 })),
  attack('qcow2-refcount-offset', 'qcow2', 'qcow2.refcount-table', good.qcow2({ refcountOffset: 2n ** 62n })),
  ...[0, 100, 108, 520, 65_528, 2 ** 31].map(length =>
    attack(`qcow2-header-length-${length}`, 'qcow2', 'qcow2.header-length', headerOfLength(length))
  ),
  ...[1, 2, 7].map(method =>
    attack(`qcow2-encryption-${method}`, 'qcow2', 'qcow2.encryption', good.qcow2({ encryption: method }))
  ),
  attack(
    'qcow2-encryption-header',
    'qcow2',
    'qcow2.encryption',
    good.qcow2({ extensions: [{ type: 0x0537be77, data: Buffer.alloc(16) }] })
  ),
  attack('qcow2-snapshots', 'qcow2', 'qcow2.internal-snapshots', good.qcow2({ snapshots: 70_000 })),
  attack(
    'qcow2-snapshot-offset',
    'qcow2',
    'qcow2.internal-snapshots',
    good.qcow2({ snapshotsOffset: 0x40000n })
  ),
  attack(
    'qcow2-backing-offset-far',
    'qcow2',
    'qcow2.backing-file',
    good.qcow2({ backing: { offset: 2n ** 40n, length: 10 } })
  ),
  attack(
    'qcow2-backing-length',
    'qcow2',
    'qcow2.backing-file',
    good.qcow2({ backing: { offset: 0x1000n, length: 5000 } })
  ),
  ...[0n, 2n ** 60n, 2n ** 63n, 64n * 2n ** 40n + 1n].map(size =>
    attack(`qcow2-size-${size}`, 'qcow2', 'qcow2.size', good.qcow2({ size }))
  ),
  attack('qcow2-tiny-1-eib', 'qcow2', 'qcow2.size', good.qcow2({ size: 2n ** 60n, fileSize: 200 })),
  attack('qcow2-header-cut', 'qcow2', 'qcow2.truncated', good.qcow2({ fileSize: 60 })),
  attack('qcow2-v3-header-cut', 'qcow2', 'qcow2.truncated', good.qcow2({ fileSize: 90 })),
  attack(
    'qcow2-extension-length',
    'qcow2',
    'qcow2.extensions',
    good.qcow2({ extensions: [{ type: 0x6803f857, data: Buffer.alloc(8), length: 2 ** 31 }] })
  ),
  attack('qcow2-no-end-mark', 'qcow2', 'qcow2.extensions', good.qcow2({ endMark: false })),
  attack(
    'qcow2-many-extensions',
    'qcow2',
    'qcow2.extensions',
    good.qcow2({
      extensions: Array.from({ length: 65 }, () => ({ type: 0x12345678, data: Buffer.alloc(8) }))
    })
  ),
  attack(
    'qcow2-compression-type',
    'qcow2',
    'qcow2.compression-type',
    good.qcow2({ headerLength: 112, incompatible: 8n, compressionType: 2 })
  ),
  attack(
    'qcow2-compression-short-header',
    'qcow2',
    'qcow2.compression-type',
    good.qcow2({ incompatible: 8n })
  ),
  attack(
    'qcow2-compression-without-bit',
    'qcow2',
    'qcow2.compression-type',
    good.qcow2({ headerLength: 112, compressionType: 1 })
  )
]

function headerOfLength(length: number): SparseImage {
  const image = good.qcow2()
  const field = Buffer.alloc(4)
  field.writeUInt32BE(length)
  return patch(image, 100, field)
}

const flat = (extent: string, type = 'monolithicFlat') =>
  good.vmdkDescriptor({ createType: `"${type}"` }, [extent])

const vmdks: Attack[] = [
  attack('vmdk-flat-descriptor', 'vmdk', 'format', text(flat(`RW 128 FLAT "${canary}" 0`))),
  attack(
    'vmdk-descriptor-after-blanks',
    'vmdk',
    'format',
    text(`\n\n  \n${flat(`RW 128 FLAT "${canary}" 0`)}`)
  ),
  attack(
    'vmdk-descriptor-without-title',
    'vmdk',
    'format',
    text(`# x\nversion=1\nRW 128 FLAT "${canary}" 0\n`)
  ),
  attack('vmdk-descriptor-in-raw', 'raw', 'raw-has-format', text(flat(`RW 128 FLAT "${canary}" 0`))),
  attack(
    'vmdk-two-gb-extents',
    'vmdk',
    'vmdk.create-type',
    good.vmdk({ descriptor: good.vmdkDescriptor({ createType: '"twoGbMaxExtentSparse"' }) })
  ),
  attack(
    'vmdk-flat-extent',
    'vmdk',
    'vmdk.extents',
    good.vmdk({ descriptor: good.vmdkDescriptor({}, [`RW 128 FLAT "${canary}" 0`]) })
  ),
  attack(
    'vmdk-device-extent',
    'vmdk',
    'vmdk.extents',
    good.vmdk({ descriptor: good.vmdkDescriptor({}, ['RW 128 VMFSRDM "/dev/sda"']) })
  ),
  attack(
    'vmdk-path-extent',
    'vmdk',
    'vmdk.extents',
    good.vmdk({ descriptor: good.vmdkDescriptor({}, [`RW 2048 SPARSE "${canary}"`]) })
  ),
  attack(
    'vmdk-windows-path',
    'vmdk',
    'vmdk.extents',
    good.vmdk({ descriptor: good.vmdkDescriptor({}, ['RW 2048 SPARSE "..\\\\x.vmdk"']) })
  ),
  attack(
    'vmdk-two-extents',
    'vmdk',
    'vmdk.extents',
    good.vmdk({ descriptor: good.vmdkDescriptor({}, ['RW 1024 SPARSE "a"', 'RW 1024 SPARSE "b"']) })
  ),
  attack('vmdk-no-extent', 'vmdk', 'vmdk.extents', good.vmdk({ descriptor: good.vmdkDescriptor({}, []) })),
  attack(
    'vmdk-parent-cid',
    'vmdk',
    'vmdk.parent',
    good.vmdk({ descriptor: good.vmdkDescriptor({ parentCID: 'deadbeef' }) })
  ),
  attack(
    'vmdk-parent-hint',
    'vmdk',
    'vmdk.parent',
    good.vmdk({ descriptor: good.vmdkDescriptor({ parentFileNameHint: `"${canary}"` }) })
  ),
  attack(
    'vmdk-binary-descriptor',
    'vmdk',
    'vmdk.descriptor-text',
    good.vmdk({ descriptor: `${good.vmdkDescriptor()}\x01\x02` })
  ),
  attack(
    'vmdk-hidden-after-nul',
    'vmdk',
    'vmdk.descriptor-text',
    good.vmdk({ descriptor: `${good.vmdkDescriptor()}\0parentCID=1\n` })
  ),
  attack('vmdk-descriptor-2-mib', 'vmdk', 'vmdk.descriptor-size', good.vmdk({ descriptorSectors: 4096 })),
  attack(
    'vmdk-many-extents',
    'vmdk',
    'vmdk.extents',
    good.vmdk({
      descriptorSectors: 2048,
      descriptor: good.vmdkDescriptor(
        {},
        Array.from({ length: 40_000 }, (_, i) => `RW 1 SPARSE "${i}"`)
      )
    })
  ),
  attack(
    'vmdk-million-extents',
    'vmdk',
    'format',
    text(
      good.vmdkDescriptor(
        {},
        Array.from({ length: 10 ** 6 }, () => 'RW 1 FLAT "a" 0')
      )
    )
  ),
  attack(
    'vmdk-descriptor-outside',
    'vmdk',
    'vmdk.descriptor-place',
    good.vmdk({ descriptorOffset: 2n ** 50n })
  ),
  attack('vmdk-descriptor-missing', 'vmdk', 'vmdk.descriptor-place', good.vmdk({ descriptorOffset: 0n })),
  attack('vmdk-grain-1', 'vmdk', 'vmdk.grain', good.vmdk({ grain: 1n })),
  attack('vmdk-grain-100', 'vmdk', 'vmdk.grain', good.vmdk({ grain: 100n })),
  attack('vmdk-grain-huge', 'vmdk', 'vmdk.grain', good.vmdk({ grain: 2n ** 40n })),
  attack('vmdk-tables', 'vmdk', 'vmdk.grain-table', good.vmdk({ entries: 0xffffffff })),
  attack('vmdk-capacity', 'vmdk', 'vmdk.size', good.vmdk({ capacity: 2n ** 54n })),
  attack('vmdk-capacity-0', 'vmdk', 'vmdk.size', good.vmdk({ capacity: 0n })),
  attack('vmdk-check-bytes', 'vmdk', 'vmdk.check-bytes', good.vmdk({ checkBytes: '\n \n\n' })),
  attack('vmdk-compression', 'vmdk', 'vmdk.compression', good.vmdk({ compression: 2 })),
  attack('vmdk-directory', 'vmdk', 'vmdk.grain-directory', good.vmdk({ directory: 2n ** 40n })),
  attack('vmdk-footer-capacity', 'vmdk', 'vmdk.footer', good.vmdk({ footer: { capacity: 2n ** 30n } })),
  attack('vmdk-footer-descriptor', 'vmdk', 'vmdk.footer', good.vmdk({ footer: { descriptorOffset: 100n } })),
  attack('vmdk-footer-missing', 'vmdk', 'vmdk.footer', good.vmdk({ directory: 0xffff_ffff_ffff_ffffn })),
  attack(
    'vmdk-footer-directory',
    'vmdk',
    'vmdk.grain-directory',
    good.vmdk({ footer: { directory: 2n ** 50n } })
  ),
  attack('vmdk-version-3-cowd', 'vmdk', 'format', text('COWD'.padEnd(1024, '\0')))
]

const others: Attack[] = [
  attack('vhd-differencing', 'vpc', 'vpc.differencing', good.vhd({ type: 4 })),
  attack('vhd-parent-name', 'vpc', 'vpc.differencing', good.vhd({ parentName: '/etc/shadow' })),
  attack('vhd-parent-locator', 'vpc', 'vpc.differencing', good.vhd({ locator: true })),
  attack('vhd-type-9', 'vpc', 'vpc.disk-type', good.vhd({ type: 9 })),
  attack('vhd-checksum', 'vpc', 'vpc.footer', good.vhd({ badChecksum: true })),
  attack('vhd-other-copy', 'vpc', 'vpc.footer', good.vhd({ otherCopy: true })),
  attack('vhd-8-eib', 'vpc', 'vpc.size', good.vhd({ size: 2n ** 63n })),
  attack('vhd-3-tib', 'vpc', 'vpc.size', good.vhd({ size: 3n * 2n ** 40n })),
  attack('vhd-size-0', 'vpc', 'vpc.size', good.vhd({ size: 0n, geometry: [0, 0, 0] })),
  attack('vhd-table', 'vpc', 'vpc.table', good.vhd({ entries: 0xffffffff })),
  attack('vhd-block-size', 'vpc', 'vpc.block-size', good.vhd({ blockSize: 3 })),
  attack('vhd-header-outside', 'vpc', 'outside-file', good.vhd({ headerAt: 2n ** 62n })),
  attack('vhd-fixed-longer-than-file', 'vpc', 'vpc.size', shortFixed()),
  attack('vhdx-parent', 'vhdx', 'vhdx.parent', good.vhdx({ hasParent: true })),
  attack('vhdx-parent-locator', 'vhdx', 'vhdx.parent', good.vhdx({ locator: true })),
  attack('vhdx-log', 'vhdx', 'vhdx.pending-log', good.vhdx({ log: true })),
  attack('vhdx-two-tables', 'vhdx', 'vhdx.regions', good.vhdx({ secondTable: 'different' })),
  attack('vhdx-checksum', 'vhdx', 'vhdx.regions', good.vhdx({ badChecksum: true })),
  attack('vhdx-unknown-region', 'vhdx', 'vhdx.regions', good.vhdx({ unknownRegion: true })),
  attack('vhdx-size', 'vhdx', 'vhdx.size', good.vhdx({ size: 2n ** 60n })),
  attack('vhdx-item-outside', 'vhdx', 'vhdx.metadata', good.vhdx({ itemPlace: 0xffffff00 })),
  attack('vhdx-many-items', 'vhdx', 'vhdx.metadata', good.vhdx({ items: 65_535 })),
  attack('vhdx-header-only', 'vhdx', 'outside-file', text('vhdxfile'.padEnd(4096, '\0'))),
  attack('vdi-type-4', 'vdi', 'vdi.image-type', good.vdi({ type: 4 })),
  attack('vdi-parent', 'vdi', 'vdi.parent', good.vdi({ parent: true })),
  attack('vdi-size', 'vdi', 'vdi.size', good.vdi({ size: 2n ** 63n })),
  attack('vdi-blocks', 'vdi', 'vdi.block-map', good.vdi({ blocks: 0xffffffff })),
  attack('vdi-uncovered', 'vdi', 'vdi.block-map', good.vdi({ blocks: 1 })),
  attack('vdi-block-size', 'vdi', 'vdi.block-size', good.vdi({ blockSize: 7 })),
  attack('vdi-map-in-header', 'vdi', 'vdi.block-map', good.vdi({ map: 0 })),
  attack('qed', 'raw', 'raw-has-format', text('QED\0'.padEnd(4096, '\0'))),
  attack('luks', 'raw', 'raw-has-format', text('LUKS\xba\xbe'.padEnd(4096, '\0'))),
  attack('parallels', 'raw', 'raw-has-format', text('WithoutFreeSpace'.padEnd(4096, '\0'))),
  attack('parallels-ext', 'raw', 'raw-has-format', text('WithouFreSpacExt'.padEnd(4096, '\0'))),
  attack('bochs', 'raw', 'raw-has-format', text('Bochs Virtual HD Image'.padEnd(4096, '\0'))),
  attack('cloop', 'raw', 'raw-has-format', text('#!/bin/sh\n#V2.0 Format\n'.padEnd(4096, '\0'))),
  attack('dmg', 'raw', 'raw-has-format', text(`${'\0'.repeat(4096)}koly`.padEnd(4608, '\0'))),
  attack('empty', 'raw', 'raw.size', text('')),
  attack('sparse-8-eib', 'raw', 'raw.size', new SparseImage(2n ** 63n - 1n, []))
]

/** A fixed disk whose footer promises more data than the file has. */
function shortFixed(): SparseImage {
  const { pieces } = good.vhd({ type: 2, size: 2n ** 30n })
  const footer = pieces.at(-1)?.bytes ?? Buffer.alloc(0)
  return SparseImage.of(Buffer.concat([Buffer.alloc(65_536), footer]))
}

const footerOf = (image: SparseImage): Buffer => image.pieces.at(-1)?.bytes.subarray(-512) ?? Buffer.alloc(0)

const polyglots: Attack[] = [
  attack('iso-with-qcow2', 'iso', 'polyglot', patch(good.iso(), 0, 'QFI\xfb\0\0\0\x03')),
  attack('iso-with-vmdk', 'iso', 'polyglot', patch(good.iso(), 0, 'KDMV')),
  attack('iso-with-vdi', 'iso', 'polyglot', patch(good.iso(), 64, '\x7f\x10\xda\xbe')),
  attack('mbr-with-vmdk', 'vmdk', 'polyglot', patch(good.vmdk(), 510, '\x55\xaa')),
  attack('gpt-with-qed', 'raw', 'polyglot', text('QED\0'.padEnd(512, '\0') + 'EFI PART'.padEnd(512, '\0'))),
  attack('gpt-with-qcow2', 'qcow2', 'polyglot', patch(good.qcow2(), 512, 'EFI PART')),
  attack(
    'qcow2-with-vhd-footer',
    'qcow2',
    'polyglot',
    appended(good.qcow2(), footerOf(good.vhd({ type: 2 })))
  ),
  attack('vhd-footer-and-dmg', 'vpc', 'format', text(`${'\0'.repeat(4096)}koly`.padEnd(4608, '\0'))),
  attack('qcow2-and-vdi', 'qcow2', 'polyglot', patch(good.qcow2(), 64, '\x7f\x10\xda\xbe'))
]

function appended(image: SparseImage, bytes: Buffer): SparseImage {
  return image.with({ at: image.size, bytes })
}

/** Good images under a false flag. */
const mislabelled: Attack[] = [
  attack('raw-with-vhd-footer', 'raw', 'raw-has-format', good.vhd({ type: 2 })),
  attack('qcow2-as-raw', 'raw', 'raw-has-format', good.qcow2()),
  attack('iso-as-raw', 'raw', 'raw-has-format', good.iso()),
  attack('vdi-as-qcow2', 'qcow2', 'declared-format', good.vdi()),
  attack('raw-as-qcow2', 'qcow2', 'declared-format', new SparseImage(2n ** 20n, [])),
  attack('vmdk-as-vpc', 'vpc', 'declared-format', good.vmdk()),
  attack('vhdx-as-vpc', 'vpc', 'declared-format', good.vhdx())
]

/** Attacks that are bad whatever is declared. */
export const attacks: readonly Attack[] = [...leaks, ...headers, ...vmdks, ...others, ...polyglots]
/** Attacks that are good images, but not the declared ones. */
export const falseFlags: readonly Attack[] = mislabelled
