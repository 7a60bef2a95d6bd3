// What lies on a disk, by the signatures in its first and last MiB. We look ourselves: programs made for that open
// disks for writing, follow what they find, and hang.

export type LunContent =
  | { kind: 'partitionTable'; name: 'GPT' | 'MBR' }
  | { kind: 'fileSystem'; name: string }
  | { kind: 'lvm'; pvId: string; vg: string | null }
  | { kind: 'storageDomain'; storageDomainId: string; isReady: boolean }
  | { kind: 'raid' | 'encrypted' | 'swap' | 'leases' | 'image' | 'unknown'; name: string }

type Signature = { at: number; bytes: string; content: LunContent }
const fileSystem = (name: string): LunContent => ({ kind: 'fileSystem', name })

// Offsets and magic numbers as the formats define them; latin1.
const atStart: Signature[] = [
  { at: 510, bytes: '\x55\xaa', content: { kind: 'partitionTable', name: 'MBR' } },
  { at: 512, bytes: 'EFI PART', content: { kind: 'partitionTable', name: 'GPT' } },
  { at: 4096, bytes: 'EFI PART', content: { kind: 'partitionTable', name: 'GPT' } },
  { at: 1080, bytes: '\x53\xef', content: fileSystem('ext') },
  { at: 0, bytes: 'XFSB', content: fileSystem('xfs') },
  { at: 65600, bytes: '_BHRfS_M', content: fileSystem('btrfs') },
  { at: 3, bytes: 'NTFS    ', content: fileSystem('ntfs') },
  { at: 3, bytes: 'EXFAT   ', content: fileSystem('exfat') },
  { at: 54, bytes: 'FAT1', content: fileSystem('fat') },
  { at: 82, bytes: 'FAT32', content: fileSystem('fat') },
  { at: 32769, bytes: 'CD001', content: fileSystem('iso9660') },
  { at: 65536, bytes: '\x01\x16\x19\x70', content: fileSystem('gfs2') },
  { at: 8192, bytes: 'OCFSV2', content: fileSystem('ocfs2') },
  { at: 4096, bytes: 'OCFSV2', content: fileSystem('ocfs2') },
  { at: 2048, bytes: 'OCFSV2', content: fileSystem('ocfs2') },
  { at: 1024, bytes: 'OCFSV2', content: fileSystem('ocfs2') },
  { at: 1024, bytes: '\x10\x20\xf5\xf2', content: fileSystem('f2fs') },
  { at: 0, bytes: 'hsqs', content: fileSystem('squashfs') },
  // After the first MiB, which VMware leaves to others.
  { at: 1048576, bytes: '\x0d\xd0\x01\xc0', content: fileSystem('vmfs') },
  { at: 0, bytes: 'LUKS\xba\xbe', content: { kind: 'encrypted', name: 'luks' } },
  { at: 4086, bytes: 'SWAPSPACE2', content: { kind: 'swap', name: 'swap' } },
  { at: 0, bytes: '\xfc\x4e\x2b\xa9', content: { kind: 'raid', name: 'md' } },
  { at: 4096, bytes: '\xfc\x4e\x2b\xa9', content: { kind: 'raid', name: 'md' } },
  { at: 4120, bytes: '\xc6\x85\x73\xf6\x4e\x1a\x45\xca', content: { kind: 'raid', name: 'bcache' } },
  { at: 0, bytes: '\x10\x20\x21\x12', content: { kind: 'leases', name: 'sanlock lockspace' } },
  { at: 0, bytes: '\x10\x20\x15\x06', content: { kind: 'leases', name: 'sanlock lease' } },
  { at: 0, bytes: 'QFI\xfb', content: { kind: 'image', name: 'qcow2' } },
  { at: 0, bytes: 'bluestore block device', content: { kind: 'unknown', name: 'ceph bluestore' } }
]

/** Old RAID superblocks, and the second copy of a GPT, lie before the end of the disk. */
const beforeEnd: Signature[] = [
  { at: 512, bytes: 'EFI PART', content: { kind: 'partitionTable', name: 'GPT' } },
  { at: 4096, bytes: 'EFI PART', content: { kind: 'partitionTable', name: 'GPT' } }
]

// ZFS keeps uberblocks from 128 KiB on, wherever the ring is now.
const zfsBlock = Buffer.from([0x0c, 0xb1, 0xba, 0x00, 0, 0, 0, 0])

/** What LVM's own metadata says, once it was read; null where the disk is no PV. */
export type LvmFound = { pvId: string; vg: string | null; tags: readonly string[] }

/** Everything that is recognised. Empty is "nothing known", and only an all-zero beginning is nothing at all. */
export function recogniseContents(start: Buffer, end: Buffer, lvm: LvmFound | null): LunContent[] {
  const found: LunContent[] = lvm === null ? [] : [lvmContent(lvm)]
  for (const { at, bytes, content } of atStart)
    if (start.toString('latin1', at, at + bytes.length) === bytes) add(found, content)
  for (const { at, bytes, content } of beforeEnd) {
    const from = end.length - at
    if (from >= 0 && end.toString('latin1', from, from + bytes.length) === bytes) add(found, content)
  }
  if (hasOldRaid(end)) add(found, { kind: 'raid', name: 'md' })
  if (hasZfs(start)) add(found, fileSystem('zfs'))
  if (found.length === 0 && start.some(byte => byte !== 0)) found.push({ kind: 'unknown', name: 'data' })
  // The sector of a file system's own boot code ends like a partition table.
  const hasFat = found.some(({ kind, name }: Named) => kind === 'fileSystem' && /fat|ntfs/.test(name ?? ''))
  return hasFat ? found.filter(({ kind }) => kind !== 'partitionTable') : found
}

type Named = { kind: string; name?: string }

function add(found: LunContent[], content: LunContent): void {
  const same = (other: Named) => other.kind === content.kind && other.name === (content as Named).name
  // A GPT is guarded by an MBR: one table, not two.
  if (content.kind === 'partitionTable') {
    const index = found.findIndex(({ kind }) => kind === 'partitionTable')
    if (index === -1) found.push(content)
    else if (content.name === 'GPT') found[index] = content
  } else if (!found.some(same)) found.push(content)
}

function lvmContent({ pvId, vg, tags }: LvmFound): LunContent {
  const isUuid = vg !== null && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(vg)
  const isReady = tags.includes('RHAT_storage_domain')
  const isOurs = isReady || tags.includes('RHAT_storage_domain_UNREADY')
  return isUuid && isOurs
    ? { kind: 'storageDomain', storageDomainId: vg, isReady }
    : { kind: 'lvm', pvId, vg }
}

// Version 0.90: in the last whole 64 KiB but one; version 1.0: 8 to 12 KiB before the end.
function hasOldRaid(end: Buffer): boolean {
  const magic = 0xa92b4efc
  for (let at = Math.max(0, end.length - 128 * 1024); at + 4 <= end.length; at += 4096)
    if (end.readUInt32LE(at) === magic) return true
  return false
}

function hasZfs(start: Buffer): boolean {
  for (let at = 128 * 1024; at + 8 <= Math.min(start.length, 256 * 1024); at += 1024)
    if (start.subarray(at, at + 8).equals(zfsBlock)) return true
  return false
}

/** In words, for a person who chooses a LUN. */
export function contentText(content: LunContent): string {
  switch (content.kind) {
    case 'partitionTable':
      return `${content.name} partition table`
    case 'fileSystem':
      return `file system ${content.name}`
    case 'lvm':
      return content.vg === null ? 'LVM physical volume' : `LVM physical volume of ${content.vg}`
    case 'storageDomain':
      return `storage domain ${content.storageDomainId}${content.isReady ? '' : ' (half made)'}`
    case 'raid':
      return `RAID member (${content.name})`
    case 'encrypted':
      return `encrypted (${content.name})`
    case 'swap':
      return 'swap'
    case 'leases':
      return content.name
    case 'image':
      return `disk image (${content.name})`
    case 'unknown':
      return content.name === 'data' ? 'unknown data' : content.name
  }
}

/** Where the text of an LVM metadata area is worth reading: not more than this, of the first area in use. */
export const mostLvmText = 8 * 2 ** 20
