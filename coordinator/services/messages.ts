import type { VmStats } from '../../proto/generated/types/drover/common/v1/VmStats.js'
import type { Reader } from '../store/query.js'
import { etagOf } from '../store/etag.js'
import type { Disk } from '../store/disks.js'
import type { Decision } from '../store/decisions.js'
import { jobSteps, type Job, type JobStep } from '../store/jobs.js'
import type { Snapshot } from '../store/snapshots.js'
import type { HostView, StorageDomain } from '../store/storage-domains.js'
import type { Template } from '../store/templates.js'
import type { Vm, VmDisk, VmNic } from '../store/vms.js'
import { vmCdDrives, vmDisks, vmNics, pinnedHosts } from '../store/vms.js'
import { vmLuns } from '../store/luns.js'
import { neededOf } from '../store/dependencies.js'
import { holdersOf } from '../store/claims.js'
import { hostViews } from '../store/storage-domains.js'
import { noProgress, type Progress } from '../jobs/progress.js'
import { enumOf, wireFailure, wireTime, wireTimeOrNull } from '../wire.js'
import { wireBus, wireFirmware } from '../vm-spec.js'
import { vmLunMessage } from './vm-luns.js'
import { wireConnection } from '../storage-connection.js'

// Rows as the messages of the API. Everything here only reads.

const progressMessage = ({ percent, doneBytes, totalBytes, phase }: Progress) => {
  return { percent, doneBytes, totalBytes, phase }
}

const ended: ReadonlySet<string> = new Set(['succeeded', 'undone'])

export function jobMessage(reader: Reader, job: Job) {
  const progress = job.progress ?? noProgress
  return {
    jobId: job.id,
    kind: job.kind,
    state: enumOf('JOB_STATE', job.state),
    objects: job.objects,
    progress: progressMessage(job.state === 'succeeded' ? { ...progress, percent: 100 } : progress),
    steps: jobSteps(reader, job.id).map(stepMessage),
    failure: job.turnedBack && wireFailure(job.turnedBack, job.ended ?? job.created),
    result: ended.has(job.state) ? job.result : {},
    created: wireTime(job.created),
    ended: wireTimeOrNull(job.ended),
    actor: job.actor,
    requestId: job.requestId
  }
}

function stepMessage({
  name,
  state,
  attempt,
  hostId,
  started,
  ended: over,
  progress,
  fault,
  isOpen
}: JobStep) {
  const hasFailed = state === 'running' && fault !== null && !isOpen
  return {
    name,
    state: enumOf('STEP_STATE', state === null ? 'pending' : hasFailed ? 'failed' : state),
    attempts: attempt,
    hostId: hostId ?? '',
    started: wireTimeOrNull(started),
    ended: wireTimeOrNull(over),
    progress: progressMessage(
      state === 'done' ? { ...(progress ?? noProgress), percent: 100 } : (progress ?? noProgress)
    ),
    failure: fault && wireFailure(fault, over ?? started ?? 0)
  }
}

/** What only memory knows of a VM: its latest statistics. */
export type VmStatsOf = (vmId: string) => VmStats | null

type PauseReason = '' | 'user' | 'enospc' | 'eio' | 'eperm' | 'other' | 'post_copy'

export function vmMessage(reader: Reader, vm: Vm, statsOf: VmStatsOf) {
  return {
    vmId: vm.id,
    name: vm.name,
    description: vm.description,
    clusterId: vm.clusterId,
    templateId: vm.templateId ?? '',
    vcpus: vm.vcpus,
    memoryBytes: String(vm.memoryBytes),
    firmware: wireFirmware(vm.firmware),
    ha: {
      enabled: vm.isHa,
      priority: vm.priority,
      leaseStorageDomainId: vm.leaseStorageDomainId ?? ''
    },
    disks: vmDisks(reader, vm.id).map(attachmentMessage),
    nics: vmNics(reader, vm.id).map(nicMessage),
    pinnedHostIds: pinnedHosts(reader, vm.id),
    cpuProfileId: vm.cpuProfileId ?? '',
    dependsOnVmIds: neededOf(reader, vm.id),
    status: enumOf('VM_STATUS', vm.status),
    pauseReason: enumOf('PAUSE_REASON', vm.pauseReason as PauseReason),
    hostId: vm.hostId ?? '',
    migratingToHostId: vm.migratingToHostId ?? '',
    vmGeneration: String(vm.generation),
    wantedRunning: vm.wantedRunning,
    failure: vm.failure,
    guest: vm.guest,
    stats: statsOf(vm.id),
    started: wireTimeOrNull(vm.started),
    migration: vm.migration,
    etag: etagOf(vm),
    created: wireTime(vm.created),
    cpuModel: vm.cpuModel,
    machineType: vm.machineType,
    external: vm.isExternal,
    cdDrives: vmCdDrives(reader, vm.id).map(({ number, diskId }) => {
      return { diskId: diskId ?? '', trayOpen: vm.openTrays.includes(number) }
    }),
    bootFromCd: vm.bootsFromCd,
    luns: vmLuns(reader, vm.id).map(vmLunMessage)
  }
}

const attachmentMessage = ({ diskId, bus, isReadOnly, slot, profileId }: VmDisk) => {
  const profile = { profileId: profileId ?? '' }
  return { diskId, bus: wireBus(bus), readOnly: isReadOnly, slot, cdrom: false, ...profile }
}
const nicMessage = ({ mac, bridge, slot, profileId }: VmNic) => ({
  ...{ mac, bridge, slot },
  profileId: profileId ?? ''
})

export const diskMessage = (disk: Disk) => ({
  diskId: disk.id,
  name: disk.name,
  storageDomainId: disk.storageDomainId,
  capacity: String(disk.capacity),
  allocatedBytes: String(disk.allocatedBytes),
  format: enumOf('DISK_FORMAT', disk.format),
  allocation: enumOf('ALLOCATION_POLICY', disk.allocation),
  status: enumOf('DISK_STATUS', disk.status),
  problem: disk.problem,
  vmId: disk.vmId,
  templateId: disk.templateId,
  volumeId: disk.volumeId,
  chainLength: disk.chainLength,
  etag: etagOf(disk),
  created: wireTime(disk.created),
  content: enumOf('DISK_CONTENT', disk.content),
  shareable: disk.isShareable
})

export const templateMessage = (template: Template) => ({
  templateId: template.id,
  name: template.name,
  description: template.description,
  diskIds: template.diskIds,
  vcpus: template.vcpus,
  memoryBytes: String(template.memoryBytes),
  firmware: wireFirmware(template.firmware),
  status: enumOf('TEMPLATE_STATUS', template.status),
  etag: etagOf(template),
  created: wireTime(template.created)
})

export const snapshotMessage = (reader: Reader, snapshot: Snapshot) => ({
  snapshotId: snapshot.id,
  vmId: snapshot.vmId,
  name: snapshot.name,
  created: wireTime(snapshot.created),
  disks: snapshot.disks.map(({ diskId, volumeId }) => ({ diskId, volumeId })),
  busy: snapshot.phase !== 'ok' || holdersOf(reader, 'snapshot', snapshot.id).length > 0
})

export const storageDomainMessage = (reader: Reader, domain: StorageDomain) => ({
  storageDomainId: domain.id,
  name: domain.name,
  connection: wireConnection(domain.connection),
  status: enumOf('STORAGE_DOMAIN_STATUS', domain.status),
  problem: domain.problem,
  totalBytes: String(domain.totalBytes),
  freeBytes: String(domain.freeBytes),
  ioTimeoutSeconds: domain.ioTimeoutSeconds,
  blockSize: domain.blockSize,
  hosts: hostViews(reader, domain.id).map(viewMessage),
  etag: etagOf(domain),
  created: wireTime(domain.created),
  criticalBytes: String(domain.criticalBytes),
  metadataPercent: domain.metadataPercent,
  managerHostId: domain.managerHostId ?? '',
  managerWhy: domain.managerWhy,
  managerSince: wireTimeOrNull(domain.managerSince === 0 ? null : domain.managerSince)
})

const viewMessage = ({ hostId, health, readLatencyMs, problem, isManager }: HostView) => {
  const manager = isManager === 1
  return { hostId, health: enumOf('STORAGE_DOMAIN_HEALTH', health), readLatencyMs, problem, manager }
}

export const decisionMessage = ({ time, purpose, hostId, verdicts, summary, jobId }: Decision) => {
  return { time: wireTime(time), purpose, hostId, verdicts, summary, jobId }
}
