import { GiB } from '../../../common/units.js'
import {
  defaultPolicy,
  emptyHost,
  emptyVm,
  type AffinityGroup,
  type ClusterSnapshot,
  type PlacementRequest,
  type SchedulableHost,
  type VmLoad,
  type WantedVm
} from '../../../coordinator/scheduler/cluster.js'

// Clusters for tests, with all that is not said as a plain host or VM has it.

export const host = (hostId: string, change: Partial<SchedulableHost> = {}): SchedulableHost => ({
  ...emptyHost,
  ...{ hostId, name: `host-${hostId}`, cpus: 4, memory: GiB(16), memoryAvailable: GiB(14) },
  ...{ cpuModel: 'EPYC', usableCpuModels: ['EPYC', 'qemu64'], machineTypes: ['pc-q35-7.2'] },
  ...{ bridges: ['br0'], isKvm: true, hasHaLeases: true, hasUefi: true, storageDomainIds: ['s1'] },
  ...change
})

export const vm: WantedVm = {
  ...emptyVm,
  ...{ vmId: 'v1', name: 'web', vcpus: 2, memory: GiB(2), needsLease: true, isHa: true },
  ...{ bridges: ['br0'], storageDomainIds: ['s1'] }
}

export const request = (
  change: Partial<PlacementRequest> = {},
  of: Partial<WantedVm> = {}
): PlacementRequest => ({
  ...{ purpose: 'start', currentHostId: null, preferredHostId: null, onlyHostId: null, isRelaxed: false },
  excluded: new Map(),
  ...change,
  vm: { ...vm, ...of }
})

export const cluster = (...hosts: SchedulableHost[]): ClusterSnapshot => {
  return { policy: defaultPolicy, hosts, affinity: [] }
}

export const load = (vmId: string, memory = GiB(2)): VmLoad => {
  return { vmId, vcpus: 2, memory, cpuPercent: 100, isHa: false }
}

export const group = (change: Partial<AffinityGroup>): AffinityGroup => ({
  ...{ groupId: 'g', name: 'g', priority: 1, vmRule: 'none', vmIsHard: false },
  ...{ hostRule: 'none', hostIsHard: false, vmIds: [], hostIds: [] },
  ...change
})
