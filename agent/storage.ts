import { type Clock, sleep } from '../common/clock.js'
import { Fault } from '../common/fault.js'
import type { Logger } from '../common/log.js'
import { delayBefore } from '../common/retry.js'
import { seconds, type Seconds } from '../common/units.js'
import type { BlockStorage } from '../storage/connections/block-storage.js'
import { remotePath, type StorageConnection, storageKind } from '../storage/connections/connection.js'
import type { SectorSize } from '../storage/format/storage-domain-metadata.js'
import { type PreparedVolume, runPaths } from '../storage/prepare-image.js'
import type { Place } from '../storage/storage-domain.js'
import type { Swept } from '../storage/sweep.js'
import type {
  Arguments,
  Description,
  Discovered,
  MonitorReport,
  Result,
  Verb,
  Visit
} from '../storage/verbs.js'
import type { StoragePlace } from '../storage/worker-settings.js'
import type { Attached, StorageConnections } from './storage-connections.js'
import { shownState, type StorageDomainState } from './storage-state.js'
import type { StorageWorkers } from './storage-workers.js'

export type StorageOptions = {
  workers: StorageWorkers
  block: Pick<BlockStorage, 'throwIfTaken' | 'rescan'>
  connections: StorageConnections
  runDirectory: string
  clock: Clock
  log: Logger
  onChange(storageDomainId: string, state: StorageDomainState | null): void
  /** This host's number in lockspaces; 0 while no coordinator gave it one. */
  sanlockHostId?: () => number
}

export type NewStorageDomain = {
  storageDomainId: string
  connection: StorageConnection
  description: string
  dataCenterId: string | null
  ioTimeout: Seconds
  sectorSize: SectorSize | null
}

type Known = {
  description: Description | null
  lastOk: number | null
  isActivating: boolean
  isLeaving: boolean
  /** Attempts at reaching it again that are under way. */
  restoring: number
  shown: string
}

const never = new AbortController().signal
const patience = { first: seconds(2), most: seconds(60) }

/** The storage domains of this host: reached, active, watched; restored after a restart without asking anybody. */
export class Storage {
  readonly #options: StorageOptions
  readonly #known = new Map<string, Known>()
  readonly #stop = new AbortController()

  constructor(options: StorageOptions) {
    this.#options = options
  }

  /** Everything that was attached, each by itself: one that hangs delays nobody. Returns when all are under way. */
  async restore(): Promise<void> {
    const { connections } = this.#options
    await connections.load()
    for (const [id, attached] of connections.attached) {
      this.#note(id)
      void this.#untilRestored(id, attached)
    }
    void this.#watch()
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#options.workers.stopAll()
  }

  /** What the coordinator hears, and what a report changes. To be given to the workers. */
  onReport(id: string, report: MonitorReport): void {
    const known = this.#known.get(id)
    if (known && report.problem === null) known.lastOk = this.#options.clock.wall()
    this.#changed(id)
    this.#joinAgain(id, report)
  }

  /** A worker that died has forgotten that it was active. To be given to the workers. */
  onRestart(id: string): void {
    const attached = this.#options.connections.attached.get(id)
    if (attached) void this.#untilRestored(id, attached)
  }

  async ask<V extends Verb>(
    id: string,
    verb: V,
    request: Arguments<V>,
    signal: AbortSignal
  ): Promise<Result<V>> {
    return this.#options.workers.ask(id, verb, request, signal)
  }

  /** As `ask`, for everything that needs the storage domain to be in use here. */
  async askActive<V extends Verb>(
    id: string,
    verb: V,
    request: Arguments<V>,
    signal: AbortSignal
  ): Promise<Result<V>> {
    const attached = this.#attached(id)
    if (attached.sanlockHostId === null) {
      throw new Fault('WRONG_STATE', `storage domain ${id} is not active on this host`, {
        facts: { storageDomainId: id }
      })
    }
    return this.ask(id, verb, request, signal)
  }

  async discover(connection: StorageConnection, signal: AbortSignal): Promise<Discovered[]> {
    const place = await this.#options.connections.connect(connection, signal)
    const { workers } = this.#options
    try {
      const { mount, devices } = place
      const nobody = { storageDomainId: null, ...place }
      return devices
        ? await workers.askOnce(nobody, 'discoverOnDevices', { devices }, signal)
        : await workers.askOnce(nobody, 'discover', { mount }, signal)
    } finally {
      await this.#options.connections.disconnect(connection, never)
    }
  }

  /** From format V4 to V5, or what that would change. Only of what is not connected: it could not be, with V4. */
  async convert(id: string, connection: StorageConnection, isApplied: boolean, signal: AbortSignal) {
    const { connections, workers } = this.#options
    if (connections.attached.has(id))
      throw new Fault('WRONG_STATE', `storage domain ${id} is connected: it has format 5`)
    const place = await connections.connect(connection, signal)
    try {
      return await workers.askOnce(
        { storageDomainId: id, ...place },
        'convert',
        { isApplied, ...this.#visit },
        signal
      )
    } finally {
      await connections.disconnect(connection, never)
    }
  }

  async connect(id: string, connection: StorageConnection, signal: AbortSignal): Promise<void> {
    const { connections, workers } = this.#options
    connections.throwIfForbidden(connection)
    const known = connections.attached.get(id)
    if (known && JSON.stringify(known.connection) !== JSON.stringify(connection)) {
      if (isOnOtherDevices(known.connection, connection))
        return this.#useDevices(id, known, connection, signal)
      throw new Fault('WRONG_STATE', `storage domain ${id} is connected by another way`)
    }
    workers.start(id, await connections.connect(connection, signal))
    try {
      await this.#describe(id, signal)
    } catch (error) {
      if (!known) {
        await workers.stop(id)
        await connections.disconnect(connection, never)
      }
      throw error
    }
    if (!known) await connections.remember(id, { connection, sanlockHostId: null })
    this.#changed(id)
  }

  async #useDevices(id: string, known: Attached, connection: StorageConnection, signal: AbortSignal) {
    const { connections, workers } = this.#options
    const place = await connections.connect(connection, signal)
    await workers.ask(id, 'useDevices', { devices: place.devices ?? [] }, signal)
    workers.moved(id, place)
    await connections.remember(id, { ...known, connection })
    this.#changed(id)
  }

  /** What a device of a connection, or one that might become one, is called here, after a look for new sizes. */
  async deviceOf(id: string, name: string, signal: AbortSignal, mayBeNew = false): Promise<string> {
    const { connection } = this.#attached(id)
    if (connection.kind === 'block' && (mayBeNew || connection.devices.includes(name))) return name
    if (connection.kind === 'iscsi' && (mayBeNew || connection.luns.includes(name))) {
      await this.#options.block.rescan(signal)
      const { devices = [] } = await this.#options.connections.connect(
        { ...connection, luns: [name] },
        signal
      )
      return devices[0] ?? name
    }
    throw new Fault('NOT_FOUND', `${name} is none of the devices of storage domain ${id} on this host`)
  }

  async create(request: NewStorageDomain, signal: AbortSignal): Promise<void> {
    const { storageDomainId: id, connection } = request
    const { connections, workers } = this.#options
    const isNew = !connections.attached.has(id)
    const place = await connections.connect(connection, signal)
    workers.start(id, place)
    try {
      await this.#create(request, place, signal)
    } catch (error) {
      if (isNew) {
        await workers.stop(id)
        await connections.disconnect(connection, never)
      }
      throw error
    }
    await this.connect(id, connection, signal)
  }

  async #create(request: NewStorageDomain, { mount, devices }: StoragePlace, signal: AbortSignal) {
    const { storageDomainId: id, connection, sectorSize, ...rest } = request
    const { workers } = this.#options
    if (connection.kind !== 'block' && connection.kind !== 'iscsi') {
      const kinds = { kind: storageKind(connection), remotePath: remotePath(connection) }
      const wanted = { storageDomainId: id, mount, sectorSize, ...kinds, ...rest }
      await workers.ask(id, 'createStorageDomain', wanted, signal)
      return
    }
    if (sectorSize === 4096) {
      throw new Fault('UNSUPPORTED', 'block storage domains have sectors of 512 bytes')
    }
    if (connection.kind === 'iscsi') await this.#options.block.throwIfTaken(connection.luns, id, signal)
    // "fcp" is oVirt's word for LUNs that need no login.
    const kind = connection.kind === 'iscsi' ? ('iscsi' as const) : ('fcp' as const)
    const wanted = { storageDomainId: id, devices: devices ?? [], kind, ...rest }
    await workers.ask(id, 'createBlockStorageDomain', wanted, signal)
  }

  async disconnect(id: string, signal: AbortSignal): Promise<void> {
    const { connections, workers } = this.#options
    const attached = connections.attached.get(id)
    if (!attached) return
    if (attached.sanlockHostId !== null)
      throw new Fault('WRONG_STATE', `storage domain ${id} is active on this host`)
    await workers.stop(id)
    await connections.remember(id, null)
    await connections.disconnect(attached.connection, signal)
    this.#known.delete(id)
    this.#options.onChange(id, null)
  }

  async attach(id: string, dataCenterId: string, signal: AbortSignal): Promise<void> {
    await this.ask(id, 'attach', { dataCenterId, ...this.#visit }, signal)
    await this.#describe(id, signal)
  }

  async detach(id: string, signal: AbortSignal): Promise<void> {
    this.#throwIfActive(id)
    await this.ask(id, 'detach', this.#visit, signal)
    await this.#describe(id, signal)
  }

  get #visit(): Visit {
    const sanlockHostId = this.#options.sanlockHostId?.() ?? 0
    return sanlockHostId === 0 ? {} : { sanlockHostId }
  }

  /** Removes it with everything in it, then lets go of it. */
  async format(id: string, signal: AbortSignal): Promise<void> {
    if (!this.#options.connections.attached.has(id)) return
    this.#throwIfActive(id)
    await this.ask(id, 'format', {}, signal)
    await this.disconnect(id, signal)
  }

  async activate(id: string, sanlockHostId: number, signal: AbortSignal): Promise<Swept> {
    const { connection, sanlockHostId: known } = this.#attached(id)
    if (known !== null && known !== sanlockHostId) {
      throw new Fault('WRONG_STATE', `this host is host id ${known} in storage domain ${id}`)
    }
    const swept = await this.#activate(id, sanlockHostId, signal)
    await this.#options.connections.remember(id, { connection, sanlockHostId })
    this.#changed(id)
    return swept
  }

  async deactivate(id: string, signal: AbortSignal): Promise<void> {
    const { connection, sanlockHostId } = this.#attached(id)
    if (sanlockHostId === null) return
    const known = this.#note(id)
    known.isLeaving = true
    try {
      await this.ask(id, 'deactivate', {}, signal)
      this.#options.workers.forgetReport(id)
      await this.#options.connections.remember(id, { connection, sanlockHostId: null })
    } finally {
      known.isLeaving = false
    }
    this.#changed(id)
  }

  /** Makes a chain usable by a VM of this host; leaf first. */
  prepare(id: string, place: Place, signal: AbortSignal): Promise<PreparedVolume[]> {
    return this.askActive(id, 'prepare', place, signal)
  }

  async tearDown(id: string, imageId: string, signal: AbortSignal): Promise<void> {
    await this.ask(id, 'tearDown', { imageId }, signal)
  }

  /** Where libvirt finds the leases of VMs; the same path on every host. */
  leasesPath(id: string): string {
    return `${runPaths(this.#options.runDirectory, id).storageDomain}/dom_md/xleases`
  }

  states(): StorageDomainState[] {
    return [...this.#options.connections.attached.keys()].map(id => this.state(id))
  }

  /** Null where it is not connected. */
  find(id: string): StorageDomainState | null {
    return this.#options.connections.attached.has(id) ? this.state(id) : null
  }

  state(id: string): StorageDomainState {
    const { workers } = this.#options
    const { description, lastOk, isActivating } = this.#note(id)
    return shownState({
      ...{ storageDomainId: id, ...this.#attached(id), description, lastOk, isActivating },
      isSilent: !workers.isResponsive(id),
      report: workers.health(id)?.report ?? null
    })
  }

  /**
   * sanlock gave the lockspace up: this host could not renew its lease for too long, or the daemon ended. The
   * storage can be read now, so the host joins anew, as after a boot.
   */
  #joinAgain(id: string, { problem, hostIdHeld }: MonitorReport): void {
    const attached = this.#options.connections.attached.get(id)
    if (!attached || attached.sanlockHostId === null || problem !== null || hostIdHeld) return
    const { isActivating, isLeaving, restoring } = this.#note(id)
    if (isActivating || isLeaving || restoring > 0) return
    this.#options.log.warn({ storageDomain: id }, 'the host id is not held: the lockspace is joined again')
    void this.#untilRestored(id, attached)
  }

  async #untilRestored(id: string, attached: Attached): Promise<void> {
    const known = this.#note(id)
    known.restoring++
    try {
      await this.#restore(id, attached)
    } finally {
      known.restoring--
    }
  }

  async #restore(id: string, attached: Attached): Promise<void> {
    const { clock, log } = this.#options
    for (let attempt = 0; !this.#stop.signal.aborted; attempt++) {
      try {
        await this.connect(id, attached.connection, this.#stop.signal)
        const current = this.#options.connections.attached.get(id)
        if (current?.sanlockHostId != null) await this.#activate(id, current.sanlockHostId, this.#stop.signal)
        this.#changed(id)
        return
      } catch (error) {
        if (this.#stop.signal.aborted || !this.#options.connections.attached.has(id)) return
        // Its next life comes with a call of its own.
        if (Fault.is(error, 'INTERRUPTED')) return
        log.warn({ err: error, storageDomain: id }, 'storage domain not restored yet')
      }
      await sleep(clock, delayBefore(attempt, patience, clock.random()), this.#stop.signal).catch(() => {})
    }
  }

  async #activate(id: string, sanlockHostId: number, signal: AbortSignal): Promise<Swept> {
    const known = this.#note(id)
    known.isActivating = true
    this.#changed(id)
    try {
      return await this.ask(id, 'activate', { sanlockHostId }, signal)
    } finally {
      known.isActivating = false
      this.#changed(id)
    }
  }

  async #describe(id: string, signal: AbortSignal): Promise<void> {
    this.#note(id).description = await this.ask(id, 'describe', {}, signal)
    this.#changed(id)
  }

  /** A storage domain that falls silent sends nothing: so somebody has to look. */
  async #watch(): Promise<void> {
    const { clock } = this.#options
    while (!this.#stop.signal.aborted) {
      for (const id of this.#options.connections.attached.keys()) this.#changed(id)
      await sleep(clock, seconds(2), this.#stop.signal).catch(() => {})
    }
  }

  #note(id: string): Known {
    const known = this.#known.get(id) ?? {
      ...{ description: null, lastOk: null, isActivating: false, isLeaving: false, restoring: 0, shown: '' }
    }
    this.#known.set(id, known)
    return known
  }

  /** Tells only what is new. */
  #changed(id: string): void {
    if (!this.#options.connections.attached.has(id)) return
    const state = this.state(id)
    const known = this.#note(id)
    const shown = JSON.stringify(state)
    if (shown === known.shown) return
    known.shown = shown
    this.#options.onChange(id, state)
  }

  #attached(id: string): Attached {
    const attached = this.#options.connections.attached.get(id)
    if (attached) return attached
    throw new Fault('NOT_FOUND', `storage domain ${id} is not connected to this host`, {
      facts: { storageDomainId: id }
    })
  }

  #throwIfActive(id: string): void {
    if (this.#attached(id).sanlockHostId === null) return
    throw new Fault('WRONG_STATE', `storage domain ${id} is active on this host`)
  }
}

/** More or fewer devices of the same storage domain: at least one of them stays. */
function isOnOtherDevices(before: StorageConnection, after: StorageConnection): boolean {
  if (before.kind === 'block' && after.kind === 'block')
    return before.devices.some(device => after.devices.includes(device))
  return (
    before.kind === 'iscsi' && after.kind === 'iscsi' && before.luns.some(lun => after.luns.includes(lun))
  )
}
