import {
  constants,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  realpath,
  symlink,
  unlink
} from 'node:fs/promises'
import { basename } from 'node:path'
import { Fault } from '../common/fault.js'
import type { Run } from '../common/run.js'
import { type Bytes, bytes } from '../common/units.js'
import { ifThere, isCode } from './files.js'
import type { Lvm } from './lvm.js'

/** Where the bytes of a logical volume lie, in order. */
export type Extent = { device: string; offset: number; length: number }
export type MappedVolume = { name: string; extents: Extent[] }

/** Makes logical volumes of one VG usable as block devices of this host. */
export interface Activator {
  /** Whether LVM can talk to the kernel here. */
  readonly hasDriver: boolean
  /** Where an active volume is; a link. */
  path(name: string): string
  active(): Promise<string[]>
  /** What is active already is reloaded: another host may have extended it. */
  activate(volumes: readonly MappedVolume[], signal: AbortSignal): Promise<void>
  /** Those that something has open stay; their names are returned. */
  deactivate(names: readonly string[], signal: AbortSignal): Promise<string[]>
}

/** The kernel's size of an active volume; null of one that is not. */
export async function activeSize(activator: Activator, name: string): Promise<Bytes | null> {
  const device = await ifThere(realpath(activator.path(name)))
  if (device === null) return null
  const sectors = await ifThere(readFile(`/sys/class/block/${basename(device)}/size`, 'utf8'))
  return sectors === null ? null : bytes(Number(sectors) * 512)
}

/** The real thing: LVM tells device-mapper, udev makes /dev/VG/LV. */
export class DeviceMapperActivator implements Activator {
  readonly hasDriver = true
  readonly #vg: string
  readonly #lvm: Lvm
  readonly #run: Run

  constructor(vg: string, lvm: Lvm, run: Run) {
    this.#vg = vg
    this.#lvm = lvm
    this.#run = run
  }

  path(name: string): string {
    return `/dev/${this.#vg}/${name}`
  }

  async active(): Promise<string[]> {
    return (await ifThere(readdir(`/dev/${this.#vg}`))) ?? []
  }

  async activate(volumes: readonly MappedVolume[], signal: AbortSignal): Promise<void> {
    const active = new Set(await this.active())
    const names = volumes.map(({ name }) => name)
    const fresh = names.filter(name => !active.has(name))
    const old = names.filter(name => active.has(name))
    if (old.length > 0) await this.#lvm.change({ kind: 'refreshLvs', vg: this.#vg, lvs: old }, signal)
    if (fresh.length > 0) await this.#lvm.change({ kind: 'activateLvs', vg: this.#vg, lvs: fresh }, signal)
    const now = new Set(await this.active())
    const left = fresh.filter(name => !now.has(name))
    if (left.length === 0) return
    throw new Fault('COMMAND_FAILED', `volume ${left[0]} is activated and /dev/${this.#vg} does not show it`)
  }

  async deactivate(names: readonly string[], signal: AbortSignal): Promise<string[]> {
    const active = new Set(await this.active())
    const wanted = names.filter(name => active.has(name))
    if (wanted.length === 0) return []
    try {
      await this.#lvm.change({ kind: 'deactivateLvs', vg: this.#vg, lvs: wanted }, signal)
    } catch (error) {
      if (!Fault.is(error, 'COMMAND_FAILED')) throw error
      await this.#dropMappingsOfLost(wanted, signal)
    }
    const now = new Set(await this.active())
    return wanted.filter(name => now.has(name))
  }

  /** When the storage is gone LVM can read nothing; the mappings are then taken away without it. */
  async #dropMappingsOfLost(names: readonly string[], signal: AbortSignal): Promise<void> {
    for (const name of names) {
      const mapping = `${this.#vg.replaceAll('-', '--')}-${name.replaceAll('-', '--')}`
      await this.#run('dmsetup', ['remove', '--retry', mapping], signal, { okCodes: [0, 1] })
    }
  }
}

// LOOP_GET_STATUS64, a new lo_sizelimit at byte 32 of 232, LOOP_SET_STATUS64: `losetup` cannot do it.
const setLimit =
  'open(my $f, "+<", $ARGV[0]) or die $!; my $s = "\\0" x 232; ioctl($f, 0x4C05, $s) or die $!;' +
  'substr($s, 32, 8) = pack("Q<", $ARGV[1]); ioctl($f, 0x4C04, $s) or die $!'

/**
 * For machines without device-mapper: a loop device over the part of the physical volume. It can stand in for a
 * volume that lies in one piece, and nothing more; growing in place it is as good as a refresh.
 */
export class LoopActivator implements Activator {
  readonly hasDriver = false
  readonly #directory: string
  readonly #devices: () => readonly string[]
  readonly #run: Run

  /** `devices`: the physical volumes as they are now, under the kernel's names. */
  constructor(directory: string, devices: () => readonly string[], run: Run) {
    this.#directory = directory
    this.#devices = devices
    this.#run = run
  }

  path(name: string): string {
    return `${this.#directory}/${name}`
  }

  async active(): Promise<string[]> {
    const names = (await ifThere(readdir(this.#directory))) ?? []
    const found: string[] = []
    for (const name of names) if ((await this.#loopOf(name)) !== null) found.push(name)
    return found
  }

  async activate(volumes: readonly MappedVolume[], signal: AbortSignal): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o755 })
    for (const volume of volumes) await this.#activate(volume, signal)
  }

  async #activate(volume: MappedVolume, signal: AbortSignal): Promise<void> {
    const { device, offset, length } = inOnePiece(volume)
    const loop = await this.#loopOf(volume.name)
    if (loop !== null && Number(await readFile(`${loop.sys}/offset`, 'utf8')) === offset) {
      if (Number(await readFile(`${loop.sys}/sizelimit`, 'utf8')) !== length)
        await this.#run('perl', ['-e', setLimit, loop.device, String(length)], signal)
      return
    }
    const place = ['--offset', String(offset), '--sizelimit', String(length)]
    const { stdout } = await this.#run(
      'losetup',
      ['--find', '--show', '--direct-io=on', ...place, await realpath(device)],
      signal
    )
    await ifThere(unlink(this.path(volume.name)))
    await symlink(stdout.trim(), this.path(volume.name))
  }

  async deactivate(names: readonly string[], signal: AbortSignal): Promise<string[]> {
    for (const name of names) {
      const loop = await this.#loopOf(name)
      // One that is open vanishes when it is closed; nobody finds it any more.
      if (loop !== null) await this.#run('losetup', ['--detach', loop.device], signal, { okCodes: [0, 1] })
      await ifThere(unlink(this.path(name)))
    }
    return []
  }

  /** A link is the rest of an earlier life where no loop device is behind it, or by now one of somebody else's. */
  async #loopOf(name: string): Promise<{ device: string; sys: string } | null> {
    const device = await ifThere(readlink(this.path(name)))
    if (device === null) return null
    const sys = `/sys/block/${basename(device)}/loop`
    const backing = await ifThere(readFile(`${sys}/backing_file`, 'utf8'))
    return backing !== null && this.#devices().includes(backing.trim()) ? { device, sys } : null
  }
}

function inOnePiece({ name, extents: [first, ...rest] }: MappedVolume): Extent {
  if (first === undefined) throw new Fault('CORRUPT', `volume ${name} has no extents`)
  const whole = { ...first }
  for (const { device, offset, length } of rest) {
    if (device !== whole.device || offset !== whole.offset + whole.length) {
      throw new Fault('UNSUPPORTED', `volume ${name} lies in several pieces, which takes device-mapper`)
    }
    whole.length += length
  }
  return whole
}

/** Which of the two this machine needs. The file may be there without a driver; opening it loads the driver. */
export async function hasDeviceMapper(): Promise<boolean> {
  try {
    await (await open('/dev/mapper/control', constants.O_RDONLY)).close()
    return true
  } catch (error) {
    if (isCode(error, 'ENOENT', 'ENODEV', 'ENXIO')) return false
    throw error
  }
}
