import { Fault } from '../common/fault.js'
import { seconds } from '../common/units.js'
import { attachStorageDomain, detachStorageDomain, type Visitor } from './attach-storage-domain.js'
import { auditStorageDomain } from './audit-storage-domain.js'
import { BlockGroup } from './block-group.js'
import { BlockStorageDomain } from './block-storage-domain.js'
import { clearHostLease } from './clear-host-lease.js'
import { convertStorageDomain } from './convert-storage-domain.js'
import { beginCopy, copySource, copySourceEnd, finishCopy } from './copy-image.js'
import { createBlockStorageDomain } from './create-block-storage-domain.js'
import { discoverOnDevices } from './discover-on-devices.js'
import { addDevice, resizeDevice } from './block-devices.js'
import { createStorageDomain } from './create-storage-domain.js'
import { createVolume } from './create-volume.js'
import { discoverStorageDomains } from './discover-storage-domains.js'
import { eraseGroup } from './erase-block-storage-domain.js'
import { refreshVolumes } from './extend-volumes.js'
import { fileLayout } from './file-layout.js'
import { FileStorageDomain, type Tools } from './file-storage-domain.js'
import { exists } from './files.js'
import { formatStorageDomain, removeRemains } from './format-storage-domain.js'
import { diagnose } from './doctor/diagnose.js'
import { repair } from './doctor/repair.js'
import { beginImport, finishImport, type ImportPlace, inspectSource } from './import-image.js'
import { listVolumes } from './list-volumes.js'
import { ManagerRole } from './manager/role.js'
import { beginMerge, finishMerge } from './merge-volumes.js'
import { Monitor, type Monitored } from './monitor.js'
import type { Operation } from './operation.js'
import { readOvfStores } from './ovf-store.js'
import { planDevice } from './plan-device.js'
import { prepareImage } from './prepare-image.js'
import { removeDevice } from './block-remove-device.js'
import { removeImage } from './remove-image.js'
import { removeVolume } from './remove-volume.js'
import { resizeVolume } from './resize-volume.js'
import type { StorageDomain } from './storage-domain.js'
import { shareVolume } from './share-volume.js'
import { sweep, type Swept } from './sweep.js'
import {
  beginUpload,
  finishUpload,
  removeUpload,
  sweepUploads,
  type UploadPlace,
  uploadsBeside,
  uploadsOnHost
} from './uploads.js'
import type { Arguments, Description, MonitorReport, Result, Verb, Visit } from './verbs.js'
import type { WorkerSettings } from './worker-settings.js'

export type Handlers = { [V in Verb]: (request: Arguments<V>, signal: AbortSignal) => Promise<Result<V>> }

export type WorkerEvents = { onReport(report: MonitorReport): void; onManagerWanted(): void }

/** One storage domain in a worker: opened when first asked for, monitored while it is active. */
export class WorkerService {
  #settings: WorkerSettings
  readonly #tools: Tools
  readonly #events: WorkerEvents
  #lastSeen: Monitored | null = null
  #opening: Promise<StorageDomain> | null = null
  #monitor: { monitor: Monitor; stop: AbortController } | null = null
  #sanlockHostId: number | null = null
  readonly #role: ManagerRole

  constructor(settings: WorkerSettings, tools: Tools, events: WorkerEvents) {
    this.#settings = settings
    this.#tools = tools
    this.#events = events
    // Nothing that runs in this process may write any more.
    this.#role = new ManagerRole({ ...tools, onLost: () => process.exit(1), onChange: () => this.#tell() })
  }

  readonly handlers: Handlers = {
    discover: ({ mount }) => discoverStorageDomains(mount),
    createStorageDomain: async (request, signal) => {
      const { pvs: _none, ...metadata } = await createStorageDomain(request, this.#tools, signal)
      return metadata
    },
    createBlockStorageDomain: async (request, signal) => {
      const { pvs: _none, ...metadata } = await createBlockStorageDomain(request, this.#tools, signal)
      return metadata
    },
    discoverOnDevices: ({ devices }) => discoverOnDevices(devices, this.#tools),
    addDevice: async ({ device }, signal) => {
      await addDevice(this.#onBlock(await this.#open()), device, this.#tools.run, signal)
      return null
    },
    resizeDevice: async ({ device }, signal) => {
      await resizeDevice(this.#onBlock(await this.#open()), device, signal)
      return null
    },
    removeDevice: async ({ device }, signal) => {
      await removeDevice(this.#onBlock(await this.#open()), device, signal)
      return null
    },
    planDevice: async ({ device, change }, signal) => {
      return planDevice(this.#onBlock(await this.#open()), device, change, this.#tools.run, signal)
    },
    useDevices: async ({ devices }) => {
      await this.#onBlock(await this.#open()).group.useDevices(devices)
      this.#settings = { ...this.#settings, devices }
      return null
    },
    convert: ({ isApplied, ...visit }, signal) => {
      const open = () => this.#openIt(this.#id, [4, 5])
      return convertStorageDomain(open, isApplied, { ...this.#tools, ...this.#visitor(visit) }, signal)
    },
    describe: () => this.#describe(),
    attach: async ({ dataCenterId, ...visit }, signal) => {
      await attachStorageDomain(await this.#open(), dataCenterId, this.#visitor(visit), signal)
      await this.#closeUnlessActive()
      return null
    },
    detach: async (visit, signal) => {
      this.#throwIfActive('detached')
      await detachStorageDomain(await this.#open(), this.#visitor(visit), signal)
      await this.#closeUnlessActive()
      return null
    },
    format: (_, signal) => this.#format(signal),
    activate: ({ sanlockHostId }, signal) => this.#activate(sanlockHostId, signal),
    deactivate: (_, signal) => this.#deactivate(signal),
    sweep: async (_, signal) => sweep(await this.#operation(), signal),
    audit: async ({ intents }, signal) => {
      return auditStorageDomain(await this.#open(), await this.#operation(), intents, signal)
    },
    diagnose: async (scope, signal) => diagnose(await this.#operation(), scope, signal),
    repair: async ({ wanted, ...scope }, signal) => repair(await this.#operation(), wanted, scope, signal),
    createVolume: async (request, signal) => createVolume(await this.#operation(), request, signal),
    removeVolume: async (request, signal) => {
      await removeVolume(await this.#operation(), request, signal)
      return null
    },
    removeImage: async (request, signal) => {
      await this.#throwIfPrepared(request.imageId)
      await removeImage(await this.#operation(), request, signal)
      return null
    },
    shareVolume: async (request, signal) => shareVolume(await this.#operation(), request, signal),
    resizeVolume: async (request, signal) => {
      await this.#throwIfPrepared(request.imageId)
      return resizeVolume(await this.#operation(), request, signal)
    },
    extendVolumes: async ({ volumes }, signal) => this.#role.extend(await this.#open(), volumes, signal),
    takeManager: async ({ within }, signal) => {
      const limits = within === undefined ? [signal] : [signal, AbortSignal.timeout(within * 1000)]
      const { leaseVersion } = await this.#role.take(await this.#active(), AbortSignal.any(limits))
      return { leaseVersion }
    },
    giveUpManager: async () => {
      await this.#role.giveUp()
      return null
    },
    handOverManager: async () => ({ isFree: await this.#role.handOver(await this.#open()) }),
    managerState: async () => this.#role.state(await this.#open()),
    askManager: async (request, signal) => {
      return this.#role.ask(await this.#active(), this.#hostId(), request, signal)
    },
    refreshVolumes: async ({ volumeIds }, signal) => refreshVolumes(await this.#open(), volumeIds, signal),
    listVolumes: async ({ imageId }) => listVolumes(await this.#open(), imageId),
    ovfStores: async (_, signal) => readOvfStores(await this.#operation(), signal),
    prepare: async (request, signal) => prepareImage(await this.#operation(), request, signal),
    tearDown: async ({ imageId }) => {
      await (await this.#open()).onHost.tearDown(imageId)
      return null
    },
    copySource: async (request, signal) => copySource(await this.#operation(), request, signal),
    copySourceEnd: async request => {
      await copySourceEnd(await this.#operation(), request)
      return null
    },
    copyBegin: async (request, signal) =>
      beginCopy(await this.#operation(), request, this.#tools.sanlock, signal),
    copyFinish: async (request, signal) => finishCopy(await this.#operation(), request, signal),
    mergeBegin: async (request, signal) => {
      await this.#throwIfPrepared(request.imageId)
      return beginMerge(await this.#operation(), request, this.#tools.sanlock, signal)
    },
    mergeFinish: async (request, signal) => {
      await finishMerge(await this.#operation(), request, signal)
      return null
    },
    inspect: async request => inspectSource(request, await this.#importPlace()),
    importBegin: async (request, signal) => {
      return beginImport(
        await this.#operation(),
        request,
        await this.#importPlace(),
        this.#tools.sanlock,
        signal
      )
    },
    importFinish: async (request, signal) => finishImport(await this.#operation(), request, signal),
    uploadBegin: async ({ uploadId, size }) => {
      return beginUpload(this.#uploads(), uploadId, size, this.#tools.owner)
    },
    uploadFinish: async ({ uploadId, size }) => {
      await finishUpload(this.#uploads(), uploadId, size)
      return null
    },
    uploadRemove: async ({ uploadId }) => {
      await removeUpload(this.#uploads(), uploadId)
      return null
    },
    createLease: ({ leaseId }, signal) =>
      this.#asManager(signal, ({ leases }) => leases.createVmLease(leaseId, signal)),
    removeLease: async ({ leaseId }, signal) => {
      await this.#asManager(signal, ({ leases }) => leases.removeVmLease(leaseId, signal))
      return null
    },
    listLeases: async (_, signal) => (await this.#open()).leases.vmLeases(signal),
    rebuildLeases: async (_, signal) => {
      return { differences: await this.#asManager(signal, ({ leases }) => leases.rebuildVmLeases(signal)) }
    },
    leaseResource: async ({ leaseId }) => (await this.#open()).leases.vmResource(leaseId),
    clearHostLease: async (request, signal) => {
      await clearHostLease(await this.#open(), await this.#operation(), request, this.#sanlockHostId, signal)
      return null
    },
    hosts: async () => this.#monitor?.monitor.hosts() ?? []
  }

  /** Before the process ends: the role is given up, so that others need not wait. */
  async stop(): Promise<void> {
    this.#monitor?.stop.abort()
    await this.#role
      .end()
      .catch((error: unknown) => this.#tools.log.warn({ err: error }, 'role not given up'))
    const storageDomain = await this.#opening?.catch(() => null)
    await storageDomain?.manager.giveUp()
  }

  /** Only a host that has joined the lockspace may speak in the mailbox. */
  async #active(): Promise<StorageDomain> {
    this.#hostId()
    return this.#open()
  }

  async #open(): Promise<StorageDomain> {
    this.#opening ??= this.#openIt(this.#id)
    try {
      return await this.#opening
    } catch (error) {
      this.#opening = null
      throw error
    }
  }

  async #openIt(id: string, versions?: number[]): Promise<FileStorageDomain | BlockStorageDomain> {
    const { devices } = this.#settings
    const opened = await (devices === undefined
      ? FileStorageDomain.open(this.#directory, this.#tools, versions)
      : BlockStorageDomain.open(id, devices, this.#tools, versions))
    opened.manager.onHeldElsewhere = this.#events.onManagerWanted
    return opened
  }

  get #id(): string {
    const { storageDomainId } = this.#settings
    if (storageDomainId !== null) return storageDomainId
    throw new Fault('WRONG_STATE', 'this worker only looks for storage domains')
  }

  /** What no host id protects is not kept open: another host may change or remove it meanwhile. */
  async #closeUnlessActive(): Promise<void> {
    if (this.#sanlockHostId !== null || this.#opening === null) return
    const storageDomain = await this.#opening.catch(() => null)
    if (storageDomain === null || (await storageDomain.onHost.isLinked())) return
    this.#opening = null
    await storageDomain.manager.giveUp()
    await storageDomain.onHost.close()
  }

  get #directory(): string {
    return `${this.#settings.mount}/${this.#settings.storageDomainId}`
  }

  async #operation(): Promise<Operation> {
    const { run, clock, log } = this.#tools
    return { storageDomain: await this.#open(), run, clock, log }
  }

  get #takesUploads(): boolean {
    return this.#settings.devices === undefined || this.#settings.uploadDirectory !== undefined
  }

  /** Where uploads wait; a VG has no room beside its format. */
  #uploads(): UploadPlace {
    const { devices, uploadDirectory, storageDomainId } = this.#settings
    if (devices === undefined) return uploadsBeside(fileLayout(this.#directory), this.#sanlockHostId ?? 0)
    if (uploadDirectory !== undefined) return uploadsOnHost(uploadDirectory, storageDomainId ?? '')
    throw new Fault(
      'UNSUPPORTED',
      `storage domain ${storageDomainId} takes no uploads; import a file of this host`
    )
  }

  async #importPlace(): Promise<ImportPlace> {
    return {
      uploads: this.#takesUploads
        ? this.#uploads()
        : uploadsBeside(fileLayout(this.#directory), this.#sanlockHostId ?? 0),
      importDirectory: this.#settings.importDirectory,
      withBubblewrap: await exists('/usr/bin/bwrap')
    }
  }

  #onBlock(storageDomain: StorageDomain): BlockStorageDomain {
    if (storageDomain instanceof BlockStorageDomain) return storageDomain
    throw new Fault('UNSUPPORTED', `storage domain ${storageDomain.identity.id} is no block storage domain`)
  }

  async #describe(): Promise<Description> {
    const { identity, special } = await this.#open()
    const { pvs: _none, ...metadata } = await identity.metadata()
    const { ids, leases, xleases } = special
    const description = {
      metadata,
      ioTimeout: identity.ioTimeout,
      shared: identity.shared,
      layout: { ids, leases, xleases }
    }
    await this.#closeUnlessActive()
    return description
  }

  async #format(signal: AbortSignal): Promise<null> {
    this.#throwIfActive('formatted')
    try {
      await formatStorageDomain(await this.#open(), this.#tools.clock, signal)
    } catch (error) {
      if (!Fault.is(error, 'NOT_FOUND')) throw error
      // The first attempt took the metadata away already.
      await this.#eraseRest(signal)
    }
    this.#opening = null
    return null
  }

  async #eraseRest(signal: AbortSignal): Promise<void> {
    const { devices, storageDomainId, runDirectory } = this.#settings
    if (devices === undefined) return removeRemains(fileLayout(this.#directory))
    const group = await BlockGroup.on(storageDomainId ?? '', devices, runDirectory, this.#tools)
    if ((await group.find()) !== null) await eraseGroup(group, signal)
  }

  async #activate(sanlockHostId: number, signal: AbortSignal): Promise<Swept> {
    const storageDomain = await this.#open()
    const { identity, leases, onHost } = storageDomain
    const { poolIds } = await identity.metadata()
    if (poolIds.length !== 1) throw new Fault('WRONG_STATE', `storage domain ${identity.id} is not attached`)
    const isNew = !(await leases.isJoined(signal))
    await onHost.link()
    await leases.join(sanlockHostId, signal)
    this.#sanlockHostId = sanlockHostId
    if (this.#takesUploads) await sweepUploads(this.#uploads(), this.#tools.clock.wall(), isNew)
    const swept = await this.#sweepUnlessBusy(signal)
    this.#startMonitor(storageDomain)
    return swept
  }

  /** Another host may be at work: then it, or the next activation, sweeps. */
  async #sweepUnlessBusy(signal: AbortSignal): Promise<Swept> {
    const patience = AbortSignal.any([signal, AbortSignal.timeout(seconds(20) * 1000)])
    try {
      return await sweep(await this.#operation(), patience)
    } catch (error) {
      if (signal.aborted || !Fault.is(error, 'LEASE_HELD')) throw error
      return { done: [], reported: ['not swept: another host is at work'] }
    }
  }

  #startMonitor(storageDomain: StorageDomain): void {
    if (this.#monitor) return
    const monitor = new Monitor(storageDomain, this.#tools.clock, this.#tools.log)
    const stop = new AbortController()
    this.#monitor = { monitor, stop }
    const report = (seen: Monitored) => {
      this.#lastSeen = seen
      this.#tell()
    }
    monitor.run(report, stop.signal).catch((error: unknown) => {
      this.#tools.log.error({ err: error }, 'monitor ended')
      process.exit(1)
    })
  }

  #tell(): void {
    if (this.#monitor && this.#lastSeen)
      this.#events.onReport({ ...this.#lastSeen, isManager: this.#role.isManager })
  }

  async #deactivate(signal: AbortSignal): Promise<null> {
    const { leases, onHost } = await this.#open()
    const prepared = await onHost.preparedImages()
    if (prepared.length > 0) {
      throw new Fault('WRONG_STATE', `image ${prepared[0]} is prepared for use on this host`, {
        facts: { imageId: prepared[0] ?? '', prepared: String(prepared.length) }
      })
    }
    await this.#role.end()
    this.#monitor?.stop.abort()
    this.#monitor = null
    this.#lastSeen = null
    await leases.leave(signal)
    this.#sanlockHostId = null
    await onHost.unlink()
    if (this.#takesUploads) await sweepUploads(this.#uploads(), this.#tools.clock.wall(), true)
    await this.#closeUnlessActive()
    return null
  }

  async #asManager<T>(signal: AbortSignal, work: (storageDomain: StorageDomain) => Promise<T>): Promise<T> {
    const storageDomain = await this.#open()
    await using manager = await storageDomain.leases.asManager(signal)
    void manager
    return await work(storageDomain)
  }

  #visitor({ sanlockHostId = 1 }: Visit): Visitor {
    return { sanlockHostId, clock: this.#tools.clock }
  }

  #hostId(): number {
    if (this.#sanlockHostId !== null) return this.#sanlockHostId
    throw new Fault(
      'WRONG_STATE',
      `storage domain ${this.#settings.storageDomainId} is not active on this host`
    )
  }

  /** What a VM of this host may have open is not rewritten under it. */
  async #throwIfPrepared(imageId: string): Promise<void> {
    if (!(await (await this.#open()).onHost.preparedImages()).includes(imageId)) return
    throw new Fault('WRONG_STATE', `image ${imageId} is in use on this host`, { facts: { imageId } })
  }

  #throwIfActive(what: string): void {
    if (this.#sanlockHostId === null) return
    throw new Fault(
      'WRONG_STATE',
      `storage domain ${this.#settings.storageDomainId} is active and cannot be ${what}`
    )
  }
}
