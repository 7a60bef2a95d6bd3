import { bytes, MiB, type Bytes } from '../../common/units.js'

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
  cpuModel: string
  usableCpuModels: readonly string[]
  machineTypes: readonly string[]
  bridges: readonly string[]
  isKvm: boolean
  hasHaLeases: boolean
  hasUefi: boolean
  /** Storage domains that this host has active now. */
  storageDomainIds: readonly string[]
  /** How many storage domains it manages: each counts as a VM of one CPU. */
  managedStorageDomains: number
  running: readonly VmLoad[]
  /** Placed here by a decision, not yet seen running. */
  pending: readonly VmLoad[]
}

export type SchedulingPolicy = {
  cpuFactor: number
  memoryFactor: number
  /** Memory that may be promised, in percent of physical memory. */
  memoryOvercommitPercent: number
  /** Virtual CPUs that may be promised, in percent of logical CPUs. */
  cpuOvercommitPercent: number
}

export const defaultPolicy: SchedulingPolicy = {
  cpuFactor: 2,
  memoryFactor: 1,
  memoryOvercommitPercent: 100,
  cpuOvercommitPercent: 1000
}

export type ClusterSnapshot = { policy: SchedulingPolicy; hosts: readonly SchedulableHost[] }

/** A VM that looks for a host. */
export type PlacementRequest = {
  purpose: 'start' | 'migrate' | 'restart'
  vm: {
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
  }
  /** Where it runs now: never a destination, and the CPU to be compatible with. */
  currentHostId: string | null
  /** Preferred when it passes all filters: after a crash of QEMU, where the VM was. */
  preferredHostId: string | null
  /** A person named this host: no other is looked at. */
  onlyHostId: string | null
  /** Hosts that failed in this job already, with the reason. */
  excluded: ReadonlyMap<string, string>
}

/** QEMU's own need beside the guest's memory: page tables, per-CPU state, video (platform practice of oVirt). */
export function memoryOverhead(vcpus: number, memory: Bytes): Bytes {
  return bytes(MiB(64) + Math.ceil(memory / 512) + MiB(8) * vcpus + MiB(16))
}

export const memoryNeeded = ({ vcpus, memory }: { vcpus: number; memory: Bytes }) =>
  bytes(memory + memoryOverhead(vcpus, memory))

/** Memory the host keeps for itself. */
export const hostReserve: Bytes = MiB(321)

export const committedMemory = (host: SchedulableHost): number =>
  [...host.running, ...host.pending].reduce((sum, vm) => sum + memoryNeeded(vm), 0)

export const pendingMemory = (host: SchedulableHost): number =>
  host.pending.reduce((sum, vm) => sum + memoryNeeded(vm), 0)

export const promisedCpus = (host: SchedulableHost): number =>
  [...host.running, ...host.pending].reduce((sum, vm) => sum + vm.vcpus, 0)

/** CPU in use, in percent of one CPU; what was never measured is taken as 10 % per virtual CPU. */
export function cpuLoad(host: SchedulableHost): number {
  const vms = [...host.running, ...host.pending]
  const measured = vms.reduce((sum, vm) => sum + (vm.cpuPercent ?? 10 * vm.vcpus), 0)
  return measured + 100 * host.managedStorageDomains
}
