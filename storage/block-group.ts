import { chmod, chown, realpath } from 'node:fs/promises'
import { Fault } from '../common/fault.js'
import type { Logger } from '../common/log.js'
import type { Run } from '../common/run.js'
import { type Bytes, bytes } from '../common/units.js'
import {
  type Activator,
  activeSize,
  DeviceMapperActivator,
  hasDeviceMapper,
  LoopActivator,
  type MappedVolume
} from './activator.js'
import { isCode, type Owner } from './files.js'
import { isMove, type LvmGroup, type LvmPv, type LvmVolume } from './format/lvm-text.js'
import { isSpecialVolume } from './format/leases-layout.js'
import { Lvm } from './lvm.js'
import type { LvmCommand } from './lvm-args.js'
import { type GroupReading, LvmReader } from './lvm-reader.js'
import { lvmSettings } from './lvm-settings.js'

// The VG of a block storage domain on this host: what LVM's metadata says, what is active, and the commands that
// change either.

export type LogicalVolume = { name: string; uuid: string; size: Bytes; tags: string[]; mapped: MappedVolume }
export type Group = {
  uuid: string
  seqno: number
  tags: string[]
  extentSize: Bytes
  extents: number
  freeExtents: number
  volumes: ReadonlyMap<string, LogicalVolume>
  /** A device is being emptied, or was when its host died: until that has ended nothing else may change. */
  isMoving: boolean
  reading: GroupReading
}

// A row of questions is answered from one look; a writer elsewhere is at most this much ahead of us.
const momentMs = 20

export type GroupTools = { run: Run; log: Logger; owner: Owner }

export class BlockGroup {
  readonly vg: string
  readonly activator: Activator
  /** Whether this process may change LVM's metadata now: it holds the manager's lease. */
  mayChange: () => boolean = () => true
  /** Another number each time this process becomes the only one that changes the metadata. */
  tenure: () => number = () => 0
  readonly #reader: LvmReader
  readonly #lvm: Lvm
  readonly #owner: Owner
  #last: Group | null = null
  #looked = { at: -Infinity, tenure: -1 }
  #changes = 0

  private constructor(vg: string, reader: LvmReader, lvm: Lvm, activator: Activator, owner: Owner) {
    this.vg = vg
    this.activator = activator
    this.#reader = reader
    this.#lvm = lvm
    this.#owner = owner
  }

  static async on(vg: string, devices: readonly string[], runDirectory: string, tools: GroupTools) {
    const { run, log, owner } = tools
    const hasDriver = await hasDeviceMapper()
    const settings = await lvmSettings(runDirectory)
    const lvm = new Lvm({ devices, hasDriver, settings, run, log })
    const reader = new LvmReader(vg, await Promise.all(devices.map(realDevice)))
    const activator = hasDriver
      ? new DeviceMapperActivator(vg, lvm, run)
      : new LoopActivator(`${runDirectory}/loops/${vg}`, () => reader.devices, run)
    return new BlockGroup(vg, reader, lvm, activator, owner)
  }

  get devices(): readonly string[] {
    return this.#lvm.devices
  }

  async useDevices(devices: readonly string[]): Promise<void> {
    this.#lvm.useDevices(devices)
    this.#reader.forget(await Promise.all(devices.map(realDevice)))
    this.#changes++
    this.#last = null
    this.#looked = { at: -Infinity, tenure: -1 }
  }

  /** Null where the devices hold no such VG. Costs a few small reads while nothing has changed. */
  async find(): Promise<Group | null> {
    const [tenure, changes] = [this.tenure(), this.#changes]
    const isFresh = performance.now() - this.#looked.at < momentMs && this.#looked.tenure === tenure
    if (isFresh && this.#last !== null) return this.#last
    const at = performance.now()
    const reading = await this.#reader.read()
    if (reading === null) return null
    const group = this.#last?.reading === reading ? this.#last : describe(reading)
    // What was read while something changed is an answer, but not one to give again.
    if (changes === this.#changes && at >= this.#looked.at) {
      this.#last = group
      this.#looked = { at, tenure }
    }
    return group
  }

  async read(): Promise<Group> {
    const group = await this.find()
    if (group !== null) return group
    throw new Fault('NOT_FOUND', `no storage domain ${this.vg} on the devices given`)
  }

  async volume(name: string): Promise<LogicalVolume | null> {
    return (await this.read()).volumes.get(name) ?? null
  }

  /** Changes LVM's metadata: only as manager, and only while all of the VG is there. */
  async change(command: LvmCommand, signal: AbortSignal): Promise<void> {
    await this.#throwUnlessFit([command])
    await this.#alter(() => this.#lvm.change(command, signal))
  }

  /** Several changes by one LVM. What was done is to be read. */
  async changeAll(commands: readonly LvmCommand[], signal: AbortSignal): Promise<void> {
    await this.#throwUnlessFit(commands)
    await this.#alter(() => this.#lvm.changeAll(this.vg, commands, signal))
  }

  async #throwUnlessFit(commands: readonly LvmCommand[]): Promise<void> {
    if (!this.mayChange()) {
      throw new Fault('WRONG_STATE', `this host is not the manager of storage domain ${this.vg}`)
    }
    const group = await this.find()
    if (group === null) return
    throwIfUnfit(this.vg, group)
    if (commands.some(({ kind }) => kind !== 'movePv')) throwIfMoving(this.vg, group)
  }

  async #alter(change: () => Promise<void>): Promise<void> {
    try {
      await change()
    } finally {
      this.#changes++
      this.#looked = { at: -Infinity, tenure: -1 }
    }
  }

  /** For a VG that does not exist yet, or is no storage domain any more. */
  async changeUnchecked(command: LvmCommand, signal: AbortSignal): Promise<void> {
    await this.#alter(() => this.#lvm.change(command, signal))
    this.#reader.forget()
  }

  async activate(names: readonly string[], signal: AbortSignal): Promise<void> {
    const group = await this.read()
    const { volumes } = group
    // Two hosts with a half-moved volume would each copy it.
    if (!names.every(isSpecialVolume)) throwIfMoving(this.vg, group)
    const mapped = names.map(name => {
      const volume = volumes.get(name)
      if (volume) return volume.mapped
      throw new Fault('VOLUME_NOT_FOUND', `no logical volume ${name} in ${this.vg}`)
    })
    await this.activator.activate(mapped, signal)
    for (const name of names) await this.#own(this.activator.path(name))
  }

  /** Reloads what is active of these. */
  async refresh(names: readonly string[], signal: AbortSignal): Promise<Map<string, Bytes>> {
    const active = new Set(await this.activator.active())
    const here = names.filter(name => active.has(name))
    if (here.length > 0) await this.activate(here, signal)
    const sizes = new Map<string, Bytes>()
    for (const name of here) {
      const size = await activeSize(this.activator, name)
      if (size !== null) sizes.set(name, size)
    }
    return sizes
  }

  /** The device behind an active volume's link: what is opened without following links. */
  async device(name: string): Promise<string> {
    return realpath(this.activator.path(name))
  }

  /** QEMU's and sanlock's users reach volumes by their group, as they do on files. */
  async #own(link: string): Promise<void> {
    if (this.#owner === null) return
    const device = await realpath(link)
    await chown(device, this.#owner.uid, this.#owner.gid)
    await chmod(device, 0o660)
  }
}

function throwIfUnfit(vg: string, { reading: { missing, metadataDevices } }: Group): void {
  if (missing.length > 0) {
    throw new Fault(
      'STORAGE_DOMAIN_UNRESPONSIVE',
      `storage domain ${vg} misses ${missing.length} of its PVs`,
      {
        facts: { missing: missing.join() }
      }
    )
  }
  if (metadataDevices.length !== 1) {
    throw new Fault(
      'UNSUPPORTED',
      `storage domain ${vg} has ${metadataDevices.length} PVs with metadata; it can only be read`
    )
  }
}

function throwIfMoving(vg: string, { isMoving }: Group): void {
  if (!isMoving) return
  throw new Fault('WRONG_STATE', `a device of storage domain ${vg} is being taken out, or was half taken out`)
}

function describe(reading: GroupReading): Group {
  const { group } = reading
  const extents = group.pvs.reduce((sum, pv) => sum + pv.extents, 0)
  const used = group.pvs.reduce((sum, pv) => sum + extentsOn(group, pv), 0)
  const ours = group.volumes.filter(volume => !isMove(volume))
  const volumes = ours.map(volume => describeVolume(group, volume, reading))
  return {
    uuid: group.uuid,
    seqno: group.seqno,
    tags: group.tags,
    extentSize: bytes(group.extentSize),
    extents,
    freeExtents: extents - used,
    isMoving: ours.length < group.volumes.length,
    volumes: new Map(volumes.map(volume => [volume.name, volume])),
    reading
  }
}

/** Extents of a physical volume that are somebody's. */
export const extentsOn = ({ volumes }: LvmGroup, { name }: LvmPv): number =>
  extentsOf(volumes.flatMap(({ segments }) => segments).filter(({ pv }) => pv === name))

const extentsOf = (segments: LvmVolume['segments']) =>
  segments.reduce((sum, segment) => sum + segment.extents, 0)

function describeVolume(group: LvmGroup, volume: LvmVolume, { devices }: GroupReading): LogicalVolume {
  const { name, uuid, tags, segments } = volume
  const extents = segments
    .toSorted((a, b) => a.start - b.start)
    .map(segment => {
      const pv = group.pvs.find(known => known.name === segment.pv)
      const offset = (pv?.start ?? 0) + segment.pvStart * group.extentSize
      return { device: devices.get(segment.pv) ?? '', offset, length: segment.extents * group.extentSize }
    })
  const size = bytes(extentsOf(segments) * group.extentSize)
  return { name, uuid, size, tags, mapped: { name, extents } }
}

export async function realDevice(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (cause) {
    if (!isCode(cause, 'ENOENT', 'ENOTDIR')) throw cause
    throw new Fault('STORAGE_DOMAIN_UNRESPONSIVE', `the device ${path} is not there`, { cause })
  }
}
