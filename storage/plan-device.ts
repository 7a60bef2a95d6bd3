import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { Fault } from '../common/fault.js'
import type { Run } from '../common/run.js'
import { MiB } from '../common/units.js'
import { type BlockGroup, extentsOn, type Group, realDevice } from './block-group.js'
import type { BlockStorageDomain } from './block-storage-domain.js'
import { mostPvs, throwIfTaken } from './create-block-storage-domain.js'
import type { LvmPv } from './format/lvm-text.js'

// What adding, resizing or taking out a device would do, and what speaks against it, without changing anything.

export type DeviceChange = 'add' | 'resize' | 'remove'
export type DevicePlan = {
  /** Each change, in words, in the order in which it would come. */
  changes: string[]
  /** Why it would be refused; null where nothing speaks against it. */
  obstacle: string | null
  /** Bytes of volumes that would move to other devices: only out of service. */
  moved: number
}

export async function planDevice(
  { group }: BlockStorageDomain,
  device: string,
  change: DeviceChange,
  run: Run,
  signal: AbortSignal
): Promise<DevicePlan> {
  const member = await memberOn(group, device)
  try {
    if (change === 'add') return await planAdding(group, device, member, run, signal)
    if (member === null) throw notMember(group, device)
    return change === 'resize'
      ? await planResizing(group, device, member)
      : await planRemoving(group, device, member)
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    return { changes: [], obstacle: error.message, moved: 0 }
  }
}

/** The second of the two metadata areas that every physical volume has. */
const areaAtEnd = MiB(128)

/** The physical volume behind a device's name; null where it is none of this VG. */
export async function memberOn(group: BlockGroup, device: string): Promise<LvmPv | null> {
  const real = await realDevice(device)
  const { reading } = await group.read()
  return reading.group.pvs.find(({ name }) => reading.devices.get(name) === real) ?? null
}

async function planAdding(
  group: BlockGroup,
  device: string,
  member: LvmPv | null,
  run: Run,
  signal: AbortSignal
): Promise<DevicePlan> {
  if (member !== null) return { changes: [], obstacle: null, moved: 0 }
  const { reading, isMoving } = await group.read()
  const { length } = reading.group.pvs
  if (length >= mostPvs) throw new Fault('WRONG_STATE', `it has ${length} devices; ${mostPvs} are the limit`)
  if (isMoving) throw new Fault('WRONG_STATE', 'one of its devices is being taken out')
  await throwIfTaken(device, group.vg, run, signal)
  const changes = [
    `${device} becomes a physical volume`,
    `VG ${group.vg} is extended by it`,
    'the metadata names it'
  ]
  return { changes, obstacle: null, moved: 0 }
}

async function planResizing(group: BlockGroup, device: string, member: LvmPv): Promise<DevicePlan> {
  const { extentSize } = await group.read()
  const now = await deviceSize(device)
  const room = Math.floor((now - member.start - areaAtEnd) / extentSize)
  const change = `${device}: ${member.extents} extents become ${room}`
  if (room < member.extents) throw new Fault('WRONG_STATE', `${device} has become smaller`)
  return { changes: room > member.extents ? [change] : [], obstacle: null, moved: 0 }
}

async function planRemoving(group: BlockGroup, device: string, member: LvmPv): Promise<DevicePlan> {
  const current = await group.read()
  throwIfObstacle(current, member, group.activator.hasDriver)
  const used = extentsOn(current.reading.group, member)
  const changes = [
    ...(used > 0 ? [`${used} extents move from ${device} to the other devices`] : []),
    `VG ${group.vg} is reduced by it`,
    'the metadata does not name it any more',
    `the label of ${device} is removed`
  ]
  return { changes, obstacle: null, moved: used * current.extentSize }
}

/** What can never be taken out, and what there is no room for elsewhere. */
export function throwIfObstacle(group: Group, member: LvmPv, hasDriver: boolean): void {
  const { reading, freeExtents, isMoving } = group
  const refuse = (why: string): never => {
    throw new Fault('WRONG_STATE', why)
  }
  if (reading.group.pvs.length === 1) refuse('it is the only device of the storage domain')
  const device = reading.devices.get(member.name)
  if (reading.metadataDevices.includes(device ?? ''))
    refuse("it holds LVM's metadata and cannot be taken out")
  const metadata = reading.group.volumes.find(({ name }) => name === 'metadata')
  if (metadata?.segments.some(({ pv, start }) => pv === member.name && start === 0)) {
    refuse('it holds the special volume metadata and cannot be taken out')
  }
  const used = extentsOn(reading.group, member)
  if (used > 0 && !hasDriver) {
    throw new Fault('UNSUPPORTED', 'volumes lie on it, and moving them takes device-mapper')
  }
  const elsewhere = freeExtents - (member.extents - used)
  if (!isMoving && used > elsewhere) {
    throw new Fault('STORAGE_DOMAIN_FULL', `${used} extents lie on it and ${elsewhere} are free elsewhere`)
  }
}

function notMember(group: BlockGroup, device: string): Fault {
  return new Fault('NOT_FOUND', `the device ${device} is none of storage domain ${group.vg}`)
}

async function deviceSize(device: string): Promise<number> {
  const name = basename(await realDevice(device))
  return Number(await readFile(`/sys/class/block/${name}/size`, 'utf8')) * 512
}
