import { crashpoint } from '../common/crashpoint.js'
import { Fault } from '../common/fault.js'
import { type Bytes, bytes, type Seconds } from '../common/units.js'
import { readDirect, writeDirect } from './direct-io.js'
import { FormatError } from './format/format-error.js'
import { managerLeaseOffset } from './format/leases-layout.js'
import { readSanlockRecord } from './format/sanlock-record.js'
import { planRebuild, type RebuildStep, recordsWithin } from './format/xleases-rebuild.js'
import { indexOffset, indexSize, rewriteWrites, XleasesIndex } from './format/xleases.js'
import { LocalLock } from './local-lock.js'
import type { ManagerLease } from './manager-lease.js'
import type { Lockspace, Sanlock } from './sanlock.js'
import type { Geometry, LeaseOwner, Leases, Place, Resource, VmLease } from './storage-domain.js'

/** Where the leases of a storage domain lie. */
export type LeasePlaces = {
  ids: string
  leases: string
  xleases: string
  /** The lease of one volume: on files beside it, on block storage at the place of its slot. */
  volumeLease(place: Place): Promise<{ path: string; offset: Bytes }>
  /** Room in `xleases`. */
  xleasesSize(): Promise<Bytes>
}

export type LeaseSettings = {
  storageDomainId: string
  shared: boolean
  geometry: Geometry
  ioTimeout: Seconds
  /** Whether `xleases` grows with its leases, as a file does. */
  growing: boolean
}

/** The leases of a storage domain: hosts' in `ids`, the manager's, volumes' and VMs'. */
export class StorageLeases implements Leases {
  readonly #settings: LeaseSettings
  readonly #places: LeasePlaces
  readonly #sanlock: Sanlock
  readonly #manager: ManagerLease
  readonly #local: LocalLock
  #turn: Promise<unknown> = Promise.resolve()

  constructor(settings: LeaseSettings, places: LeasePlaces, sanlock: Sanlock, manager: ManagerLease) {
    this.#settings = settings
    this.#places = places
    this.#sanlock = sanlock
    this.#manager = manager
    this.#local = new LocalLock(places.ids)
  }

  async volumeResource(place: Place): Promise<Resource> {
    const { path, offset } = await this.#places.volumeLease(place)
    return { lockspace: this.#settings.storageDomainId, name: place.volumeId, path, offset }
  }

  async vmResource(leaseId: string): Promise<Resource> {
    const found = (await this.#index()).lookup(leaseId)
    if (found === null) throw new Fault('NOT_FOUND', `no lease ${leaseId} in storage domain ${this.#id}`)
    return this.#xlease(leaseId, found.offset)
  }

  async writeVolumeLease(place: Place, signal: AbortSignal): Promise<void> {
    if (!this.#settings.shared) return
    await this.#sanlock.writeResource(await this.volumeResource(place), this.#settings.geometry, signal)
  }

  async createVmLease(leaseId: string, signal: AbortSignal): Promise<VmLease> {
    this.#throwIfNotShared()
    return this.#alone(async () => {
      const index = await this.#index()
      const known = index.lookup(leaseId)
      if (known !== null) return this.#withOwner(leaseId, known.offset)
      const { record, offset } = index.place(leaseId, await this.#mostLeases())
      await this.#sanlock.writeResource(this.#xlease(leaseId, offset), this.#settings.geometry, signal)
      await crashpoint('lease.create/record')
      const { offset: at, block } = index.put(leaseId, record)
      await writeDirect(this.#places.xleases, at, block)
      await crashpoint('lease.create/done')
      return { leaseId, offset, owner: null }
    })
  }

  async removeVmLease(leaseId: string, signal: AbortSignal): Promise<void> {
    this.#throwIfNotShared()
    await this.#alone(async () => {
      const index = await this.#index()
      if (index.lookup(leaseId) === null) return
      const { offset, write } = index.remove(leaseId)
      await crashpoint('lease.remove/record')
      await writeDirect(this.#places.xleases, write.offset, write.block)
      await crashpoint('lease.remove/resource')
      await this.#sanlock.clearResource(this.#xlease(leaseId, offset), this.#settings.geometry, signal)
      await crashpoint('lease.remove/done')
    })
  }

  async vmLeases(): Promise<VmLease[]> {
    if (!this.#settings.shared) return []
    const leases = (await this.#index()).leases().filter(lease => !lease.updating)
    return Promise.all(leases.map(({ leaseId, offset }) => this.#withOwner(leaseId, offset)))
  }

  /** Rebuilds the index if its last writer died in the middle; true if so. */
  async repairVmLeases(signal: AbortSignal): Promise<boolean> {
    if (!this.#settings.shared) return false
    try {
      await this.#index()
      return false
    } catch (error) {
      if (!(error instanceof FormatError) || error.reason !== 'updating') throw error
      await this.rebuildVmLeases(signal)
      return true
    }
  }

  /** Makes index and resources agree again; the number of differences found. */
  async rebuildVmLeases(signal: AbortSignal): Promise<number> {
    this.#throwIfNotShared()
    return this.#alone(async () => {
      const { alignment, sectorSize } = this.#settings.geometry
      const index = XleasesIndex.loadForRebuild(await this.#indexBytes(), alignment, sectorSize)
      const size = await this.#places.xleasesSize()
      const names = new Map<number, string | null>()
      for (let record = 0; record < recordsWithin(size, alignment); record++) {
        const offset = (3 + record) * alignment
        names.set(offset, resourceName(await readDirect(this.#places.xleases, offset, sectorSize)))
      }
      const steps = planRebuild(index, size, offset => names.get(offset) ?? null)
      for (const step of steps) await this.#rebuildStep(index, step, signal)
      await crashpoint('lease.rebuild/index')
      for (const { offset, block } of rewriteWrites(index.bytes, index.header, alignment, sectorSize)) {
        await writeDirect(this.#places.xleases, offset, block)
        await crashpoint('lease.rebuild/index-block')
      }
      return steps.length
    })
  }

  async #rebuildStep(index: XleasesIndex, step: RebuildStep, signal: AbortSignal): Promise<void> {
    const { geometry } = this.#settings
    switch (step.kind) {
      case 'writeResource':
        return this.#sanlock.writeResource(this.#xlease(step.leaseId, step.offset), geometry, signal)
      case 'clearResource':
        return this.#sanlock.clearResource(this.#xlease('', step.offset), geometry, signal)
      case 'putRecord':
        return void index.put(step.leaseId, step.record)
      case 'clearRecord':
        return void index.clear(step.record)
    }
  }

  async asManager(signal: AbortSignal): Promise<AsyncDisposable> {
    if (!this.#settings.shared) return { [Symbol.asyncDispose]: async () => {} }
    return this.#manager.hold(signal)
  }

  /** Who holds the manager's lease, as its record says. */
  async managerOwner(): Promise<LeaseOwner | null> {
    const { alignment, sectorSize } = this.#settings.geometry
    return ownerIn(await readDirect(this.#places.leases, managerLeaseOffset(alignment), sectorSize))
  }

  async join(sanlockHostId: number, signal: AbortSignal): Promise<void> {
    if (!this.#settings.shared) return this.#local.take()
    if (!this.#takesLeases) return
    const known = await this.#sanlock.hostIdIn(this.#id, signal)
    if (known !== null && known !== sanlockHostId) {
      throw new Fault('WRONG_STATE', `this host is already host id ${known} in storage domain ${this.#id}`)
    }
    await this.#sanlock.join(this.#lockspace(sanlockHostId), this.#settings.ioTimeout, signal)
  }

  async leave(signal: AbortSignal): Promise<void> {
    if (!this.#settings.shared) return this.#local.letGo()
    if (!this.#takesLeases) return
    await this.#manager.giveUp()
    const known = await this.#sanlock.joined(this.#id, signal)
    if (known !== null) await this.#sanlock.leave(known, signal)
  }

  async joinedAs(signal: AbortSignal): Promise<number | null> {
    return this.#takesLeases ? this.#sanlock.hostIdIn(this.#id, signal) : null
  }

  async isJoined(signal: AbortSignal): Promise<boolean> {
    if (!this.#settings.shared) return this.#local.isHeld
    if (!this.#takesLeases) return true
    const known = await this.#sanlock.hostIdIn(this.#id, signal)
    return known !== null && this.#sanlock.isJoined(this.#lockspace(known), signal)
  }

  /** A block storage domain has room for fewer leases than its index has records; a file grows. */
  async #mostLeases(): Promise<number | undefined> {
    return this.#settings.growing
      ? undefined
      : recordsWithin(await this.#places.xleasesSize(), this.#settings.geometry.alignment)
  }

  get #id(): string {
    return this.#settings.storageDomainId
  }

  get #takesLeases(): boolean {
    return this.#settings.shared && this.#sanlock.mode === 'daemon'
  }

  #lockspace(sanlockHostId: number): Lockspace {
    return { name: this.#id, sanlockHostId, path: this.#places.ids }
  }

  #xlease(name: string, offset: number): Resource {
    return { lockspace: this.#id, name, path: this.#places.xleases, offset: bytes(offset) }
  }

  async #withOwner(leaseId: string, offset: number): Promise<VmLease> {
    const sector = await readDirect(this.#places.xleases, offset, this.#settings.geometry.sectorSize)
    return { leaseId, offset: bytes(offset), owner: ownerIn(sector) }
  }

  async #index(): Promise<XleasesIndex> {
    const { alignment, sectorSize } = this.#settings.geometry
    return XleasesIndex.load(await this.#indexBytes(), alignment, sectorSize)
  }

  #indexBytes(): Promise<Buffer> {
    return readDirect(this.#places.xleases, indexOffset(this.#settings.geometry.alignment), indexSize)
  }

  /** Alone among hosts and in this process: the index is read, changed and written as one. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work, work)
    this.#turn = mine.catch(() => {})
    return mine
  }

  #throwIfNotShared(): void {
    if (this.#settings.shared) return
    throw new Fault('UNSUPPORTED', `storage domain ${this.#id} belongs to one host and has no leases`)
  }
}

function resourceName(sector: Buffer): string | null {
  if (sector.length < 176) return null
  try {
    const record = readSanlockRecord(sector)
    return record?.kind === 'paxos' && record.resource !== '' ? record.resource : null
  } catch {
    // What is no lease counts as none: the rebuild writes one there, or leaves the place free.
    return null
  }
}

function ownerIn(sector: Buffer): LeaseOwner | null {
  if (sector.length < 176) return null
  const record = readSanlockRecord(sector)
  if (record === null || record.timestamp === 0n) return null
  const { ownerId, ownerGeneration, timestamp } = record
  return { sanlockHostId: Number(ownerId), generation: Number(ownerGeneration), timestamp: Number(timestamp) }
}
