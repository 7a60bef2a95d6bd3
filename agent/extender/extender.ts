import type { Clock } from '../../common/clock.js'
import { crashpoint } from '../../common/crashpoint.js'
import { Fault } from '../../common/fault.js'
import type { Logger } from '../../common/log.js'
import { type Bytes, seconds, type Seconds } from '../../common/units.js'
import { type Drive, type DriveAction, type DriveEvent, newDrive, stepDrive, type Usage } from './decide.js'
import { Histogram } from './histogram.js'
import { slowerOf, type ThinPolicy } from './policy.js'
import type { Wanted, Way } from './ways.js'

/** A disk of a running VM whose leaf is a qcow2 volume on block storage. */
export type ThinDisk = {
  vmId: string
  /** libvirt's name of the disk, `vda`, and of its leaf, `vda[1]`. */
  target: string
  device: string
  diskId: string
  storageDomainId: string
  volumeId: string
  isMirrored: boolean
}
export type DiskUsage = { [K in keyof Usage]: Bytes | null }

export type ExtenderParts = {
  policy: ThinPolicy
  /** Of all running VMs. What cannot be told yet is left out until it can. */
  disks(signal: AbortSignal): Promise<ThinDisk[]>
  /** One question for many VMs; by VM and target. */
  usage(vmIds: string[], signal: AbortSignal): Promise<Map<string, DiskUsage>>
  arm(disk: ThinDisk, threshold: Bytes | null, signal: AbortSignal): Promise<void>
  extend(wanted: Wanted, signal: AbortSignal): Promise<Way>
  /** This host's view of the volume, reloaded. */
  refresh(disk: ThinDisk, signal: AbortSignal): Promise<Bytes>
  /** Where the VM is going, while it migrates. */
  destinationOf(vmId: string): string | null
  refreshAt(hostId: string, disk: ThinDisk, signal: AbortSignal): Promise<Bytes>
  resume(vmId: string, signal: AbortSignal): Promise<void>
  isPausedForSpace(vmId: string): boolean
  isRunning(vmId: string): boolean
  freeSpace(storageDomainId: string): Bytes | null
  note(vmId: string, what: string, text: string): void
  clock: Clock
  log: Logger
}

export type Extension = { at: number; from: Bytes; to: Bytes; took: Seconds; way: Way }
type Entry = {
  disk: ThinDisk
  drive: Drive
  history: Extension[]
  /** When it became clear that more room is wanted. */
  dueAt: Seconds | null
  /** Not watched until the migration is over: its destination cannot follow. */
  isStuck: boolean
}

const remembered = 20
const limit = 60_000
/** With so much room again a full storage domain counts as relieved. */
const relief = 2 ** 30
const firstGuess = seconds(0.1)

/** Keeps the thin disks of this host's VMs ahead of their guests. Deciding is `decide.ts`; this is its hands. */
export class Extender {
  readonly histogram = new Histogram()
  readonly #parts: ExtenderParts
  readonly #entries = new Map<string, Entry>()
  readonly #times = new Map<string, Seconds>()

  constructor(parts: ExtenderParts) {
    this.#parts = parts
  }

  /** libvirt's event. The copy that names no volume is the same news again. */
  onThreshold(vmId: string, device: string, threshold: Bytes, excess: Bytes, signal: AbortSignal): void {
    const entry = this.#entryOf(vmId, ({ disk }) => disk.device === device)
    if (entry) this.#feed(entry, { kind: 'threshold', threshold, excess }, signal)
  }

  /** A VM stopped because of one disk. */
  onNoSpace(vmId: string, alias: string, signal: AbortSignal): void {
    const entry = this.#entryOf(vmId, ({ disk }) => alias === `ua-${disk.diskId}`)
    if (entry) this.#feed(entry, { kind: 'noSpace' }, signal)
  }

  /** While a leaf is being pivoted away its events mean nothing. */
  suspend(vmId: string, target: string, signal: AbortSignal): void {
    const entry = this.#entries.get(key(vmId, target))
    if (entry) this.#feed(entry, { kind: 'suspend' }, signal)
  }

  watchAgain(vmId: string, target: string, signal: AbortSignal): void {
    const entry = this.#entries.get(key(vmId, target))
    if (entry) this.#feed(entry, { kind: 'watchAgain' }, signal)
  }

  /** The sweep: what no event told. One question to libvirt, and only about disks that are not armed. */
  async round(signal: AbortSignal): Promise<void> {
    await this.#learn(signal)
    const asking = new Set<Entry>()
    for (const entry of this.#entries.values()) {
      for (const event of this.#newsOf(entry)) this.#feed(entry, event, signal, asking)
    }
    if (asking.size > 0) await this.#ask([...asking], signal)
  }

  dump() {
    const disks = [...this.#entries.values()].map(({ disk, drive, history }) => ({
      ...disk,
      ...drive,
      history
    }))
    return { disks, seconds: this.histogram.dump() }
  }

  /** What a person sees of one disk. */
  show(diskId: string): { drive: Drive; history: Extension[] } | null {
    for (const { disk, drive, history } of this.#entries.values()) {
      if (disk.diskId === diskId) return { drive, history }
    }
    return null
  }

  async #learn(signal: AbortSignal): Promise<void> {
    const found = new Map((await this.#parts.disks(signal)).map(disk => [key(disk.vmId, disk.target), disk]))
    for (const name of this.#entries.keys()) if (!found.has(name)) this.#entries.delete(name)
    for (const [name, disk] of found) {
      const known = this.#entries.get(name)
      // Another leaf: everything that was known is of the old one.
      if (known?.disk.device === disk.device && known.disk.volumeId === disk.volumeId) known.disk = disk
      else
        this.#entries.set(name, {
          disk,
          drive: newDrive,
          history: known?.history ?? [],
          dueAt: null,
          isStuck: false
        })
    }
  }

  #newsOf(entry: Entry): DriveEvent[] {
    const { isPausedForSpace, isRunning, freeSpace, destinationOf } = this.#parts
    const { disk, drive } = entry
    const news: DriveEvent[] = []
    if (entry.isStuck && destinationOf(disk.vmId) === null) {
      entry.isStuck = false
      news.push({ kind: 'watchAgain' })
    }
    if (drive.isPaused && isRunning(disk.vmId)) news.push({ kind: 'running' })
    if (drive.phase === 'unset' && isPausedForSpace(disk.vmId)) news.push({ kind: 'noSpace' })
    if (drive.isFull && (freeSpace(disk.storageDomainId) ?? 0) >= relief) news.push({ kind: 'spaceCame' })
    return [...news, { kind: 'tick' }]
  }

  #feed(entry: Entry, event: DriveEvent, signal: AbortSignal, asking?: Set<Entry>): void {
    const { clock, policy } = this.#parts
    const { disk } = entry
    const extendTime = this.#times.get(disk.storageDomainId) ?? firstGuess
    const now = clock.monotonic()
    const at = { now, policy, extendTime, isMirrored: disk.isMirrored }
    if (entry.drive.phase !== 'extending' && event.kind !== 'tick') entry.dueAt = now
    const { drive, actions } = stepDrive(entry.drive, event, at)
    entry.drive = drive
    for (const action of actions) {
      if (action.kind === 'ask' && asking) asking.add(entry)
      else void this.#act(entry, action, signal)
    }
  }

  async #act(entry: Entry, action: DriveAction, signal: AbortSignal): Promise<void> {
    const { arm, resume, note, log } = this.#parts
    const { disk } = entry
    const what = { vm: disk.vmId, disk: disk.diskId, target: disk.target }
    try {
      switch (action.kind) {
        case 'ask':
          return await this.#ask([entry], signal)
        case 'extend':
          return await this.#extend(entry, action.to, signal)
        case 'arm':
          return await arm(disk, action.threshold, signal)
        case 'resume':
          await resume(disk.vmId, signal)
          return note(disk.vmId, 'vm.resumed', `disk ${disk.target} has room again`)
        case 'alert':
          return action.isFull
            ? note(
                disk.vmId,
                'disk.storage_full',
                `storage domain ${disk.storageDomainId} has no room for disk ${disk.target}; the VM pauses when it needs it`
              )
            : note(
                disk.vmId,
                'disk.storage_relieved',
                `storage domain ${disk.storageDomainId} has room for disk ${disk.target} again`
              )
      }
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error, ...what, action: action.kind }, 'thin disk: not done')
      if (action.kind === 'arm') this.#feed(entry, { kind: 'notArmed' }, signal)
    }
  }

  async #ask(entries: Entry[], signal: AbortSignal): Promise<void> {
    const vmIds = [...new Set(entries.map(({ disk }) => disk.vmId))]
    const usages = await this.#parts.usage(vmIds, signal)
    for (const entry of entries) {
      const usage = usages.get(key(entry.disk.vmId, entry.disk.target))
      if (usage && this.#isCurrent(entry)) this.#feed(entry, { kind: 'usage', usage }, signal)
    }
  }

  async #extend(entry: Entry, to: Bytes, signal: AbortSignal): Promise<void> {
    const { clock, log, extend } = this.#parts
    const { disk } = entry
    const { vmId, storageDomainId, volumeId } = disk
    const began = entry.dueAt ?? clock.monotonic()
    const from = entry.drive.usage?.physical ?? to
    const within = AbortSignal.any([signal, AbortSignal.timeout(limit)])
    try {
      await crashpoint('disk.extend.begun')
      const way = await extend({ storageDomainId, volumeId, to }, within)
      await crashpoint('disk.extend.done')
      const size = await this.#refresh(entry, to, within)
      if (size === null) {
        entry.isStuck = true
        return this.#feed(entry, { kind: 'suspend' }, signal)
      }
      this.#feed(entry, { kind: 'extended', size }, signal)
      const took = seconds(clock.monotonic() - began)
      this.#times.set(storageDomainId, slowerOf(this.#times.get(storageDomainId) ?? firstGuess, took))
      this.histogram.observe(way, took)
      entry.history = [...entry.history, { at: clock.wall(), from, to: size, took, way }].slice(-remembered)
      log.info(
        { vm: vmId, volume: volumeId, from, to: size, way, ms: Math.round(took * 1000) },
        'disk extended'
      )
    } catch (error) {
      const isFull = Fault.is(error, 'STORAGE_DOMAIN_FULL') || Fault.is(error, 'NO_SPACE')
      if (!signal.aborted) log.warn({ err: error, vm: vmId, volume: volumeId, to }, 'disk not extended')
      this.#feed(entry, { kind: 'failed', isFull }, signal)
    }
  }

  /**
   * The destination of a migration first: QEMU must never write where the destination sees no disk. Null: it cannot
   * follow, so the disk stays as it is until the migration is over, and the VM pauses at worst.
   */
  async #refresh({ disk }: Entry, to: Bytes, signal: AbortSignal): Promise<Bytes | null> {
    const { destinationOf, refreshAt, refresh, log } = this.#parts
    const destination = destinationOf(disk.vmId)
    if (destination !== null) {
      const there = await refreshAt(destination, disk, signal).catch((error: unknown) => {
        log.warn({ err: error, vm: disk.vmId }, 'the destination cannot follow; disk not extended meanwhile')
        return null
      })
      if (there === null || there < to) return null
    }
    return refresh(disk, signal)
  }

  #entryOf(vmId: string, isIt: (entry: Entry) => boolean): Entry | null {
    for (const entry of this.#entries.values()) if (entry.disk.vmId === vmId && isIt(entry)) return entry
    return null
  }

  #isCurrent = ({ disk }: Entry) =>
    this.#entries.get(key(disk.vmId, disk.target))?.disk.device === disk.device
}

export const key = (vmId: string, target: string) => `${vmId}/${target}`
