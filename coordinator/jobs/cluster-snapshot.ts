import { bytes, type Bytes } from '../../common/units.js'
import {
  emptyHost,
  type ClusterSnapshot,
  type SchedulableHost,
  type SchedulingPolicy,
  type VmLoad,
  type WantedVm
} from '../scheduler/cluster.js'
import { affinityOf } from '../store/affinity.js'
import { cluster as clusterRow, type Cluster } from '../store/clusters.js'
import { disk } from '../store/disks.js'
import { hostsOfCluster, type Host } from '../store/hosts.js'
import { policyOf } from '../store/policies.js'
import { sql, type Reader } from '../store/query.js'
import { lunDevice, seenLuns, vmLuns } from '../store/luns.js'
import { managedCounts } from '../store/storage-domains.js'
import { pinnedHosts, vmImages, vmNics, type Vm } from '../store/vms.js'
import type { Loads } from './world.js'

/** A cluster as decisions look at it; one VM may count nowhere, because it looks for a host itself. */
export function snapshotOf(
  reader: Reader,
  loads: Loads,
  clusterId: string,
  exceptVmId: string | null = null
): ClusterSnapshot {
  const row = clusterRow(reader, clusterId)
  const policy = schedulingOf(reader, row)
  const running = byHost(runningVms(reader, clusterId, exceptVmId), loads)
  const seen = new Map([...running].map(([hostId, vms]) => [hostId, new Set(vms.map(({ vmId }) => vmId))]))
  const pending = byHost(
    pendingVms(reader, clusterId, exceptVmId).filter(({ id, hostId }) => !seen.get(hostId)?.has(id)),
    loads
  )
  const storage = activeStorage(reader, clusterId)
  const managed = managedCounts(reader)
  const luns = seenLuns(reader, clusterId)
  const hosts = hostsOfCluster(reader, clusterId).map(host =>
    schedulable(host, loads, policy, {
      running: running.get(host.id) ?? [],
      pending: pending.get(host.id) ?? [],
      storageDomainIds: storage.get(host.id) ?? [],
      managedStorageDomains: managed.get(host.id) ?? 0,
      hostDevices: (luns.get(host.id) ?? []).map(lunDevice)
    })
  )
  return { policy, hosts, affinity: affinityOf(reader, clusterId) }
}

/** The policy of a cluster, with the two factors that the cluster itself has. */
export function schedulingOf(reader: Reader, row: Cluster): SchedulingPolicy {
  const policy = policyOf(reader, row.policyId)
  const weights = { ...policy.weights }
  if (weights['cpu-even'] !== undefined) weights['cpu-even'] = row.cpuWeight
  if (weights['memory-even'] !== undefined) weights['memory-even'] = row.memoryWeight
  const { memoryOvercommitPercent, cpuOvercommitPercent } = row
  return { ...policy, weights, memoryOvercommitPercent, cpuOvercommitPercent }
}

type Running = { id: string; hostId: string; vcpus: number; memoryBytes: number; isHa: 0 | 1 }

const runningVms = (reader: Reader, clusterId: string, exceptVmId: string | null): Running[] =>
  reader.all(
    sql
      .selectFrom('vm')
      .select(['id', 'hostId', 'vcpus', 'memoryBytes', 'isHa'])
      .where('clusterId', '=', clusterId)
      .where('hostId', 'is not', null)
      .where('status', '<>', 'down')
      .where('id', '<>', exceptVmId ?? '')
      .$narrowType<{ hostId: string }>()
  )

const pendingVms = (reader: Reader, clusterId: string, exceptVmId: string | null): Running[] =>
  reader.all(
    sql
      .selectFrom('pending')
      .innerJoin('vm', 'vm.id', 'pending.vmId')
      .select(['vm.id', 'pending.hostId', 'vm.vcpus', 'vm.memoryBytes', 'vm.isHa'])
      .where('vm.clusterId', '=', clusterId)
      .where('vm.id', '<>', exceptVmId ?? '')
  )

function byHost(rows: readonly Running[], loads: Loads): Map<string, VmLoad[]> {
  const found = new Map<string, VmLoad[]>()
  for (const { id, hostId, vcpus, memoryBytes, isHa } of rows) {
    const load = {
      ...{ vmId: id, vcpus, memory: bytes(memoryBytes), isHa: isHa === 1 },
      cpuPercent: loads.cpuPercent(id)
    }
    const here = found.get(hostId)
    if (here) here.push(load)
    else found.set(hostId, [load])
  }
  return found
}

function activeStorage(reader: Reader, clusterId: string): Map<string, string[]> {
  const rows = reader.all(
    sql
      .selectFrom('storageDomainHost')
      .innerJoin('host', 'host.id', 'storageDomainHost.hostId')
      .select(['storageDomainHost.hostId', 'storageDomainHost.storageDomainId'])
      .where('host.clusterId', '=', clusterId)
      .where('storageDomainHost.health', '=', 'active')
  )
  const found = new Map<string, string[]>()
  for (const { hostId, storageDomainId } of rows) {
    found.set(hostId, [...(found.get(hostId) ?? []), storageDomainId])
  }
  return found
}

function schedulable(
  host: Host,
  loads: Loads,
  { parameters }: SchedulingPolicy,
  now: Pick<
    SchedulableHost,
    'running' | 'pending' | 'storageDomainIds' | 'managedStorageDomains' | 'hostDevices'
  >
): SchedulableHost {
  const { capabilities } = host
  const memory = bytes(Number(capabilities?.memoryBytes ?? 0))
  return {
    ...emptyHost,
    ...now,
    hostId: host.id,
    name: host.name,
    status: host.status,
    problem: host.problem,
    cpus: capabilities?.cpus ?? 0,
    memory,
    memoryAvailable: loads.memoryAvailable(host.id) ?? unpromised(memory, now.running),
    swapUsed: loads.swapUsed(host.id) ?? bytes(0),
    overloadedSeconds: loads.secondsAbove(host.id, parameters.highUtilization),
    cpuModel: capabilities?.cpuModel ?? '',
    usableCpuModels: capabilities?.usableCpuModels ?? [],
    machineTypes: capabilities?.machineTypes ?? [],
    bridges: capabilities?.bridges ?? [],
    isKvm: capabilities?.kvm ?? false,
    hasHaLeases: capabilities?.haLeases ?? false,
    hasUefi: capabilities?.uefi ?? false
  }
}

/** Before the first measurement: what no VM was promised. */
const unpromised = (memory: Bytes, running: readonly VmLoad[]) =>
  bytes(Math.max(0, memory - running.reduce((sum, vm) => sum + vm.memory, 0)))

/** What a VM asks of a host. */
export function wantedVm(reader: Reader, loads: Loads, row: Vm): WantedVm {
  const domains = vmImages(reader, row.id).map(id => disk(reader, id).storageDomainId)
  if (row.leaseStorageDomainId !== null) domains.push(row.leaseStorageDomainId)
  const bridges = vmNics(reader, row.id).flatMap(({ bridge }) => (bridge === '' ? [] : [bridge]))
  return {
    vmId: row.id,
    name: row.name,
    vcpus: row.vcpus,
    memory: bytes(row.memoryBytes),
    cpuModel: row.cpuModel || clusterRow(reader, row.clusterId).cpuModel,
    machineType: row.machineType,
    needsUefi: row.firmware === 'uefi',
    needsLease: row.leaseStorageDomainId !== null,
    bridges: [...new Set(bridges)],
    storageDomainIds: [...new Set(domains)],
    pinnedHostIds: pinnedHosts(reader, row.id),
    isHa: row.isHa,
    cpuPercent: loads.cpuPercent(row.id),
    hugePageKib: 0,
    numaNodes: [],
    hostDevices: vmLuns(reader, row.id).map(({ wwid }) => lunDevice(wwid))
  }
}
