import { Fault } from '../../common/fault.js'
import type { Bytes } from '../../common/units.js'
import type { BlockDisk } from './block-disks.js'
import { type LunContent, contentText } from './lun-contents.js'

/** One way to a LUN. */
export type LunPath = { disk: string; address: string | null; state: string }

/** A disk of a storage array, however many ways lead to it. */
export type Lun = {
  wwid: string
  /** The device to use: the same name on every host. */
  device: string
  /** The kernel's device, for reading what is on it. */
  node: string
  size: Bytes
  sectorSize: number
  vendor: string
  product: string
  serial: string
  transport: BlockDisk['transport']
  isMultipath: boolean
  isReadOnly: boolean
  paths: LunPath[]
  /** Who has it open on this host, in words: mounts, swap, partitions, devices on top. */
  users: string[]
  /** Whether this host's own system lies on it. */
  isSystem: boolean
}

/** Mounts and swap of this host, by the kernel's name of the device. */
export type DeviceUse = { device: string; use: string; isSystem: boolean }

/** Puts the paths of one LUN together. Disks without a WWID cannot be told apart by other hosts and are left out. */
export function groupLuns(disks: readonly BlockDisk[], uses: readonly DeviceUse[]): Lun[] {
  const byName = new Map(disks.map(disk => [disk.name, disk]))
  const paths = groupByWwid(disks.filter(disk => disk.mapper === null))
  return [...paths].map(([wwid, group]) => {
    const map = disks.find(disk => disk.mapper !== null && disk.wwid === wwid) ?? null
    const [first] = group as [BlockDisk]
    const shown = map ?? first
    const own = new Set([shown.name, ...group.map(({ name }) => name)])
    const above = reach(byName, [...group, ...(map ? [map] : [])])
    const found = uses.filter(({ device }) => above.has(device))
    return {
      wwid,
      device: map?.mapper ? `/dev/mapper/${map.mapper.name}` : `/dev/disk/by-id/${linkName(first, wwid)}`,
      node: `/dev/${shown.name}`,
      size: shown.size,
      sectorSize: shown.sectorSize,
      vendor: first.vendor,
      product: first.product,
      serial: first.serial,
      transport: first.transport,
      isMultipath: map !== null,
      isReadOnly: shown.isReadOnly,
      paths: group.map(({ name, address, state }) => ({ disk: name, address, state })),
      users: [
        ...new Set([
          ...found.map(({ use }) => use),
          ...group.flatMap(({ partitions }) => partitions.map(name => `partition ${name}`)),
          ...[...above]
            .filter(name => !own.has(name) && byName.has(name))
            .map(name => holderText(byName, name))
        ])
      ],
      isSystem: found.some(({ isSystem }) => isSystem)
    }
  })
}

function groupByWwid(disks: readonly BlockDisk[]): Map<string, BlockDisk[]> {
  const groups = new Map<string, BlockDisk[]>()
  for (const disk of disks) {
    if (disk.wwid === null || disk.size === 0) continue
    groups.set(disk.wwid, [...(groups.get(disk.wwid) ?? []), disk])
  }
  return groups
}

/** The disks with their partitions and everything that lies on top of them. */
function reach(byName: ReadonlyMap<string, BlockDisk>, disks: readonly BlockDisk[]): Set<string> {
  const seen = new Set<string>()
  const waiting = disks.map(({ name }) => name)
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (seen.has(name)) continue
    seen.add(name)
    const disk = byName.get(name)
    for (const partition of disk?.partitions ?? []) seen.add(partition)
    waiting.push(...(disk?.holders ?? []))
  }
  return seen
}

function holderText(byName: ReadonlyMap<string, BlockDisk>, name: string): string {
  return byName.get(name)?.mapper?.name ?? name
}

/** udev's link, which is the same on every host and for every boot. */
function linkName({ transport }: BlockDisk, wwid: string): string {
  if (transport === 'nvme') return `nvme-${wwid}`
  return `scsi-${wwid}`
}

export type LunUse = {
  /** free: nothing is known to be on it. used: part of a storage domain. foreign: something else is on it. */
  state: 'free' | 'used' | 'foreign' | 'refused'
  why: string
}

/** Whether a LUN may become part of a storage domain. `contents` is null where it does not answer. PURE. */
export function judgeLun(lun: Lun, contents: readonly LunContent[] | null): LunUse {
  if (lun.isSystem)
    return { state: 'refused', why: `this host's own system lies on it (${lun.users.join(', ')})` }
  if (contents === null) return { state: 'refused', why: 'it does not answer' }
  const storageDomain = contents.find(content => content.kind === 'storageDomain')
  if (storageDomain) return { state: 'used', why: contentText(storageDomain) }
  const mounted = lun.users.filter(user => !user.startsWith('partition '))
  if (mounted.length > 0) return { state: 'refused', why: `in use on this host: ${mounted.join(', ')}` }
  if (lun.isReadOnly) return { state: 'refused', why: 'it is read-only' }
  if (contents.length > 0) return { state: 'foreign', why: contents.map(contentText).join(', ') }
  return { state: 'free', why: '' }
}

/** Refuses what is not free. A storage domain that is being made may find its own beginning. */
export function throwUnlessUsable(
  lun: Lun,
  contents: readonly LunContent[] | null,
  storageDomainId: string | null
): void {
  const { state, why } = judgeLun(lun, contents)
  const isOwn = storageDomainId !== null && isBeginningOf(contents ?? [], storageDomainId)
  if (state === 'free' || ((state === 'used' || state === 'foreign') && isOwn)) return
  const facts = { wwid: lun.wwid, state }
  throw new Fault('LUN_IN_USE', `LUN ${lun.wwid}: ${why}`, { facts })
}

/** A PV without a VG is nobody's data: it is what a creation leaves that was cut short early. */
function isBeginningOf(contents: readonly LunContent[], storageDomainId: string): boolean {
  return contents.every(
    content =>
      (content.kind === 'storageDomain' && content.storageDomainId === storageDomainId) ||
      (content.kind === 'lvm' && content.vg === null)
  )
}

/** Whether a VM may have a LUN: what lies on it is its own, unless a host or a storage domain uses it. PURE. */
export function throwUnlessForGuest(
  lun: Lun,
  contents: readonly LunContent[] | null,
  isReadOnly: boolean
): void {
  const { state, why } = judgeLun(isReadOnly ? { ...lun, isReadOnly: false } : lun, contents)
  if (state === 'free' || state === 'foreign') return
  throw new Fault('LUN_IN_USE', `LUN ${lun.wwid}: ${why}`, { facts: { lun: lun.wwid, state } })
}
