import type { ColumnType, Generated } from 'kysely'

// The tables as SQL sees them; migrations.ts makes them. Truth values are 0 and 1, times are milliseconds
// since 1970, names that end in Json hold JSON text. Everything else reads rows through the files beside.

type Bit = 0 | 1
/** Computed by SQLite: read, never written. */
type Computed<T> = ColumnType<T, never, never>

export type SettingTable = { name: string; value: string }

export type ClusterTable = {
  id: string
  name: string
  description: string
  cpuModel: string
  cpuWeight: number
  memoryWeight: number
  memoryOvercommitPercent: number
  cpuOvercommitPercent: number
  silenceSeconds: number
  fencingEnabled: Bit
  statusGapSeconds: number
  skipFencingWhileLeaseLives: Bit
  startGraceSeconds: number
  /** Name of a built-in policy, or id of one that was made. */
  policyId: Generated<string>
  haReservedHosts: Generated<number>
  /** What the last look at the reservation said. */
  reservationJson: string | null
  schedulesJson: Generated<string>
  version: Generated<number>
  created: number
}

export type HostMode = 'pending' | 'active' | 'preparing' | 'maintenance'
export type HealthKind = 'initializing' | 'up' | 'connecting' | 'non_responsive' | 'proven_stopped'
export type HostStatus =
  | 'pending_enrolment'
  | 'initializing'
  | 'up'
  | 'connecting'
  | 'non_responsive'
  | 'preparing_for_maintenance'
  | 'maintenance'
  | 'non_operational'
  | 'down'

export type HostTable = {
  id: string
  name: string
  clusterId: string
  address: string
  sanlockHostId: number
  generation: Generated<number>
  powerEnabled: Bit
  /** Devices without their secret options. */
  powerJson: string
  /** What an administrator wants of it. */
  mode: HostMode
  /** What the HA loop has decided about it. */
  health: HealthKind
  healthSince: number
  proof: string
  lastFence: number | null
  fences: Generated<number>
  /** Boot id with which it was last heard before it became silent; a new one proves that its VMs are gone. */
  lostBootId: Generated<string>
  /** Why its VMs do not restart yet; empty while nothing is amiss. */
  missing: Generated<string>
  status: Computed<HostStatus>
  // Observed.
  problem: Generated<string>
  hardwareId: Generated<string>
  incarnation: Generated<string>
  sequence: Generated<number>
  bootId: Generated<string>
  agentVersion: Generated<string>
  capabilitiesJson: string | null
  /** Power saving leaves it alone. */
  keepsPower: Generated<Bit>
  /** Power saving has put it to rest, and wakes it. */
  rested: Generated<Bit>
  lastSeen: number | null
  version: Generated<number>
  created: number
}

export type EnrolmentTokenTable = {
  hash: string
  hostId: string
  expires: number
  used: number | null
  created: number
}

export type CertificateTable = {
  serial: string
  role: string
  /** Id of a host or coordinator, name of an administrator or viewer. */
  name: string
  notAfter: number
  revoked: number | null
  issued: number
}

export type DeniedHostTable = { hostId: string; since: number }

export type StorageDomainPhase =
  'creating' | 'unattached' | 'activating' | 'active' | 'deactivating' | 'maintenance' | 'removing'
export type StorageDomainStatus =
  'unattached' | 'creating' | 'activating' | 'active' | 'problem' | 'inactive' | 'maintenance'

export type StorageDomainTable = {
  id: string
  name: string
  connectionJson: string
  /** What jobs have made of it. */
  phase: StorageDomainPhase
  /** Phase and what hosts report, together. */
  status: StorageDomainStatus
  problem: Generated<string>
  ioTimeoutSeconds: number
  blockSize: number
  criticalBytes: number
  // Observed.
  totalBytes: Generated<number>
  freeBytes: Generated<number>
  metadataPercent: Generated<number>
  metadataJson: string | null
  /** The host that is to manage it; null where none is, and for those that need no manager. */
  managerHostId: Generated<string | null>
  managerWhy: Generated<string>
  managerSince: Generated<number>
  version: Generated<number>
  created: number
}

export type StorageDomainHealth = 'inactive' | 'activating' | 'active' | 'problem' | 'unresponsive'

/** Observed: a storage domain as one host sees it. */
export type StorageDomainHostTable = {
  storageDomainId: string
  hostId: string
  health: StorageDomainHealth
  problem: string
  totalBytes: number
  freeBytes: number
  readLatencyMs: number
  hostIdHeld: Bit
  lastOk: number | null
  leasesJson: string
  /** It stands as the manager. */
  isManager: Generated<Bit>
}

export type DiskStatus = 'creating' | 'ok' | 'illegal' | 'removing'
export type DiskFormat = 'raw' | 'qcow2'
export type DiskContent = 'data' | 'iso'
export type Allocation = 'thin' | 'preallocated'

export type DiskTable = {
  id: string
  name: string
  storageDomainId: string
  capacity: number
  allocatedBytes: Generated<number>
  format: DiskFormat
  allocation: Allocation
  status: DiskStatus
  problem: Generated<string>
  /** Its leaf. */
  volumeId: string
  content: Generated<DiskContent>
  /** Several VMs may write it at once. */
  isShareable: Generated<Bit>
  version: Generated<number>
  created: number
}

export type VolumeTable = {
  id: string
  diskId: string
  /** The volume below, perhaps of a template's disk; null at the base. */
  parentId: string | null
  capacity: number
  format: DiskFormat
  allocation: Allocation
  /** A template's, usable as a parent by other disks. */
  isShared: Bit
  created: number
}

/** disk with vmId and templateId (empty where none) and chainLength. */
export type DiskViewTable = { [K in keyof DiskTable]: DiskTable[K] } & {
  vmId: Computed<string>
  templateId: Computed<string>
  chainLength: Computed<number>
}

export type TemplateStatus = 'creating' | 'ok' | 'removing'
export type Firmware = 'bios' | 'uefi'

export type TemplateTable = {
  id: string
  name: string
  description: string
  vcpus: number
  memoryBytes: number
  firmware: Firmware
  status: TemplateStatus
  version: Generated<number>
  created: number
}

export type TemplateDiskTable = { templateId: string; diskId: string; ordinal: number }

export type VmPhase = 'creating' | 'ok' | 'removing'
export type VmStatus =
  | 'wait_for_launch'
  | 'powering_up'
  | 'up'
  | 'paused'
  | 'migrating_from'
  | 'migrating_to'
  | 'powering_down'
  | 'reboot_in_progress'
  | 'saving_state'
  | 'restoring_state'
  | 'not_responding'
  | 'down'
  | 'unknown'
  | 'suspended'
  | 'creating'

export type VmTable = {
  id: string
  name: string
  description: string
  clusterId: string
  templateId: string | null
  vcpus: number
  memoryBytes: number
  firmware: Firmware
  /** Whether CD-ROM drives are tried before disks. */
  bootsFromCd: Generated<Bit>
  isHa: Bit
  priority: number
  leaseStorageDomainId: string | null
  /** Empty: the cluster's. */
  cpuModel: string
  /** Empty before the first start. */
  machineType: Generated<string>
  cpuProfileId: Generated<string | null>
  /** What its host was last told to hold it to; qos/apply.ts. */
  limitsApplied: Generated<string>
  wantedRunning: Generated<Bit>
  /** Number of the last start. */
  generation: Generated<number>
  phase: VmPhase
  isExternal: Generated<Bit>
  /** Restarts by HA: JSON of what restart-policy.ts needs to know. */
  restartsJson: string | null
  // Observed.
  status: VmStatus
  pauseReason: Generated<string>
  hostId: string | null
  migratingToHostId: string | null
  exitReason: Generated<string>
  failureJson: string | null
  guestJson: string | null
  migrationJson: string | null
  vncSocket: Generated<string>
  /** Numbers of its CD-ROM drives whose tray is open. */
  openTraysJson: Generated<string>
  /** The start that was last observed: what else is here is about that one. */
  observedGeneration: Generated<number>
  started: number | null
  version: Generated<number>
  created: number
}

export type DiskBus = 'virtio' | 'scsi' | 'sata'

export type VmDiskTable = {
  vmId: string
  diskId: string
  ordinal: number
  bus: DiskBus
  slot: number
  isReadOnly: Bit
  /** Always 0: CDs have a table of their own. */
  isCdrom: Bit
  /** A copy of the disk's isShareable, for the index that keeps a second writer out. */
  isShared: Generated<Bit>
  profileId: Generated<string | null>
}

/** A CD-ROM drive; empty without a disk. */
export type VmCdDriveTable = { vmId: string; number: number; diskId: string | null }

/** A LUN that a VM uses as it is. */
export type VmLunTable = {
  vmId: string
  wwid: string
  /** Its serial number in the guest. */
  diskId: string
  ordinal: number
  bus: 'virtio' | 'scsi'
  slot: number
  isReadOnly: Bit
  isShareable: Bit
  isPassthrough: Bit
  hasReservations: Bit
  /** As seen at attachment. */
  sizeBytes: number
  model: string
}

/** Observed: hosts that see LUNs which VMs want. */
export type HostLunTable = { hostId: string; wwid: string }

/** Every disk that a VM uses, as disk or as CD. */
export type VmImageTable = { vmId: Computed<string>; diskId: Computed<string>; ordinal: Computed<number> }

export type VmNicTable = {
  vmId: string
  mac: string
  bridge: string
  slot: number
  ordinal: number
  profileId: Generated<string | null>
}

export type VmPinnedHostTable = { vmId: string; hostId: string }

/** A VM that starts only while another one runs. */
export type VmDependencyTable = { vmId: string; neededId: string }

export type QosKind = 'cpu' | 'disk' | 'network'
export type QosProfileTable = {
  id: string
  name: string
  description: string
  kind: QosKind
  limitsJson: string
  version: Generated<number>
  created: number
}

/** A VM's lease in xleases, once it exists. */
export type LeaseTable = { vmId: string; storageDomainId: string; offsetBytes: number }

/** Placed on a host by a decision, not yet seen there. */
export type PendingTable = {
  vmId: string
  hostId: string
  jobId: string
  vcpus: number
  memoryBytes: number
  created: number
}

export type SnapshotPhase = 'creating' | 'ok' | 'removing'
export type SnapshotTable = { id: string; vmId: string; name: string; phase: SnapshotPhase; created: number }
export type SnapshotDiskTable = { snapshotId: string; diskId: string; volumeId: string }

export type JobState = 'queued' | 'running' | 'succeeded' | 'undoing' | 'undone' | 'stuck'

export type JobTable = {
  id: string
  kind: string
  kindVersion: number
  objectsJson: string
  contextJson: string
  state: JobState
  /** Why it undoes. */
  turnedBackJson: string | null
  isCancelled: Generated<Bit>
  rewindsTo: string | null
  resultJson: Generated<string>
  progressJson: string | null
  /** vmId of its objects, or empty: for filters. */
  vmId: Generated<string>
  actor: string
  requestId: string
  epoch: number
  created: number
  ended: number | null
}

export type JobStepState = 'running' | 'done' | 'undone'

export type JobStepTable = {
  jobId: string
  ordinal: number
  name: string
  /** Null before it begins. */
  state: JobStepState | null
  weight: number
  attempt: Generated<number>
  isOpen: Generated<Bit>
  undoAttempt: Generated<number>
  hostId: string | null
  started: number | null
  ended: number | null
  faultJson: string | null
  progressJson: string | null
}

export type ClaimTable = { objectType: string; objectId: string; mode: string; jobId: string }

export type RequestTable = {
  id: string
  method: string
  actor: string
  contentHash: string
  answerJson: string
  created: number
}

export type Severity = 'info' | 'warning' | 'error' | 'alert'

export type EventTable = {
  sequence: Generated<number>
  time: number
  severity: Severity
  /** 1 (info) to 4 (alert). */
  rank: number
  kind: string
  text: string
  objectsJson: string
  vmId: Generated<string>
  hostId: Generated<string>
  jobId: string
  actor: string
}

export type AuditTable = {
  sequence: number
  time: number
  actor: string
  role: string
  serial: string
  address: string
  method: string
  action: string
  object: string
  digest: string
  requestId: string
  outcome: string
  previousHash: string
  hash: string
}

/** Where the kept part of the audit trail begins: the hash of the last record that was cut off. */
export type AuditAnchorTable = { sequence: number; hash: string; time: number }

export type DecisionTable = {
  id: Generated<number>
  vmId: string
  time: number
  purpose: string
  hostId: string
  verdictsJson: string
  summary: string
  jobId: string
  /** What it was made from, while that is kept. */
  recordId: number | null
  /** Which of the requests of the record. */
  ordinal: Generated<number>
}

/** Inputs of one decision, or of many that were made together: JSON, deflated. */
export type DecisionRecordTable = { id: Generated<number>; time: number; inputs: Buffer }

export type ClusterDecisionKind = 'balance' | 'affinity' | 'power_saver' | 'reservation'
export type ClusterDecisionTable = {
  id: Generated<number>
  clusterId: string
  time: number
  kind: ClusterDecisionKind
  summary: string
  inputsJson: string
}

export type PlacementPolicyTable = {
  id: string
  name: string
  description: string
  /** Everything of scheduler/policy.ts but the name. */
  rulesJson: string
  version: Generated<number>
  created: number
}

export type AffinityRule = 'none' | 'positive' | 'negative'
export type AffinityGroupTable = {
  id: string
  name: string
  description: string
  clusterId: string
  priority: number
  vmRule: AffinityRule
  vmIsHard: Bit
  hostRule: AffinityRule
  hostIsHard: Bit
  version: Generated<number>
  created: number
}
export type AffinityMemberKind = 'vm' | 'host' | 'vmLabel' | 'hostLabel'
export type AffinityMemberTable = { groupId: string; kind: AffinityMemberKind; member: string }
export type VmLabelTable = { vmId: string; label: string }
export type HostLabelTable = { hostId: string; label: string }

export type QuotaTable = {
  id: string
  name: string
  description: string
  thresholdPercent: number
  gracePercent: number
  version: Generated<number>
  created: number
}
/** Null is no limit; an empty objectId stands for all clusters or storage domains together. */
export type QuotaLimitTable = {
  quotaId: string
  kind: 'cluster' | 'storageDomain'
  objectId: string
  vcpus: number | null
  memoryBytes: number | null
  storageBytes: number | null
}
export type QuotaConsumerTable = { quotaId: string; consumer: string }
export type VmQuotaTable = { vmId: string; quotaId: string }
export type DiskQuotaTable = { diskId: string; quotaId: string }

export type CapacityKind = 'memory' | 'cpu' | 'storage'
export type CapacitySampleTable = {
  kind: CapacityKind
  objectId: string
  time: number
  used: number
  total: number
}

/** What the HA loop decided about a host, with its inputs. */
export type HostDecisionTable = {
  id: Generated<number>
  hostId: string
  time: number
  health: string
  missing: string
  inputsJson: string
}

export type SecretTable = { owner: string; name: string; keyId: string; nonce: string; sealed: string }

export type Tables = {
  setting: SettingTable
  cluster: ClusterTable
  host: HostTable
  enrolmentToken: EnrolmentTokenTable
  certificate: CertificateTable
  deniedHost: DeniedHostTable
  storageDomain: StorageDomainTable
  storageDomainHost: StorageDomainHostTable
  disk: DiskTable
  diskView: DiskViewTable
  volume: VolumeTable
  template: TemplateTable
  templateDisk: TemplateDiskTable
  vm: VmTable
  vmDisk: VmDiskTable
  vmCdDrive: VmCdDriveTable
  vmImage: VmImageTable
  vmLun: VmLunTable
  hostLun: HostLunTable
  vmNic: VmNicTable
  vmPinnedHost: VmPinnedHostTable
  vmDependency: VmDependencyTable
  qosProfile: QosProfileTable
  lease: LeaseTable
  pending: PendingTable
  snapshot: SnapshotTable
  snapshotDisk: SnapshotDiskTable
  job: JobTable
  jobStep: JobStepTable
  claim: ClaimTable
  request: RequestTable
  event: EventTable
  audit: AuditTable
  auditAnchor: AuditAnchorTable
  decision: DecisionTable
  decisionRecord: DecisionRecordTable
  clusterDecision: ClusterDecisionTable
  placementPolicy: PlacementPolicyTable
  affinityGroup: AffinityGroupTable
  affinityMember: AffinityMemberTable
  vmLabel: VmLabelTable
  hostLabel: HostLabelTable
  quota: QuotaTable
  quotaLimit: QuotaLimitTable
  quotaConsumer: QuotaConsumerTable
  vmQuota: VmQuotaTable
  diskQuota: DiskQuotaTable
  capacitySample: CapacitySampleTable
  hostDecision: HostDecisionTable
  secret: SecretTable
}
