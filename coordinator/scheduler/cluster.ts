import { bytes, MiB, type Bytes } from '../../common/units.js'
import { builtInPolicies, type Policy } from './policy.js'

// What a decision is made from: one consistent look at a cluster. Plain data, so that a recorded one can
// be replayed and a simulator can invent one.

/** What a VM takes from a host that runs it, or is about to. */
export type VmLoad = {
  vmId: string
  vcpus: number
  memory: Bytes
  /** Percent of one host CPU, or null where it has not been measured yet. */
  cpuPercent: number | null
  isHa: boolean
}

/** A NUMA node of a host, as far as the placement of pinned memory needs it. */
export type NumaNode = { cpus: number; memoryFree: Bytes }

export type SchedulableHost = {
  hostId: string
  name: string
  /** Status word of glossary.md §7: only `up` hosts take VMs. */
  status: string
  /** Why the host cannot take VMs although it is up; empty when it can. */
  problem: string
  cpus: number
  memory: Bytes
  memoryAvailable: Bytes
  swapUsed: Bytes
  /** For how many seconds without a break its CPUs were busier than the policy wants. */
  overloadedSeconds: number
  cpuModel: string
  usableCpuModels: readonly string[]
  machineTypes: readonly string[]
  bridges: readonly string[]
  isKvm: boolean
  hasHaLeases: boolean
  hasUefi: boolean
  /** Free huge pages by their size in KiB. */
  hugePages: Readonly<Record<string, number>>
  numaNodes: readonly NumaNode[]
  /** Devices that a VM can be given for itself and that none has. */
  hostDevices: readonly string[]
  /** Storage domains that this host has active now. */
  storageDomainIds: readonly string[]
  /** How many storage domains it manages: each counts as a VM of one CPU. */
  managedStorageDomains: number
  running: readonly VmLoad[]
  /** Placed here by a decision, not yet seen running. */
  pending: readonly VmLoad[]
}

/** VMs that belong together or apart, and hosts that they belong on or off. Labels are resolved already. */
export type AffinityGroup = {
  groupId: string
  name: string
  /** Higher ones matter more. */
  priority: number
  vmRule: 'none' | 'positive' | 'negative'
  /** Whether the rule must never be broken, or only should not. */
  vmIsHard: boolean
  hostRule: 'none' | 'positive' | 'negative'
  hostIsHard: boolean
  vmIds: readonly string[]
  hostIds: readonly string[]
}

export type SchedulingPolicy = Policy & {
  /** Memory that may be promised, in percent of physical memory. */
  memoryOvercommitPercent: number
  /** Virtual CPUs that may be promised, in percent of logical CPUs. */
  cpuOvercommitPercent: number
}

export const defaultPolicy: SchedulingPolicy = {
  ...builtInPolicies.none,
  memoryOvercommitPercent: 100,
  cpuOvercommitPercent: 1000
}

export type ClusterSnapshot = {
  policy: SchedulingPolicy
  hosts: readonly SchedulableHost[]
  affinity: readonly AffinityGroup[]
}

/** What a VM asks of a host. */
export type WantedVm = {
  vmId: string
  name: string
  vcpus: number
  memory: Bytes
  /** Named model, or empty for the host's own. */
  cpuModel: string
  /** Pinned at the first start; empty before. */
  machineType: string
  needsUefi: boolean
  needsLease: boolean
  bridges: readonly string[]
  storageDomainIds: readonly string[]
  pinnedHostIds: readonly string[]
  isHa: boolean
  /** Percent of one host CPU that it uses now, or null where nobody knows. */
  cpuPercent: number | null
  /** Size in KiB of the huge pages that its memory lies in; 0 for ordinary memory. */
  hugePageKib: number
  /** Memory of each of its NUMA nodes, where they must lie on one node of the host each. */
  numaNodes: readonly Bytes[]
  hostDevices: readonly string[]
}

/** A VM that looks for a host. */
export type PlacementRequest = {
  purpose: 'start' | 'migrate' | 'restart'
  vm: WantedVm
  /** Where it runs now: never a destination, and the CPU to be compatible with. */
  currentHostId: string | null
  /** Preferred when it passes all filters: after a crash of QEMU, where the VM was. */
  preferredHostId: string | null
  /** A person named this host: no other is looked at. */
  onlyHostId: string | null
  /** Hosts that failed in this job already, with the reason. */
  excluded: ReadonlyMap<string, string>
  /** Rules between VMs are only wishes: its host is being emptied, or was lost. */
  isRelaxed: boolean
}

/** A host that nothing is known of beyond its name: what a snapshot's maker fills in. */
export const emptyHost: SchedulableHost = {
  hostId: '',
  name: '',
  status: 'up',
  problem: '',
  cpus: 0,
  memory: bytes(0),
  memoryAvailable: bytes(0),
  swapUsed: bytes(0),
  overloadedSeconds: 0,
  cpuModel: '',
  usableCpuModels: [],
  machineTypes: [],
  bridges: [],
  isKvm: false,
  hasHaLeases: false,
  hasUefi: false,
  hugePages: {},
  numaNodes: [],
  hostDevices: [],
  storageDomainIds: [],
  managedStorageDomains: 0,
  running: [],
  pending: []
}

/** A VM that asks for nothing. */
export const emptyVm: WantedVm = {
  vmId: '',
  name: '',
  vcpus: 1,
  memory: bytes(0),
  cpuModel: '',
  machineType: '',
  needsUefi: false,
  needsLease: false,
  bridges: [],
  storageDomainIds: [],
  pinnedHostIds: [],
  isHa: false,
  cpuPercent: null,
  hugePageKib: 0,
  numaNodes: [],
  hostDevices: []
}

/** QEMU's own need beside the guest's memory: page tables, per-CPU state, video (platform practice of oVirt). */
export function memoryOverhead(vcpus: number, memory: Bytes): Bytes {
  return bytes(baseOverhead + Math.ceil(memory / 512) + perVcpu * vcpus)
}

// Made once: this is asked for each VM and host that is looked at.
const baseOverhead = MiB(64 + 16)
const perVcpu = MiB(8)

export const memoryNeeded = ({ vcpus, memory }: { vcpus: number; memory: Bytes }) =>
  bytes(memory + baseOverhead + Math.ceil(memory / 512) + perVcpu * vcpus)

/** Memory the host keeps for itself. */
export const hostReserve: Bytes = MiB(321)

/** CPU in use by a VM, in percent of one CPU; what was never measured is taken as 10 % per virtual CPU. */
export const cpuOf = ({ vcpus, cpuPercent }: { vcpus: number; cpuPercent: number | null }) =>
  cpuPercent ?? 10 * vcpus

export const committedMemory = (host: SchedulableHost): number =>
  [...host.running, ...host.pending].reduce((sum, vm) => sum + memoryNeeded(vm), 0)
