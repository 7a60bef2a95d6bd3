import { coordinatorServices as services } from '../proto/load.js'
import type { QosProfile__Output as QosProfile } from '../proto/generated/types/drover/v1/QosProfile.js'
import type { ListQosProfilesResponse__Output as QosProfiles } from '../proto/generated/types/drover/v1/ListQosProfilesResponse.js'
import type { AffinityGroup__Output as AffinityGroup } from '../proto/generated/types/drover/v1/AffinityGroup.js'
import type { Cluster__Output as Cluster } from '../proto/generated/types/drover/v1/Cluster.js'
import type { Disk__Output as Disk } from '../proto/generated/types/drover/v1/Disk.js'
import type { Host__Output as Host } from '../proto/generated/types/drover/v1/Host.js'
import type { Job__Output as Job } from '../proto/generated/types/drover/v1/Job.js'
import type { ListAffinityGroupsResponse__Output as AffinityGroups } from '../proto/generated/types/drover/v1/ListAffinityGroupsResponse.js'
import type { ListPlacementPoliciesResponse__Output as Policies } from '../proto/generated/types/drover/v1/ListPlacementPoliciesResponse.js'
import type { ListQuotasResponse__Output as Quotas } from '../proto/generated/types/drover/v1/ListQuotasResponse.js'
import type { ListClustersResponse__Output as Clusters } from '../proto/generated/types/drover/v1/ListClustersResponse.js'
import type { ListDisksResponse__Output as Disks } from '../proto/generated/types/drover/v1/ListDisksResponse.js'
import type { ListHostsResponse__Output as Hosts } from '../proto/generated/types/drover/v1/ListHostsResponse.js'
import type { ListJobsResponse__Output as Jobs } from '../proto/generated/types/drover/v1/ListJobsResponse.js'
import type { ListSnapshotsResponse__Output as Snapshots } from '../proto/generated/types/drover/v1/ListSnapshotsResponse.js'
import type { ListStorageDomainsResponse__Output as StorageDomains } from '../proto/generated/types/drover/v1/ListStorageDomainsResponse.js'
import type { ListTemplatesResponse__Output as Templates } from '../proto/generated/types/drover/v1/ListTemplatesResponse.js'
import type { ListVmsResponse__Output as Vms } from '../proto/generated/types/drover/v1/ListVmsResponse.js'
import type { PlacementPolicy__Output as Policy } from '../proto/generated/types/drover/v1/PlacementPolicy.js'
import type { Quota__Output as Quota } from '../proto/generated/types/drover/v1/Quota.js'
import type { Snapshot__Output as Snapshot } from '../proto/generated/types/drover/v1/Snapshot.js'
import type { StorageDomain__Output as StorageDomain } from '../proto/generated/types/drover/v1/StorageDomain.js'
import type { Template__Output as Template } from '../proto/generated/types/drover/v1/Template.js'
import type { Vm__Output as Vm } from '../proto/generated/types/drover/v1/Vm.js'
import { connectionText } from './connection.js'
import type { Resource } from './resource.js'
import { formatEnum, formatSize, formatTime } from './units.js'

// What each kind of object looks like in lists, and how it is asked for by id or name.

const reservationText = ({ haReservedHosts, haReservation }: Cluster) => {
  if (haReservedHosts === 0) return ''
  if (!haReservation) return 'not looked at yet'
  return haReservation.ok ? `kept (${haReservedHosts})` : 'NOT KEPT'
}

export const clusters: Resource<Cluster, Clusters> = {
  noun: 'cluster',
  plural: 'clusters',
  list: services.cluster.ListClusters,
  items: page => page.clusters,
  get: (session, clusterId) => session.call(services.cluster.GetCluster, { clusterId }),
  id: cluster => cluster.clusterId,
  name: cluster => cluster.name,
  filterFields: 'name',
  orderFields: 'name, created',
  refers: ['policy'],
  columns: [
    ['NAME', cluster => cluster.name],
    ['CPU MODEL', cluster => cluster.cpuModel || '(host)'],
    ['POLICY', (cluster, names) => names('policy', cluster.policyId)],
    ['HA RESERVATION', reservationText],
    ['FENCING', cluster => (cluster.ha?.fencingEnabled ? 'on' : 'off')],
    ['ID', cluster => cluster.clusterId],
    ['DESCRIPTION', cluster => cluster.description]
  ]
}

export const policies: Resource<Policy, Policies> = {
  noun: 'policy',
  plural: 'policies',
  list: services.placementPolicy.ListPlacementPolicies,
  items: page => page.placementPolicies,
  get: (session, placementPolicyId) =>
    session.call(services.placementPolicy.GetPlacementPolicy, { placementPolicyId }),
  id: policy => policy.placementPolicyId,
  name: policy => policy.name,
  filterFields: 'name',
  orderFields: 'name, created',
  columns: [
    ['NAME', policy => policy.name],
    ['BUILT IN', policy => (policy.builtIn ? 'yes' : '')],
    ['BALANCER', policy => policy.balancer],
    ['SELECTOR', policy => policy.selector],
    ['WEIGHTS', policy => factorsText(policy.weights)],
    ['ID', policy => policy.placementPolicyId]
  ]
}

const factorsText = (weights: Record<string, number>) =>
  Object.entries(weights)
    .map(([name, factor]) => `${name}=${factor}`)
    .join(' ')

export const affinityGroups: Resource<AffinityGroup, AffinityGroups> = {
  noun: 'affinity-group',
  plural: 'affinity groups',
  list: services.affinityGroup.ListAffinityGroups,
  items: page => page.affinityGroups,
  get: (session, affinityGroupId) =>
    session.call(services.affinityGroup.GetAffinityGroup, { affinityGroupId }),
  id: group => group.affinityGroupId,
  name: group => group.name,
  filterFields: 'name, cluster_id',
  orderFields: 'name, created',
  refers: ['cluster'],
  columns: [
    ['NAME', group => group.name],
    ['CLUSTER', (group, names) => names('cluster', group.clusterId)],
    ['VMS', group => ruleText(group.vmRule, group.vmEnforcing)],
    ['HOSTS', group => ruleText(group.hostRule, group.hostEnforcing)],
    ['PRIORITY', group => String(group.priority)],
    ['MEMBERS', group => String(group.vmIds.length)],
    ['BROKEN', group => String(group.broken.length || '')],
    ['ID', group => group.affinityGroupId]
  ]
}

export const qosProfiles: Resource<QosProfile, QosProfiles> = {
  noun: 'qos-profile',
  plural: 'QoS profiles',
  list: services.qosProfile.ListQosProfiles,
  items: page => page.qosProfiles,
  get: (session, qosProfileId) => session.call(services.qosProfile.GetQosProfile, { qosProfileId }),
  id: profile => profile.qosProfileId,
  name: profile => profile.name,
  filterFields: 'name, kind',
  orderFields: 'name, created',
  columns: [
    ['NAME', profile => profile.name],
    ['KIND', profile => profile.limits ?? ''],
    ['LIMITS', profile => limitsText(profile)],
    ['VMS', profile => String(profile.vmCount)],
    ['ID', profile => profile.qosProfileId]
  ]
}

/** What is limited, by the names of the contract. */
function limitsText({ cpu, disk, network }: QosProfile): string {
  const given = Object.entries({ ...cpu, ...disk }).filter(([, value]) => Number(value) > 0)
  const ways = [
    ['in', network?.inbound],
    ['out', network?.outbound]
  ] as const
  return [
    ...given.map(([name, value]) => `${name} ${value}`),
    ...ways.flatMap(([name, way]) => (way ? [`${name} ${way.averageKibSec} KiB/s`] : []))
  ].join(', ')
}

const ruleText = (rule: string, isEnforcing: boolean) => {
  const word = formatEnum(rule, 'AFFINITY_RULE')
  return word === 'none' || word === '' ? '' : `${word}${isEnforcing ? ' (hard)' : ''}`
}

export const quotas: Resource<Quota, Quotas> = {
  noun: 'quota',
  plural: 'quotas',
  list: services.quota.ListQuotas,
  items: page => page.quotas,
  get: (session, quotaId) => session.call(services.quota.GetQuota, { quotaId }),
  id: quota => quota.quotaId,
  name: quota => quota.name,
  filterFields: 'name',
  orderFields: 'name, created',
  columns: [
    ['NAME', quota => quota.name],
    ['CONSUMERS', quota => quota.consumers.join(' ')],
    ['LIMITS', quota => String(quota.limits.length)],
    ['USED', quota => quota.limits.map(useText).join('; ')],
    ['ID', quota => quota.quotaId]
  ]
}

function useText(limit: Quota['limits'][number]): string {
  const parts: string[] = []
  if (limit._vcpus !== undefined) parts.push(`${limit.usedVcpus}/${limit.vcpus} CPUs`)
  if (limit._memoryBytes !== undefined) {
    parts.push(`${formatSize(limit.usedMemoryBytes)}/${formatSize(limit.memoryBytes ?? '0')}`)
  }
  if (limit._storageBytes !== undefined) {
    parts.push(`${formatSize(limit.usedStorageBytes)}/${formatSize(limit.storageBytes ?? '0')} of disks`)
  }
  return parts.join(', ')
}

export const hosts: Resource<Host, Hosts> = {
  noun: 'host',
  plural: 'hosts',
  list: services.host.ListHosts,
  items: page => page.hosts,
  get: (session, hostId) => session.call(services.host.GetHost, { hostId }),
  id: host => host.hostId,
  name: host => host.name,
  filterFields: 'name, status, cluster_id',
  orderFields: 'name, status, created',
  refers: ['cluster'],
  columns: [
    ['NAME', host => host.name],
    ['STATUS', host => formatEnum(host.status, 'HOST_STATUS')],
    ['CLUSTER', (host, names) => names('cluster', host.clusterId)],
    ['ADDRESS', host => host.address],
    ['VMS', host => String(host.runningVms)],
    ['CPU %', host => (host.stats ? host.stats.cpuPercent.toFixed(0) : '')],
    ['MEMORY FREE', host => (host.stats ? formatSize(host.stats.memoryAvailableBytes) : '')],
    ['ID', host => host.hostId],
    ['PROBLEM', host => host.problem]
  ]
}

export const storageDomains: Resource<StorageDomain, StorageDomains> = {
  noun: 'storage-domain',
  plural: 'storage domains',
  list: services.storageDomain.ListStorageDomains,
  items: page => page.storageDomains,
  get: (session, storageDomainId) =>
    session.call(services.storageDomain.GetStorageDomain, { storageDomainId }),
  id: storageDomain => storageDomain.storageDomainId,
  name: storageDomain => storageDomain.name,
  filterFields: 'name, status',
  orderFields: 'name, status, created',
  refers: ['host'],
  columns: [
    ['NAME', each => each.name],
    ['STATUS', each => formatEnum(each.status, 'STORAGE_DOMAIN_STATUS')],
    ['CONNECTION', each => connectionText(each.connection)],
    ['FREE', each => formatSize(each.freeBytes)],
    ['TOTAL', each => formatSize(each.totalBytes)],
    ['HOSTS', each => String(each.hosts.length)],
    ['MANAGER', (each, names) => names('host', each.managerHostId)],
    ['ID', each => each.storageDomainId],
    ['PROBLEM', each => each.problem]
  ]
}

/** What it holds, and who may write it, where that is something special. */
const diskFormat = ({ format, content, shareable }: Disk) =>
  content === 'DISK_CONTENT_ISO' ? 'iso' : formatEnum(format, 'DISK_FORMAT') + (shareable ? ' (shared)' : '')

export const disks: Resource<Disk, Disks> = {
  noun: 'disk',
  plural: 'disks',
  list: services.disk.ListDisks,
  items: page => page.disks,
  get: (session, diskId) => session.call(services.disk.GetDisk, { diskId }),
  id: disk => disk.diskId,
  name: disk => disk.name,
  filterFields: 'name, status, storage_domain_id, vm_id, template_id',
  orderFields: 'name, capacity, created',
  refers: ['storage-domain', 'vm', 'template'],
  columns: [
    ['NAME', disk => disk.name],
    ['STATUS', disk => formatEnum(disk.status, 'DISK_STATUS')],
    ['CAPACITY', disk => formatSize(disk.capacity)],
    ['ALLOCATED', disk => formatSize(disk.allocatedBytes)],
    ['FORMAT', diskFormat],
    ['STORAGE DOMAIN', (disk, names) => names('storage-domain', disk.storageDomainId)],
    ['USED BY', (disk, names) => (disk.vmId ? names('vm', disk.vmId) : names('template', disk.templateId))],
    ['ID', disk => disk.diskId],
    ['PROBLEM', disk => disk.problem]
  ]
}

export const templates: Resource<Template, Templates> = {
  noun: 'template',
  plural: 'templates',
  list: services.template.ListTemplates,
  items: page => page.templates,
  get: (session, templateId) => session.call(services.template.GetTemplate, { templateId }),
  id: template => template.templateId,
  name: template => template.name,
  filterFields: 'name, status',
  orderFields: 'name, created',
  columns: [
    ['NAME', template => template.name],
    ['STATUS', template => formatEnum(template.status, 'TEMPLATE_STATUS')],
    ['CPUS', template => String(template.vcpus || 1)],
    ['MEMORY', template => formatSize(template.memoryBytes === '0' ? 512 * 2 ** 20 : template.memoryBytes)],
    ['DISKS', template => String(template.diskIds.length)],
    ['ID', template => template.templateId],
    ['DESCRIPTION', template => template.description]
  ]
}

export const vms: Resource<Vm, Vms> = {
  noun: 'vm',
  plural: 'VMs',
  list: services.vm.ListVms,
  items: page => page.vms,
  get: (session, vmId) => session.call(services.vm.GetVm, { vmId }),
  id: vm => vm.vmId,
  name: vm => vm.name,
  filterFields: 'name, status, host_id, cluster_id, template_id',
  orderFields: 'name, status, memory_bytes, created',
  refers: ['host'],
  columns: [
    ['NAME', vm => vm.name],
    ['STATUS', vm => formatEnum(vm.status, 'VM_STATUS')],
    ['HOST', (vm, names) => names('host', vm.hostId)],
    ['CPUS', vm => String(vm.vcpus)],
    ['MEMORY', vm => formatSize(vm.memoryBytes)],
    ['HA', vm => (vm.ha?.enabled ? 'yes' : 'no')],
    ['ADDRESSES', vm => addresses(vm).join(' ')],
    ['ID', vm => vm.vmId]
  ]
}

export const snapshots: Resource<Snapshot, Snapshots> = {
  noun: 'snapshot',
  plural: 'snapshots',
  list: services.snapshot.ListSnapshots,
  items: page => page.snapshots,
  get: (session, snapshotId) => session.call(services.snapshot.GetSnapshot, { snapshotId }),
  id: snapshot => snapshot.snapshotId,
  name: snapshot => snapshot.name,
  filterFields: 'vm_id, name',
  orderFields: 'created',
  refers: ['vm'],
  columns: [
    ['NAME', snapshot => snapshot.name],
    ['VM', (snapshot, names) => names('vm', snapshot.vmId)],
    ['CREATED', snapshot => formatTime(snapshot.created)],
    ['DISKS', snapshot => String(snapshot.disks.length)],
    ['BUSY', snapshot => (snapshot.busy ? 'yes' : '')],
    ['ID', snapshot => snapshot.snapshotId]
  ]
}

export const jobs: Resource<Job, Jobs> = {
  noun: 'job',
  plural: 'jobs',
  list: services.job.ListJobs,
  items: page => page.jobs,
  get: (session, jobId) => session.call(services.job.GetJob, { jobId }),
  id: job => job.jobId,
  name: job => job.jobId,
  filterFields: 'state, kind, vm_id',
  orderFields: 'created, state',
  columns: [
    ['ID', job => job.jobId],
    ['KIND', job => job.kind],
    ['STATE', job => formatEnum(job.state, 'JOB_STATE')],
    ['%', job => String(job.progress?.percent ?? 0)],
    ['CREATED', job => formatTime(job.created)],
    ['ACTOR', job => job.actor],
    ['FAILURE', job => job.failure?.message ?? '']
  ]
}

/** Addresses that the guest reports, loopback and link-local left out. */
export function addresses({ guest }: Vm): string[] {
  const every = (guest?.interfaces ?? []).flatMap(each => each.addresses)
  return every.filter(address => !/^(127\.|::1$|fe80:)/.test(address))
}
