// libvirt's enums and flags, under libvirt's names without the prefix that is given above each. A test compares
// every one of them with libvirt-api.xml.

/** VIR_CONNECT_ */
export const connectFlags = { RO: 1, NO_ALIASES: 2 } as const
/** VIR_CONNECT_LIST_DOMAINS_ */
export const connectListAllDomainsFlags = {
  ACTIVE: 1,
  INACTIVE: 2,
  PERSISTENT: 4,
  TRANSIENT: 8,
  RUNNING: 16,
  PAUSED: 32,
  SHUTOFF: 64,
  OTHER: 128,
  MANAGEDSAVE: 256,
  NO_MANAGEDSAVE: 512,
  AUTOSTART: 1024,
  NO_AUTOSTART: 2048,
  HAS_SNAPSHOT: 4096,
  NO_SNAPSHOT: 8192,
  HAS_CHECKPOINT: 16384,
  NO_CHECKPOINT: 32768
} as const
/** VIR_DOMAIN_STATS_ */
export const domainStatsTypes = {
  STATE: 1,
  CPU_TOTAL: 2,
  BALLOON: 4,
  VCPU: 8,
  INTERFACE: 16,
  BLOCK: 32,
  PERF: 64,
  IOTHREAD: 128,
  MEMORY: 256,
  DIRTYRATE: 512,
  VM: 1024
} as const
/** VIR_CONNECT_GET_ALL_DOMAINS_STATS_ */
export const connectGetAllDomainStatsFlags = {
  ACTIVE: 1,
  INACTIVE: 2,
  PERSISTENT: 4,
  TRANSIENT: 8,
  RUNNING: 16,
  PAUSED: 32,
  SHUTOFF: 64,
  OTHER: 128,
  NOWAIT: 0x20000000,
  BACKING: 0x40000000,
  ENFORCE_STATS: 0x80000000
} as const
/** VIR_CONNECT_LIST_NETWORKS_ */
export const connectListAllNetworksFlags = {
  INACTIVE: 1,
  ACTIVE: 2,
  PERSISTENT: 4,
  TRANSIENT: 8,
  AUTOSTART: 16,
  NO_AUTOSTART: 32
} as const
/** VIR_CONNECT_LIST_NODE_DEVICES_ */
export const connectListAllNodeDeviceFlags = {
  CAP_SYSTEM: 1,
  CAP_PCI_DEV: 2,
  CAP_USB_DEV: 4,
  CAP_USB_INTERFACE: 8,
  CAP_NET: 16,
  CAP_SCSI_HOST: 32,
  CAP_SCSI_TARGET: 64,
  CAP_SCSI: 128,
  CAP_STORAGE: 256,
  CAP_FC_HOST: 512,
  CAP_VPORTS: 1024,
  CAP_SCSI_GENERIC: 2048,
  CAP_DRM: 4096,
  CAP_MDEV_TYPES: 8192,
  CAP_MDEV: 16384,
  CAP_CCW_DEV: 32768,
  CAP_CSS_DEV: 0x10000,
  CAP_VDPA: 0x20000,
  CAP_AP_CARD: 0x40000,
  CAP_AP_QUEUE: 0x80000,
  CAP_AP_MATRIX: 0x100000,
  CAP_VPD: 0x200000,
  INACTIVE: 0x40000000,
  ACTIVE: 0x80000000
} as const
/** VIR_CONNECT_LIST_SECRETS_ */
export const connectListAllSecretsFlags = {
  EPHEMERAL: 1,
  NO_EPHEMERAL: 2,
  PRIVATE: 4,
  NO_PRIVATE: 8
} as const
/** VIR_CPU_COMPARE_ */
export const cpuCompareResult = { ERROR: -1, INCOMPATIBLE: 0, IDENTICAL: 1, SUPERSET: 2 } as const
/** VIR_CONNECT_COMPARE_CPU_ */
export const connectCompareCPUFlags = { FAIL_INCOMPATIBLE: 1, VALIDATE_XML: 2 } as const
/** VIR_CONNECT_BASELINE_CPU_ */
export const connectBaselineCPUFlags = { EXPAND_FEATURES: 1, MIGRATABLE: 2 } as const
/** VIR_DOMAIN_AFFECT_ */
export const domainModificationImpact = { CURRENT: 0, LIVE: 1, CONFIG: 2 } as const
/** VIR_DOMAIN_DEFINE_ */
export const domainDefineFlags = { VALIDATE: 1 } as const
/** VIR_DOMAIN_UNDEFINE_ */
export const domainUndefineFlags = {
  MANAGED_SAVE: 1,
  SNAPSHOTS_METADATA: 2,
  NVRAM: 4,
  KEEP_NVRAM: 8,
  CHECKPOINTS_METADATA: 16,
  TPM: 32,
  KEEP_TPM: 64
} as const
/** VIR_DOMAIN_ */
export const domainCreateFlags = {
  NONE: 0,
  START_PAUSED: 1,
  START_AUTODESTROY: 2,
  START_BYPASS_CACHE: 4,
  START_FORCE_BOOT: 8,
  START_VALIDATE: 16,
  START_RESET_NVRAM: 32
} as const
/** VIR_DOMAIN_DESTROY_ */
export const domainDestroyFlags = { DEFAULT: 0, GRACEFUL: 1, REMOVE_LOGS: 2 } as const
/** VIR_DOMAIN_SHUTDOWN_ */
export const domainShutdownFlags = {
  DEFAULT: 0,
  ACPI_POWER_BTN: 1,
  GUEST_AGENT: 2,
  INITCTL: 4,
  SIGNAL: 8,
  PARAVIRT: 16
} as const
/** VIR_DOMAIN_REBOOT_ */
export const domainRebootFlags = {
  DEFAULT: 0,
  ACPI_POWER_BTN: 1,
  GUEST_AGENT: 2,
  INITCTL: 4,
  SIGNAL: 8,
  PARAVIRT: 16
} as const
/** VIR_DOMAIN_XML_ */
export const domainXMLFlags = { SECURE: 1, INACTIVE: 2, UPDATE_CPU: 4, MIGRATABLE: 8 } as const
/** VIR_DOMAIN_METADATA_ */
export const domainMetadataType = { DESCRIPTION: 0, TITLE: 1, ELEMENT: 2 } as const
/** VIR_DOMAIN_DEVICE_MODIFY_ */
export const domainDeviceModifyFlags = { CURRENT: 0, LIVE: 1, CONFIG: 2, FORCE: 4 } as const
/** VIR_DOMAIN_VCPU_ */
export const domainVcpuFlags = {
  CURRENT: 0,
  LIVE: 1,
  CONFIG: 2,
  MAXIMUM: 4,
  GUEST: 8,
  HOTPLUGGABLE: 16
} as const
/** VIR_DOMAIN_MEM_ */
export const domainMemoryModFlags = { CURRENT: 0, LIVE: 1, CONFIG: 2, MAXIMUM: 4 } as const
/** VIR_DOMAIN_MEMORY_STAT_ */
export const domainMemoryStatTags = {
  SWAP_IN: 0,
  SWAP_OUT: 1,
  MAJOR_FAULT: 2,
  MINOR_FAULT: 3,
  UNUSED: 4,
  AVAILABLE: 5,
  ACTUAL_BALLOON: 6,
  RSS: 7,
  USABLE: 8,
  LAST_UPDATE: 9,
  DISK_CACHES: 10,
  HUGETLB_PGALLOC: 11,
  HUGETLB_PGFAIL: 12
} as const
/** VIR_VCPU_ */
export const vcpuState = { OFFLINE: 0, RUNNING: 1, BLOCKED: 2 } as const
/** VIR_DOMAIN_ */
export const domainState = {
  NOSTATE: 0,
  RUNNING: 1,
  BLOCKED: 2,
  PAUSED: 3,
  SHUTDOWN: 4,
  SHUTOFF: 5,
  CRASHED: 6,
  PMSUSPENDED: 7
} as const
/** VIR_DOMAIN_RUNNING_ */
export const domainRunningReason = {
  UNKNOWN: 0,
  BOOTED: 1,
  MIGRATED: 2,
  RESTORED: 3,
  FROM_SNAPSHOT: 4,
  UNPAUSED: 5,
  MIGRATION_CANCELED: 6,
  SAVE_CANCELED: 7,
  WAKEUP: 8,
  CRASHED: 9,
  POSTCOPY: 10,
  POSTCOPY_FAILED: 11
} as const
/** VIR_DOMAIN_PAUSED_ */
export const domainPausedReason = {
  UNKNOWN: 0,
  USER: 1,
  MIGRATION: 2,
  SAVE: 3,
  DUMP: 4,
  IOERROR: 5,
  WATCHDOG: 6,
  FROM_SNAPSHOT: 7,
  SHUTTING_DOWN: 8,
  SNAPSHOT: 9,
  CRASHED: 10,
  STARTING_UP: 11,
  POSTCOPY: 12,
  POSTCOPY_FAILED: 13
} as const
/** VIR_DOMAIN_SHUTDOWN_ */
export const domainShutdownReason = { UNKNOWN: 0, USER: 1 } as const
/** VIR_DOMAIN_SHUTOFF_ */
export const domainShutoffReason = {
  UNKNOWN: 0,
  SHUTDOWN: 1,
  DESTROYED: 2,
  CRASHED: 3,
  MIGRATED: 4,
  SAVED: 5,
  FAILED: 6,
  FROM_SNAPSHOT: 7,
  DAEMON: 8
} as const
/** VIR_DOMAIN_CRASHED_ */
export const domainCrashedReason = { UNKNOWN: 0, PANICKED: 1 } as const
/** VIR_DOMAIN_CONTROL_ */
export const domainControlState = { OK: 0, JOB: 1, OCCUPIED: 2, ERROR: 3 } as const
/** VIR_DOMAIN_CONTROL_ERROR_REASON_ */
export const domainControlErrorReason = { NONE: 0, UNKNOWN: 1, MONITOR: 2, INTERNAL: 3 } as const
/** VIR_DOMAIN_BLOCK_JOB_TYPE_ */
export const domainBlockJobType = {
  UNKNOWN: 0,
  PULL: 1,
  COPY: 2,
  COMMIT: 3,
  ACTIVE_COMMIT: 4,
  BACKUP: 5
} as const
/** VIR_DOMAIN_BLOCK_JOB_ */
export const connectDomainEventBlockJobStatus = { COMPLETED: 0, FAILED: 1, CANCELED: 2, READY: 3 } as const
/** VIR_DOMAIN_BLOCK_COMMIT_ */
export const domainBlockCommitFlags = {
  SHALLOW: 1,
  DELETE: 2,
  ACTIVE: 4,
  RELATIVE: 8,
  BANDWIDTH_BYTES: 16
} as const
/** VIR_DOMAIN_BLOCK_COPY_ */
export const domainBlockCopyFlags = {
  SHALLOW: 1,
  REUSE_EXT: 2,
  TRANSIENT_JOB: 4,
  SYNCHRONOUS_WRITES: 8
} as const
/** VIR_DOMAIN_BLOCK_PULL_ */
export const domainBlockPullFlags = { BANDWIDTH_BYTES: 64 } as const
/** VIR_DOMAIN_BLOCK_REBASE_ */
export const domainBlockRebaseFlags = {
  SHALLOW: 1,
  REUSE_EXT: 2,
  COPY_RAW: 4,
  COPY: 8,
  RELATIVE: 16,
  COPY_DEV: 32,
  BANDWIDTH_BYTES: 64
} as const
/** VIR_DOMAIN_BLOCK_JOB_ABORT_ */
export const domainBlockJobAbortFlags = { ASYNC: 1, PIVOT: 2 } as const
/** VIR_DOMAIN_BLOCK_JOB_INFO_ */
export const domainBlockJobInfoFlags = { BANDWIDTH_BYTES: 1 } as const
/** VIR_DOMAIN_BLOCK_JOB_SPEED_ */
export const domainBlockJobSetSpeedFlags = { BANDWIDTH_BYTES: 1 } as const
/** VIR_DOMAIN_BLOCK_RESIZE_ */
export const domainBlockResizeFlags = { BYTES: 1 } as const
/** VIR_DOMAIN_DISK_ERROR_ */
export const domainDiskErrorCode = { NONE: 0, UNSPEC: 1, NO_SPACE: 2 } as const
/** VIR_DOMAIN_SNAPSHOT_CREATE_ */
export const domainSnapshotCreateFlags = {
  REDEFINE: 1,
  CURRENT: 2,
  NO_METADATA: 4,
  HALT: 8,
  DISK_ONLY: 16,
  REUSE_EXT: 32,
  QUIESCE: 64,
  ATOMIC: 128,
  LIVE: 256,
  VALIDATE: 512
} as const
/** VIR_DOMAIN_SNAPSHOT_DELETE_ */
export const domainSnapshotDeleteFlags = { CHILDREN: 1, METADATA_ONLY: 2, CHILDREN_ONLY: 4 } as const
/** VIR_DOMAIN_SNAPSHOT_LIST_ */
export const domainSnapshotListFlags = {
  DESCENDANTS: 1,
  ROOTS: 1,
  METADATA: 2,
  LEAVES: 4,
  NO_LEAVES: 8,
  NO_METADATA: 16,
  INACTIVE: 32,
  ACTIVE: 64,
  DISK_ONLY: 128,
  INTERNAL: 256,
  EXTERNAL: 512,
  TOPOLOGICAL: 1024
} as const
/** VIR_DOMAIN_SNAPSHOT_REVERT_ */
export const domainSnapshotRevertFlags = { RUNNING: 1, PAUSED: 2, FORCE: 4, RESET_NVRAM: 8 } as const
/** VIR_DOMAIN_CHECKPOINT_CREATE_ */
export const domainCheckpointCreateFlags = { REDEFINE: 1, QUIESCE: 2, REDEFINE_VALIDATE: 4 } as const
/** VIR_DOMAIN_CHECKPOINT_DELETE_ */
export const domainCheckpointDeleteFlags = { CHILDREN: 1, METADATA_ONLY: 2, CHILDREN_ONLY: 4 } as const
/** VIR_DOMAIN_CHECKPOINT_LIST_ */
export const domainCheckpointListFlags = {
  DESCENDANTS: 1,
  ROOTS: 1,
  TOPOLOGICAL: 2,
  LEAVES: 4,
  NO_LEAVES: 8
} as const
/** VIR_DOMAIN_CHECKPOINT_XML_ */
export const domainCheckpointXMLFlags = { SECURE: 1, NO_DOMAIN: 2, SIZE: 4 } as const
/** VIR_DOMAIN_BACKUP_BEGIN_ */
export const domainBackupBeginFlags = { REUSE_EXTERNAL: 1 } as const
/** VIR_DOMAIN_JOB_ */
export const domainJobType = {
  NONE: 0,
  BOUNDED: 1,
  UNBOUNDED: 2,
  COMPLETED: 3,
  FAILED: 4,
  CANCELLED: 5
} as const
/** VIR_DOMAIN_JOB_OPERATION_ */
export const domainJobOperation = {
  UNKNOWN: 0,
  START: 1,
  SAVE: 2,
  RESTORE: 3,
  MIGRATION_IN: 4,
  MIGRATION_OUT: 5,
  SNAPSHOT: 6,
  SNAPSHOT_REVERT: 7,
  DUMP: 8,
  BACKUP: 9,
  SNAPSHOT_DELETE: 10
} as const
/** VIR_DOMAIN_JOB_STATS_ */
export const domainGetJobStatsFlags = { COMPLETED: 1, KEEP_COMPLETED: 2 } as const
/** VIR_DOMAIN_ABORT_JOB_ */
export const domainAbortJobFlags = { POSTCOPY: 1 } as const
/** VIR_MIGRATE_ */
export const domainMigrateFlags = {
  LIVE: 1,
  PEER2PEER: 2,
  TUNNELLED: 4,
  PERSIST_DEST: 8,
  UNDEFINE_SOURCE: 16,
  PAUSED: 32,
  NON_SHARED_DISK: 64,
  NON_SHARED_INC: 128,
  CHANGE_PROTECTION: 256,
  UNSAFE: 512,
  OFFLINE: 1024,
  COMPRESSED: 2048,
  ABORT_ON_ERROR: 4096,
  AUTO_CONVERGE: 8192,
  RDMA_PIN_ALL: 16384,
  POSTCOPY: 32768,
  TLS: 0x10000,
  PARALLEL: 0x20000,
  NON_SHARED_SYNCHRONOUS_WRITES: 0x40000,
  POSTCOPY_RESUME: 0x80000,
  ZEROCOPY: 0x100000
} as const
/** VIR_DOMAIN_MIGRATE_MAX_SPEED_ */
export const domainMigrateMaxSpeedFlags = { POSTCOPY: 1 } as const
/** VIR_DOMAIN_SAVE_ */
export const domainSaveRestoreFlags = { BYPASS_CACHE: 1, RUNNING: 2, PAUSED: 4, RESET_NVRAM: 8 } as const
/** VIR_DUMP_ */
export const domainCoreDumpFlags = { CRASH: 1, LIVE: 2, BYPASS_CACHE: 4, RESET: 8, MEMORY_ONLY: 16 } as const
/** VIR_DOMAIN_CORE_DUMP_FORMAT_ */
export const domainCoreDumpFormat = {
  RAW: 0,
  KDUMP_ZLIB: 1,
  KDUMP_LZO: 2,
  KDUMP_SNAPPY: 3,
  WIN_DMP: 4
} as const
/** VIR_DOMAIN_GUEST_INFO_ */
export const domainGuestInfoTypes = {
  USERS: 1,
  OS: 2,
  TIMEZONE: 4,
  HOSTNAME: 8,
  FILESYSTEM: 16,
  DISKS: 32,
  INTERFACES: 64
} as const
/** VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ */
export const domainInterfaceAddressesSource = { LEASE: 0, AGENT: 1, ARP: 2 } as const
/** VIR_IP_ADDR_TYPE_ */
export const ipAddrType = { IPV4: 0, IPV6: 1 } as const
/** VIR_DOMAIN_TIME_ */
export const domainSetTimeFlags = { SYNC: 1 } as const
/** VIR_DOMAIN_PASSWORD_ */
export const domainSetUserPasswordFlags = { ENCRYPTED: 1 } as const
/** VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_ */
export const domainAgentResponseTimeoutValues = { BLOCK: -2, DEFAULT: -1, NOWAIT: 0 } as const
/** VIR_DOMAIN_CONSOLE_ */
export const domainConsoleFlags = { FORCE: 1, SAFE: 2 } as const
/** VIR_DOMAIN_CHANNEL_ */
export const domainChannelFlags = { FORCE: 1 } as const
/** VIR_KEYCODE_SET_ */
export const keycodeSet = {
  LINUX: 0,
  XT: 1,
  ATSET1: 2,
  ATSET2: 3,
  ATSET3: 4,
  OSX: 5,
  XT_KBD: 6,
  USB: 7,
  WIN32: 8,
  QNUM: 9
} as const
/** VIR_DOMAIN_LIFECYCLE_ */
export const domainLifecycle = { POWEROFF: 0, REBOOT: 1, CRASH: 2 } as const
/** VIR_DOMAIN_LIFECYCLE_ACTION_ */
export const domainLifecycleAction = {
  DESTROY: 0,
  RESTART: 1,
  RESTART_RENAME: 2,
  PRESERVE: 3,
  COREDUMP_DESTROY: 4,
  COREDUMP_RESTART: 5
} as const
/** VIR_DOMAIN_MESSAGE_ */
export const domainMessageType = { DEPRECATION: 1, TAINTING: 2 } as const
/** VIR_SECRET_USAGE_TYPE_ */
export const secretUsageType = { NONE: 0, VOLUME: 1, CEPH: 2, ISCSI: 3, TLS: 4, VTPM: 5 } as const
/** VIR_NODE_CPU_STATS_ */
export const nodeGetCPUStatsAllCPUs = { ALL_CPUS: -1 } as const
/** VIR_NODE_MEMORY_STATS_ */
export const nodeGetMemoryStatsAllCells = { ALL_CELLS: -1 } as const
/** VIR_DOMAIN_EVENT_ID_ */
export const domainEventId = {
  LIFECYCLE: 0,
  REBOOT: 1,
  RTC_CHANGE: 2,
  WATCHDOG: 3,
  IO_ERROR: 4,
  GRAPHICS: 5,
  IO_ERROR_REASON: 6,
  CONTROL_ERROR: 7,
  BLOCK_JOB: 8,
  DISK_CHANGE: 9,
  TRAY_CHANGE: 10,
  PMWAKEUP: 11,
  PMSUSPEND: 12,
  BALLOON_CHANGE: 13,
  PMSUSPEND_DISK: 14,
  DEVICE_REMOVED: 15,
  BLOCK_JOB_2: 16,
  TUNABLE: 17,
  AGENT_LIFECYCLE: 18,
  DEVICE_ADDED: 19,
  MIGRATION_ITERATION: 20,
  JOB_COMPLETED: 21,
  DEVICE_REMOVAL_FAILED: 22,
  METADATA_CHANGE: 23,
  BLOCK_THRESHOLD: 24,
  MEMORY_FAILURE: 25,
  MEMORY_DEVICE_SIZE_CHANGE: 26
} as const
/** VIR_DOMAIN_EVENT_ */
export const domainEventType = {
  DEFINED: 0,
  UNDEFINED: 1,
  STARTED: 2,
  SUSPENDED: 3,
  RESUMED: 4,
  STOPPED: 5,
  SHUTDOWN: 6,
  PMSUSPENDED: 7,
  CRASHED: 8
} as const
/** VIR_DOMAIN_EVENT_DEFINED_ */
export const domainEventDefinedDetailType = { ADDED: 0, UPDATED: 1, RENAMED: 2, FROM_SNAPSHOT: 3 } as const
/** VIR_DOMAIN_EVENT_UNDEFINED_ */
export const domainEventUndefinedDetailType = { REMOVED: 0, RENAMED: 1 } as const
/** VIR_DOMAIN_EVENT_STARTED_ */
export const domainEventStartedDetailType = {
  BOOTED: 0,
  MIGRATED: 1,
  RESTORED: 2,
  FROM_SNAPSHOT: 3,
  WAKEUP: 4
} as const
/** VIR_DOMAIN_EVENT_SUSPENDED_ */
export const domainEventSuspendedDetailType = {
  PAUSED: 0,
  MIGRATED: 1,
  IOERROR: 2,
  WATCHDOG: 3,
  RESTORED: 4,
  FROM_SNAPSHOT: 5,
  API_ERROR: 6,
  POSTCOPY: 7,
  POSTCOPY_FAILED: 8
} as const
/** VIR_DOMAIN_EVENT_RESUMED_ */
export const domainEventResumedDetailType = {
  UNPAUSED: 0,
  MIGRATED: 1,
  FROM_SNAPSHOT: 2,
  POSTCOPY: 3,
  POSTCOPY_FAILED: 4
} as const
/** VIR_DOMAIN_EVENT_STOPPED_ */
export const domainEventStoppedDetailType = {
  SHUTDOWN: 0,
  DESTROYED: 1,
  CRASHED: 2,
  MIGRATED: 3,
  SAVED: 4,
  FAILED: 5,
  FROM_SNAPSHOT: 6
} as const
/** VIR_DOMAIN_EVENT_SHUTDOWN_ */
export const domainEventShutdownDetailType = { FINISHED: 0, GUEST: 1, HOST: 2 } as const
/** VIR_DOMAIN_EVENT_PMSUSPENDED_ */
export const domainEventPMSuspendedDetailType = { MEMORY: 0, DISK: 1 } as const
/** VIR_DOMAIN_EVENT_CRASHED_ */
export const domainEventCrashedDetailType = { PANICKED: 0, CRASHLOADED: 1 } as const
/** VIR_DOMAIN_EVENT_IO_ERROR_ */
export const domainEventIOErrorAction = { NONE: 0, PAUSE: 1, REPORT: 2 } as const
/** VIR_DOMAIN_EVENT_WATCHDOG_ */
export const domainEventWatchdogAction = {
  NONE: 0,
  PAUSE: 1,
  RESET: 2,
  POWEROFF: 3,
  SHUTDOWN: 4,
  DEBUG: 5,
  INJECTNMI: 6
} as const
/** VIR_DOMAIN_EVENT_GRAPHICS_ */
export const domainEventGraphicsPhase = { CONNECT: 0, INITIALIZE: 1, DISCONNECT: 2 } as const
/** VIR_DOMAIN_EVENT_GRAPHICS_ADDRESS_ */
export const domainEventGraphicsAddressType = { IPV4: 0, IPV6: 1, UNIX: 2 } as const
/** VIR_DOMAIN_EVENT_DISK_ */
export const connectDomainEventDiskChangeReason = {
  CHANGE_MISSING_ON_START: 0,
  DROP_MISSING_ON_START: 1
} as const
/** VIR_DOMAIN_EVENT_TRAY_CHANGE_ */
export const domainEventTrayChangeReason = { OPEN: 0, CLOSE: 1 } as const
/** VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_ */
export const connectDomainEventAgentLifecycleState = { CONNECTED: 1, DISCONNECTED: 2 } as const
/** VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_REASON_ */
export const connectDomainEventAgentLifecycleReason = { UNKNOWN: 0, DOMAIN_STARTED: 1, CHANNEL: 2 } as const
/** VIR_DOMAIN_EVENT_MEMORY_FAILURE_RECIPIENT_ */
export const domainMemoryFailureRecipientType = { HYPERVISOR: 0, GUEST: 1 } as const
/** VIR_DOMAIN_EVENT_MEMORY_FAILURE_ACTION_ */
export const domainMemoryFailureActionType = { IGNORE: 0, INJECT: 1, FATAL: 2, RESET: 3 } as const
/** VIR_CONNECT_CLOSE_REASON_ */
export const connectCloseReason = { ERROR: 0, EOF: 1, KEEPALIVE: 2, CLIENT: 3 } as const
/** VIR_TYPED_PARAM_ */
export const typedParameterType = {
  INT: 1,
  UINT: 2,
  LLONG: 3,
  ULLONG: 4,
  DOUBLE: 5,
  BOOLEAN: 6,
  STRING: 7
} as const
/** VIR_ERR_ */
export const errorLevel = { NONE: 0, WARNING: 1, ERROR: 2 } as const

/** The flags as the unsigned number that goes over the wire: `|` alone would turn the topmost bit negative. */
export const flags = (...bits: number[]): number => bits.reduce((all, bit) => (all | bit) >>> 0, 0)

/** The name of a number, in lower case; `unknown` when libvirt is newer than this table. */
export function nameOf<T extends Record<string, number>>(names: T, value: number): NameIn<T> {
  const name = Object.keys(names).find(key => names[key] === value)
  return (name?.toLowerCase() ?? 'unknown') as NameIn<T>
}
export type NameIn<T> = Lowercase<keyof T & string> | 'unknown'
