import { type Bytes, seconds, type Seconds } from '../common/units.js'
import type { AuditFinding } from './audit-storage-domain.js'
import type { ClearHostLease } from './clear-host-lease.js'
import type { Conversion } from './convert-storage-domain.js'
import type { BeginCopy, CopyPlan, CopySource, CopyTarget } from './copy-image.js'
import type { CreateBlockStorageDomain } from './create-block-storage-domain.js'
import type { CreateStorageDomain } from './create-storage-domain.js'
import type { CreateVolume } from './create-volume.js'
import type { DataProgram } from './data-program.js'
import type { Diagnosis, DoctorScope, Repaired, RepairWanted } from './doctor/diagnosis.js'
import type { ExtendedVolume, ExtendVolume } from './extend-volumes.js'
import type { StorageDomainMetadata } from './format/storage-domain-metadata.js'
import type { VolumeMetadata } from './format/volume-metadata.js'
import type { ObservedHost } from './host-records.js'
import type { FinishImport, ImportBegun, ImportPlan, ImportSource, InspectedImage } from './import-image.js'
import type { RoleState } from './manager/role.js'
import type { MergeVolumes } from './merge-volumes.js'
import type { OvfEntry } from './ovf-store.js'
import type { DeviceChange, DevicePlan } from './plan-device.js'
import type { PreparedVolume, PrepareImage } from './prepare-image.js'
import type { RemoveImage } from './remove-image.js'
import type { ResizeVolume } from './resize-volume.js'
import type { Place, Resource, VmLease } from './storage-domain.js'
import type { Swept } from './sweep.js'

// What the agent's main process may ask of a storage worker. Both sides read this table: a verb that one does
// not know, or calls with other arguments, does not compile.

export type VolumeEntry = Place & { metadata: VolumeMetadata; allocated: Bytes; physical: Bytes }
export type Description = {
  metadata: SerialMetadata
  ioTimeout: Seconds
  shared: boolean
  layout: LayoutPaths
}
export type LayoutPaths = { ids: string; leases: string; xleases: string }

/** Metadata as it crosses the border between processes: maps do not. */
export type SerialMetadata = Omit<StorageDomainMetadata, 'pvs'>

/** As which host it is joined for a moment, where nobody uses it; 1 where nothing is said. */
export type Visit = { sanlockHostId?: number }

export type Discovered = SerialMetadata & { ioTimeout: Seconds }
export type DiscoveredOnDevices = Discovered & { devices: string[] }

export type VerbTable = {
  /** Storage domains in the directory, without changing anything. */
  discover: { arguments: { mount: string }; result: Discovered[] }
  createStorageDomain: { arguments: CreateStorageDomain; result: SerialMetadata }
  createBlockStorageDomain: { arguments: CreateBlockStorageDomain; result: SerialMetadata }
  /** Storage domains whose physical volumes these devices are, without changing anything. */
  discoverOnDevices: { arguments: { devices: string[] }; result: DiscoveredOnDevices[] }
  /** More room for a block storage domain: one more device, or what a device grew by. */
  addDevice: { arguments: { device: string }; result: null }
  resizeDevice: { arguments: { device: string }; result: null }
  /** Less room: a device is emptied and taken out. */
  removeDevice: { arguments: { device: string }; result: null }
  planDevice: { arguments: { device: string; change: DeviceChange }; result: DevicePlan }
  /** Its devices from now on, which may be more than its physical volumes. */
  useDevices: { arguments: { devices: string[] }; result: null }
  /** From format V4 to V5, or what that would change. */
  convert: { arguments: { isApplied: boolean } & Visit; result: Conversion }
  describe: { arguments: object; result: Description }
  attach: { arguments: { dataCenterId: string } & Visit; result: null }
  detach: { arguments: Visit; result: null }
  format: { arguments: object; result: null }
  /** Joins the lockspace, finishes what was interrupted, begins to monitor. */
  activate: { arguments: { sanlockHostId: number }; result: Swept }
  deactivate: { arguments: object; result: null }
  sweep: { arguments: object; result: Swept }
  audit: { arguments: { intents: string[] }; result: AuditFinding[] }
  /** What is wrong, with what would be done about it; nothing is changed. */
  diagnose: { arguments: DoctorScope; result: Diagnosis[] }
  repair: { arguments: DoctorScope & { wanted: RepairWanted[] }; result: Repaired }
  createVolume: { arguments: CreateVolume; result: VolumeMetadata }
  removeVolume: { arguments: Place; result: null }
  removeImage: { arguments: RemoveImage; result: null }
  shareVolume: { arguments: Place; result: VolumeMetadata }
  resizeVolume: { arguments: ResizeVolume; result: VolumeMetadata }
  /** Room for thin volumes on a block storage domain, many at once; only on the manager. */
  extendVolumes: { arguments: { volumes: ExtendVolume[] }; result: ExtendedVolume[] }
  /** Takes the manager's lease, waits for it so long (for the deadline where nothing is said), and serves the mailbox. */
  takeManager: { arguments: { within?: Seconds }; result: { leaseVersion: number } }
  giveUpManager: { arguments: object; result: null }
  /** For another host that needs the lease: what was asked for is done first; not free while an operation holds it. */
  handOverManager: { arguments: object; result: { isFree: boolean } }
  managerState: { arguments: object; result: RoleState }
  /** Asks the manager over the storage alone; whether it says that it is done. */
  askManager: { arguments: ExtendVolume; result: boolean }
  /** Reloads mappings on this host after an extension somewhere. */
  refreshVolumes: { arguments: { volumeIds: string[] }; result: Array<{ volumeId: string; size: Bytes }> }
  listVolumes: { arguments: { imageId: string | null }; result: VolumeEntry[] }
  /** Definitions of VMs and templates that oVirt left. */
  ovfStores: { arguments: object; result: OvfEntry[] }
  prepare: { arguments: PrepareImage; result: PreparedVolume[] }
  tearDown: { arguments: { imageId: string }; result: null }
  copySource: { arguments: CopySource; result: CopyPlan }
  copyBegin: { arguments: BeginCopy; result: DataProgram | null }
  /** The source's data has been read, or will not be. */
  copySourceEnd: { arguments: { imageId: string }; result: null }
  copyFinish: { arguments: CopyTarget; result: VolumeMetadata }
  mergeBegin: { arguments: MergeVolumes; result: DataProgram | null }
  mergeFinish: { arguments: MergeVolumes; result: null }
  inspect: { arguments: ImportSource; result: InspectedImage }
  importBegin: { arguments: ImportPlan; result: ImportBegun | null }
  importFinish: { arguments: FinishImport; result: VolumeMetadata }
  uploadBegin: { arguments: { uploadId: string; size: Bytes }; result: DataProgram }
  uploadFinish: { arguments: { uploadId: string; size: Bytes }; result: null }
  uploadRemove: { arguments: { uploadId: string }; result: null }
  createLease: { arguments: { leaseId: string }; result: VmLease }
  removeLease: { arguments: { leaseId: string }; result: null }
  listLeases: { arguments: object; result: VmLease[] }
  rebuildLeases: { arguments: object; result: { differences: number } }
  leaseResource: { arguments: { leaseId: string }; result: Resource }
  clearHostLease: { arguments: ClearHostLease; result: null }
  hosts: { arguments: object; result: ObservedHost[] }
}

export type Verb = keyof VerbTable
export type Arguments<V extends Verb> = VerbTable[V]['arguments']
export type Result<V extends Verb> = VerbTable[V]['result']

/** Each kind of work has its own bound inside the worker, so that one cannot starve another. */
export type Lane = 'monitor' | 'manager' | 'extend' | 'metadata' | 'bulk'
export const laneWidths: Record<Lane, number> = { monitor: 1, manager: 64, extend: 4, metadata: 4, bulk: 4 }

/** Where a verb runs, and when the main process stops waiting for it. */
export type VerbPolicy = { lane: Lane; limit: Seconds }

const quick: VerbPolicy = { lane: 'metadata', limit: seconds(60) }
const patient: VerbPolicy = { lane: 'metadata', limit: seconds(180) }
const long: VerbPolicy = { lane: 'bulk', limit: seconds(600) }

export const verbs: Record<Verb, VerbPolicy> = {
  discover: { lane: 'metadata', limit: seconds(30) },
  createStorageDomain: patient,
  createBlockStorageDomain: patient,
  discoverOnDevices: { lane: 'metadata', limit: seconds(60) },
  addDevice: patient,
  resizeDevice: patient,
  removeDevice: { lane: 'bulk', limit: seconds(7 * 24 * 3600) },
  planDevice: { lane: 'metadata', limit: seconds(60) },
  useDevices: { lane: 'metadata', limit: seconds(60) },
  convert: long,
  describe: { lane: 'metadata', limit: seconds(30) },
  attach: { lane: 'bulk', limit: seconds(300) },
  detach: { lane: 'bulk', limit: seconds(300) },
  format: long,
  activate: { lane: 'bulk', limit: seconds(300) },
  deactivate: { lane: 'bulk', limit: seconds(180) },
  sweep: long,
  audit: long,
  diagnose: long,
  repair: { lane: 'bulk', limit: seconds(3600) },
  createVolume: patient,
  removeVolume: patient,
  removeImage: long,
  shareVolume: quick,
  resizeVolume: patient,
  extendVolumes: { lane: 'manager', limit: seconds(60) },
  takeManager: { lane: 'manager', limit: seconds(200) },
  giveUpManager: { lane: 'manager', limit: seconds(60) },
  handOverManager: { lane: 'manager', limit: seconds(60) },
  managerState: { lane: 'manager', limit: seconds(10) },
  askManager: { lane: 'manager', limit: seconds(60) },
  refreshVolumes: { lane: 'extend', limit: seconds(30) },
  listVolumes: quick,
  ovfStores: long,
  prepare: quick,
  tearDown: quick,
  copySource: quick,
  copyBegin: patient,
  copySourceEnd: quick,
  copyFinish: patient,
  mergeBegin: patient,
  mergeFinish: patient,
  inspect: quick,
  importBegin: patient,
  importFinish: patient,
  uploadBegin: quick,
  uploadFinish: patient,
  uploadRemove: quick,
  createLease: quick,
  removeLease: quick,
  listLeases: quick,
  rebuildLeases: long,
  leaseResource: quick,
  clearHostLease: quick,
  hosts: { lane: 'monitor', limit: seconds(10) }
}

/** What a worker says by itself. */
export type MonitorReport = {
  /** Of the last direct read, in milliseconds; null if it failed. */
  latency: number | null
  problem: string | null
  total: Bytes
  free: Bytes
  metadataPercent: number
  hostIdHeld: boolean
  hosts: ObservedHost[]
  /** This host stands as the manager: it serves who asks for room, until it gives the role up. */
  isManager: boolean
}

export type ToWorker = { id: number; verb: Verb; arguments: unknown }
export type FromWorker =
  | { kind: 'ready'; pid: number }
  | { kind: 'result'; id: number; value: unknown }
  | { kind: 'fault'; id: number; fault: unknown }
  | { kind: 'monitor'; report: MonitorReport }
  /** Something here waits for the manager's lease, and another host has it. */
  | { kind: 'managerWanted' }
