import { readFile } from 'node:fs/promises'
import t from 'tap'
import { XMLParser } from 'fast-xml-parser'
import * as constants from '../../../libvirt/constants.js'
import { virErrors } from '../../../libvirt/errors.js'
import { migrationParams } from '../../../libvirt/migration.js'
import { root } from '../../root.js'

// Package libvirt-dev.
const path = '/usr/share/libvirt/api/libvirt-api.xml'

type Enum = { name: string; value: string; type: string }
type Macro = { name: string; string?: string }
type Api = { api: { symbols: { enum: Enum[]; macro: Macro[] } } }

const parser = new XMLParser({ ignoreAttributes: false, attributeNamePrefix: '', parseAttributeValue: false })
const { symbols } = (parser.parse(await readFile(path, 'utf8')) as Api).api
const values = new Map(symbols.enum.map(({ name, value }) => [name, value]))

/** A value may be the name of another enum. */
function valueOf(name: string): number {
  const value = values.get(name) ?? ''
  return values.has(value) ? valueOf(value) : Number(value)
}

/** Which enum each of our objects is, and the prefix that its names lost. */
const origins = {
  connectFlags: ['virConnectFlags', 'VIR_CONNECT_'],
  connectListAllDomainsFlags: ['virConnectListAllDomainsFlags', 'VIR_CONNECT_LIST_DOMAINS_'],
  domainStatsTypes: ['virDomainStatsTypes', 'VIR_DOMAIN_STATS_'],
  connectGetAllDomainStatsFlags: ['virConnectGetAllDomainStatsFlags', 'VIR_CONNECT_GET_ALL_DOMAINS_STATS_'],
  connectListAllNetworksFlags: ['virConnectListAllNetworksFlags', 'VIR_CONNECT_LIST_NETWORKS_'],
  connectListAllNodeDeviceFlags: ['virConnectListAllNodeDeviceFlags', 'VIR_CONNECT_LIST_NODE_DEVICES_'],
  connectListAllSecretsFlags: ['virConnectListAllSecretsFlags', 'VIR_CONNECT_LIST_SECRETS_'],
  cpuCompareResult: ['virCPUCompareResult', 'VIR_CPU_COMPARE_'],
  connectCompareCPUFlags: ['virConnectCompareCPUFlags', 'VIR_CONNECT_COMPARE_CPU_'],
  connectBaselineCPUFlags: ['virConnectBaselineCPUFlags', 'VIR_CONNECT_BASELINE_CPU_'],
  domainModificationImpact: ['virDomainModificationImpact', 'VIR_DOMAIN_AFFECT_'],
  domainDefineFlags: ['virDomainDefineFlags', 'VIR_DOMAIN_DEFINE_'],
  domainUndefineFlags: ['virDomainUndefineFlagsValues', 'VIR_DOMAIN_UNDEFINE_'],
  domainCreateFlags: ['virDomainCreateFlags', 'VIR_DOMAIN_'],
  domainDestroyFlags: ['virDomainDestroyFlagsValues', 'VIR_DOMAIN_DESTROY_'],
  domainShutdownFlags: ['virDomainShutdownFlagValues', 'VIR_DOMAIN_SHUTDOWN_'],
  domainRebootFlags: ['virDomainRebootFlagValues', 'VIR_DOMAIN_REBOOT_'],
  domainXMLFlags: ['virDomainXMLFlags', 'VIR_DOMAIN_XML_'],
  domainMetadataType: ['virDomainMetadataType', 'VIR_DOMAIN_METADATA_'],
  domainDeviceModifyFlags: ['virDomainDeviceModifyFlags', 'VIR_DOMAIN_DEVICE_MODIFY_'],
  domainVcpuFlags: ['virDomainVcpuFlags', 'VIR_DOMAIN_VCPU_'],
  domainMemoryModFlags: ['virDomainMemoryModFlags', 'VIR_DOMAIN_MEM_'],
  domainMemoryStatTags: ['virDomainMemoryStatTags', 'VIR_DOMAIN_MEMORY_STAT_'],
  vcpuState: ['virVcpuState', 'VIR_VCPU_'],
  domainState: ['virDomainState', 'VIR_DOMAIN_'],
  domainRunningReason: ['virDomainRunningReason', 'VIR_DOMAIN_RUNNING_'],
  domainPausedReason: ['virDomainPausedReason', 'VIR_DOMAIN_PAUSED_'],
  domainShutdownReason: ['virDomainShutdownReason', 'VIR_DOMAIN_SHUTDOWN_'],
  domainShutoffReason: ['virDomainShutoffReason', 'VIR_DOMAIN_SHUTOFF_'],
  domainCrashedReason: ['virDomainCrashedReason', 'VIR_DOMAIN_CRASHED_'],
  domainControlState: ['virDomainControlState', 'VIR_DOMAIN_CONTROL_'],
  domainControlErrorReason: ['virDomainControlErrorReason', 'VIR_DOMAIN_CONTROL_ERROR_REASON_'],
  domainBlockJobType: ['virDomainBlockJobType', 'VIR_DOMAIN_BLOCK_JOB_TYPE_'],
  connectDomainEventBlockJobStatus: ['virConnectDomainEventBlockJobStatus', 'VIR_DOMAIN_BLOCK_JOB_'],
  domainBlockCommitFlags: ['virDomainBlockCommitFlags', 'VIR_DOMAIN_BLOCK_COMMIT_'],
  domainBlockCopyFlags: ['virDomainBlockCopyFlags', 'VIR_DOMAIN_BLOCK_COPY_'],
  domainBlockPullFlags: ['virDomainBlockPullFlags', 'VIR_DOMAIN_BLOCK_PULL_'],
  domainBlockRebaseFlags: ['virDomainBlockRebaseFlags', 'VIR_DOMAIN_BLOCK_REBASE_'],
  domainBlockJobAbortFlags: ['virDomainBlockJobAbortFlags', 'VIR_DOMAIN_BLOCK_JOB_ABORT_'],
  domainBlockJobInfoFlags: ['virDomainBlockJobInfoFlags', 'VIR_DOMAIN_BLOCK_JOB_INFO_'],
  domainBlockJobSetSpeedFlags: ['virDomainBlockJobSetSpeedFlags', 'VIR_DOMAIN_BLOCK_JOB_SPEED_'],
  domainBlockResizeFlags: ['virDomainBlockResizeFlags', 'VIR_DOMAIN_BLOCK_RESIZE_'],
  domainDiskErrorCode: ['virDomainDiskErrorCode', 'VIR_DOMAIN_DISK_ERROR_'],
  domainSnapshotCreateFlags: ['virDomainSnapshotCreateFlags', 'VIR_DOMAIN_SNAPSHOT_CREATE_'],
  domainSnapshotDeleteFlags: ['virDomainSnapshotDeleteFlags', 'VIR_DOMAIN_SNAPSHOT_DELETE_'],
  domainSnapshotListFlags: ['virDomainSnapshotListFlags', 'VIR_DOMAIN_SNAPSHOT_LIST_'],
  domainSnapshotRevertFlags: ['virDomainSnapshotRevertFlags', 'VIR_DOMAIN_SNAPSHOT_REVERT_'],
  domainCheckpointCreateFlags: ['virDomainCheckpointCreateFlags', 'VIR_DOMAIN_CHECKPOINT_CREATE_'],
  domainCheckpointDeleteFlags: ['virDomainCheckpointDeleteFlags', 'VIR_DOMAIN_CHECKPOINT_DELETE_'],
  domainCheckpointListFlags: ['virDomainCheckpointListFlags', 'VIR_DOMAIN_CHECKPOINT_LIST_'],
  domainCheckpointXMLFlags: ['virDomainCheckpointXMLFlags', 'VIR_DOMAIN_CHECKPOINT_XML_'],
  domainBackupBeginFlags: ['virDomainBackupBeginFlags', 'VIR_DOMAIN_BACKUP_BEGIN_'],
  domainJobType: ['virDomainJobType', 'VIR_DOMAIN_JOB_'],
  domainJobOperation: ['virDomainJobOperation', 'VIR_DOMAIN_JOB_OPERATION_'],
  domainGetJobStatsFlags: ['virDomainGetJobStatsFlags', 'VIR_DOMAIN_JOB_STATS_'],
  domainAbortJobFlags: ['virDomainAbortJobFlagsValues', 'VIR_DOMAIN_ABORT_JOB_'],
  domainMigrateFlags: ['virDomainMigrateFlags', 'VIR_MIGRATE_'],
  domainMigrateMaxSpeedFlags: ['virDomainMigrateMaxSpeedFlags', 'VIR_DOMAIN_MIGRATE_MAX_SPEED_'],
  domainSaveRestoreFlags: ['virDomainSaveRestoreFlags', 'VIR_DOMAIN_SAVE_'],
  domainCoreDumpFlags: ['virDomainCoreDumpFlags', 'VIR_DUMP_'],
  domainCoreDumpFormat: ['virDomainCoreDumpFormat', 'VIR_DOMAIN_CORE_DUMP_FORMAT_'],
  domainGuestInfoTypes: ['virDomainGuestInfoTypes', 'VIR_DOMAIN_GUEST_INFO_'],
  domainInterfaceAddressesSource: [
    'virDomainInterfaceAddressesSource',
    'VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_'
  ],
  ipAddrType: ['virIPAddrType', 'VIR_IP_ADDR_TYPE_'],
  domainSetTimeFlags: ['virDomainSetTimeFlags', 'VIR_DOMAIN_TIME_'],
  domainSetUserPasswordFlags: ['virDomainSetUserPasswordFlags', 'VIR_DOMAIN_PASSWORD_'],
  domainAgentResponseTimeoutValues: [
    'virDomainAgentResponseTimeoutValues',
    'VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_'
  ],
  domainConsoleFlags: ['virDomainConsoleFlags', 'VIR_DOMAIN_CONSOLE_'],
  domainChannelFlags: ['virDomainChannelFlags', 'VIR_DOMAIN_CHANNEL_'],
  keycodeSet: ['virKeycodeSet', 'VIR_KEYCODE_SET_'],
  domainLifecycle: ['virDomainLifecycle', 'VIR_DOMAIN_LIFECYCLE_'],
  domainLifecycleAction: ['virDomainLifecycleAction', 'VIR_DOMAIN_LIFECYCLE_ACTION_'],
  domainMessageType: ['virDomainMessageType', 'VIR_DOMAIN_MESSAGE_'],
  secretUsageType: ['virSecretUsageType', 'VIR_SECRET_USAGE_TYPE_'],
  nodeGetCPUStatsAllCPUs: ['virNodeGetCPUStatsAllCPUs', 'VIR_NODE_CPU_STATS_'],
  nodeGetMemoryStatsAllCells: ['virNodeGetMemoryStatsAllCells', 'VIR_NODE_MEMORY_STATS_'],
  domainEventId: ['virDomainEventID', 'VIR_DOMAIN_EVENT_ID_'],
  domainEventType: ['virDomainEventType', 'VIR_DOMAIN_EVENT_'],
  domainEventDefinedDetailType: ['virDomainEventDefinedDetailType', 'VIR_DOMAIN_EVENT_DEFINED_'],
  domainEventUndefinedDetailType: ['virDomainEventUndefinedDetailType', 'VIR_DOMAIN_EVENT_UNDEFINED_'],
  domainEventStartedDetailType: ['virDomainEventStartedDetailType', 'VIR_DOMAIN_EVENT_STARTED_'],
  domainEventSuspendedDetailType: ['virDomainEventSuspendedDetailType', 'VIR_DOMAIN_EVENT_SUSPENDED_'],
  domainEventResumedDetailType: ['virDomainEventResumedDetailType', 'VIR_DOMAIN_EVENT_RESUMED_'],
  domainEventStoppedDetailType: ['virDomainEventStoppedDetailType', 'VIR_DOMAIN_EVENT_STOPPED_'],
  domainEventShutdownDetailType: ['virDomainEventShutdownDetailType', 'VIR_DOMAIN_EVENT_SHUTDOWN_'],
  domainEventPMSuspendedDetailType: ['virDomainEventPMSuspendedDetailType', 'VIR_DOMAIN_EVENT_PMSUSPENDED_'],
  domainEventCrashedDetailType: ['virDomainEventCrashedDetailType', 'VIR_DOMAIN_EVENT_CRASHED_'],
  domainEventIOErrorAction: ['virDomainEventIOErrorAction', 'VIR_DOMAIN_EVENT_IO_ERROR_'],
  domainEventWatchdogAction: ['virDomainEventWatchdogAction', 'VIR_DOMAIN_EVENT_WATCHDOG_'],
  domainEventGraphicsPhase: ['virDomainEventGraphicsPhase', 'VIR_DOMAIN_EVENT_GRAPHICS_'],
  domainEventGraphicsAddressType: ['virDomainEventGraphicsAddressType', 'VIR_DOMAIN_EVENT_GRAPHICS_ADDRESS_'],
  connectDomainEventDiskChangeReason: ['virConnectDomainEventDiskChangeReason', 'VIR_DOMAIN_EVENT_DISK_'],
  domainEventTrayChangeReason: ['virDomainEventTrayChangeReason', 'VIR_DOMAIN_EVENT_TRAY_CHANGE_'],
  connectDomainEventAgentLifecycleState: [
    'virConnectDomainEventAgentLifecycleState',
    'VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_'
  ],
  connectDomainEventAgentLifecycleReason: [
    'virConnectDomainEventAgentLifecycleReason',
    'VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_REASON_'
  ],
  domainMemoryFailureRecipientType: [
    'virDomainMemoryFailureRecipientType',
    'VIR_DOMAIN_EVENT_MEMORY_FAILURE_RECIPIENT_'
  ],
  domainMemoryFailureActionType: [
    'virDomainMemoryFailureActionType',
    'VIR_DOMAIN_EVENT_MEMORY_FAILURE_ACTION_'
  ],
  connectCloseReason: ['virConnectCloseReason', 'VIR_CONNECT_CLOSE_REASON_'],
  typedParameterType: ['virTypedParameterType', 'VIR_TYPED_PARAM_'],
  errorLevel: ['virErrorLevel', 'VIR_ERR_']
} as const satisfies Record<string, readonly [string, string]>

const objects = Object.entries(constants).filter(([, value]) => typeof value === 'object')

t.test('every object of constants has its enum in libvirt-api.xml', async t => {
  t.strictSame(objects.map(([name]) => name).toSorted(), Object.keys(origins).toSorted())
})

t.test('every constant equals libvirt-api.xml, and no member of its enum is missing', async t => {
  let compared = 0
  for (const [name, object] of objects) {
    const [type, prefix] = origins[name as keyof typeof origins]
    const theirs = symbols.enum.filter(member => member.type === type && !/_(LAST|NR)$/.test(member.name))
    const expected = theirs.map(({ name }) => [name, valueOf(name)])
    const ours = Object.entries(object).map(([key, value]) => [`${prefix}${key}`, value])
    compared += ours.length
    t.strictSame(ours.toSorted(), expected.toSorted(), name)
  }
  t.ok(compared > 500, `${compared} constants`)
})

t.test('every error number equals virErrorNumber', async t => {
  for (const [name, number] of Object.entries(virErrors)) t.equal(number, valueOf(`VIR_ERR_${name}`), name)
})

/** Every parameter of a migration that we can give. */
const migrationNames = migrationParams({
  destinationUri: '',
  migrateUri: '',
  listenAddress: '',
  destinationXml: '',
  persistentXml: '',
  destinationName: '',
  graphicsUri: '',
  tls: { destinationName: '' },
  bandwidthMiBs: 1,
  autoConverge: { initial: 20, increment: 10 },
  parallelConnections: 2,
  compression: { method: 'mt' }
}).map(({ field }) => field)

t.test('every typed parameter is spelled as libvirt spells it', async t => {
  const known = new Set(symbols.macro.map(macro => macro.string))
  const sources = ['migration', 'tuning', 'block-job', 'job-stats']
  const spelled = new Set<string>()
  for (const source of sources) {
    const text = await readFile(`${root}/libvirt/${source}.ts`, 'utf8')
    for (const [, name] of text.matchAll(/(?:\b(?:u?int|u?llong|text|number)\(|params\[)'([^']+)'/g)) {
      spelled.add(name ?? '')
    }
  }
  for (const param of migrationNames) spelled.add(param)
  for (const name of spelled) t.ok(known.has(name), name)
  t.ok(spelled.size >= 20, `${spelled.size} names`)
})
