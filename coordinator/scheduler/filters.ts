import { brokenHostRule, brokenVmRule } from '../affinity/rules.js'
import { hostReserve, memoryNeeded, type PlacementRequest } from './cluster.js'
import type { Candidate, Look } from './look.js'
import type { FilterName } from './policy.js'

/** Why a host is out, in words with numbers, or null when it passes. */
export type Filter = (candidate: Candidate, request: PlacementRequest, look: Look) => string | null

const mib = (size: number) => `${Math.ceil(size / 2 ** 20)} MiB`

/** Whatever the policy: in this order; the first that refuses a host is the reason that people see. */
export const alwaysFilters: ReadonlyArray<readonly [name: string, filter: Filter]> = [
  [
    'named-host',
    ({ host }, { onlyHostId }) =>
      onlyHostId === null || onlyHostId === host.hostId ? null : 'another host was named'
  ],
  [
    'status',
    ({ host: { status, problem } }) =>
      status === 'up' && problem === '' ? null : problem || `the host is ${status}`
  ],
  ['failed-here', ({ host }, { excluded }) => excluded.get(host.hostId) ?? null],
  [
    'current-host',
    ({ host }, { currentHostId }) => (host.hostId === currentHostId ? 'the VM runs here' : null)
  ],
  ['pinned-hosts', pinned],
  ['cpu-model', cpuModel],
  ['cpu-topology', cpuTopology],
  ['machine-type', machineType],
  [
    'firmware',
    ({ host }, { vm }) => (vm.needsUefi && !host.hasUefi ? 'UEFI firmware for guests is not installed' : null)
  ],
  ['storage', storage],
  [
    'lease',
    ({ host }, { vm }) =>
      vm.needsLease && !host.hasHaLeases ? 'the host offers no HA leases (no working watchdog)' : null
  ],
  ['host-devices', hostDevices]
]

/** Those that a policy names, in its order. */
export const policyFilters: Readonly<Record<FilterName, Filter>> = {
  'cluster-maintenance': (_, { purpose, vm }) =>
    purpose === 'start' && !vm.isHa ? 'the cluster is in maintenance: only HA VMs start' : null,
  'cpu-overloaded': cpuOverloaded,
  'cpu-overcommit': cpuOvercommit,
  swap,
  memory,
  'memory-overcommit': memoryOvercommit,
  'huge-pages': hugePages,
  numa,
  network,
  'affinity-hosts': ({ host }, { vm }, look) => {
    for (const group of look.groupsOf.get(vm.vmId) ?? []) {
      const broken = group.hostIsHard ? brokenHostRule(group, host.hostId) : null
      if (broken !== null) return broken
    }
    return null
  },
  'affinity-vms': ({ host }, { vm, isRelaxed }, look) => {
    if (isRelaxed) return null
    for (const group of look.groupsOf.get(vm.vmId) ?? []) {
      const broken = group.vmIsHard ? brokenVmRule(look, group, vm.vmId, host.hostId) : null
      if (broken !== null) return broken
    }
    return null
  }
}

function pinned({ host }: Candidate, { vm }: PlacementRequest): string | null {
  if (vm.pinnedHostIds.length === 0 || vm.pinnedHostIds.includes(host.hostId)) return null
  return 'the VM is pinned to other hosts'
}

/** A named model must be usable here; without one, a migration needs the very same CPU and accelerator. */
function cpuModel({ host }: Candidate, { vm, currentHostId }: PlacementRequest, { byId }: Look) {
  const current = currentHostId === null ? undefined : byId.get(currentHostId)?.host
  if (current && current.isKvm !== host.isKvm) {
    return host.isKvm
      ? 'the VM is emulated and this host runs KVM'
      : 'the VM runs on KVM and this host emulates'
  }
  if (vm.cpuModel !== '') {
    return host.usableCpuModels.includes(vm.cpuModel)
      ? null
      : `the host cannot offer CPU model ${vm.cpuModel}`
  }
  if (current && current.cpuModel !== host.cpuModel) {
    return `the VM runs on CPU ${current.cpuModel}, this host has ${host.cpuModel}`
  }
  return null
}

function cpuTopology({ host: { cpus } }: Candidate, { vm }: PlacementRequest): string | null {
  return vm.vcpus <= cpus ? null : `the VM has ${vm.vcpus} virtual CPUs, the host ${cpus} CPUs`
}

/**
 * A busy host is no choice for a start while another one is not busy; slow is better than down, or than staying. Who
 * names a host has chosen.
 */
function cpuOverloaded({ host }: Candidate, request: PlacementRequest, { cluster }: Look): string | null {
  if (request.purpose !== 'start' || request.onlyHostId !== null) return null
  const { overloadMinutes, highUtilization } = cluster.policy.parameters
  const isOverloaded = (each: { overloadedSeconds: number }) => each.overloadedSeconds >= overloadMinutes * 60
  if (!isOverloaded(host)) return null
  if (cluster.hosts.every(each => each.status !== 'up' || isOverloaded(each))) return null
  const minutes = Math.floor(host.overloadedSeconds / 60)
  return `its CPUs are busy by more than ${highUtilization} % since ${minutes} min`
}

function cpuOvercommit({ host, totals }: Candidate, { vm }: PlacementRequest, { cluster }: Look) {
  const most = (host.cpus * cluster.policy.cpuOvercommitPercent) / 100
  if (totals.vcpus + vm.vcpus <= most) return null
  return `${totals.vcpus} of ${most} virtual CPUs are promised already`
}

function machineType({ host }: Candidate, { vm }: PlacementRequest): string | null {
  if (vm.machineType === '' || host.machineTypes.includes(vm.machineType)) return null
  return `QEMU here does not offer machine type ${vm.machineType}`
}

function storage({ host }: Candidate, { vm }: PlacementRequest): string | null {
  for (const id of vm.storageDomainIds) {
    if (!host.storageDomainIds.includes(id)) {
      const missing = vm.storageDomainIds.filter(wanted => !host.storageDomainIds.includes(wanted))
      return `storage domain ${missing.join(', ')} is not active here`
    }
  }
  return null
}

function hostDevices({ host }: Candidate, { vm }: PlacementRequest): string | null {
  for (const device of vm.hostDevices) {
    if (!host.hostDevices.includes(device)) return `device ${device} is missing or taken`
  }
  return null
}

function network({ host }: Candidate, { vm }: PlacementRequest): string | null {
  for (const bridge of vm.bridges) {
    if (!host.bridges.includes(bridge)) {
      return `bridge ${vm.bridges.filter(name => !host.bridges.includes(name)).join(', ')} is missing`
    }
  }
  return null
}

/** A host that swaps more than it has free is short of memory already, whatever was promised. */
function swap({ host }: Candidate): string | null {
  if (host.swapUsed <= host.memoryAvailable) return null
  return `it swaps: ${mib(host.swapUsed)} in swap, ${mib(host.memoryAvailable)} free`
}

/** What is really free now, less what decisions have promised and no measurement shows yet. */
function memory({ host, totals }: Candidate, { vm }: PlacementRequest): string | null {
  if (vm.hugePageKib > 0) return null
  const free = host.memoryAvailable - totals.pendingMemory
  const needed = memoryNeeded(vm)
  return needed <= free ? null : `${mib(needed)} needed with overhead, ${mib(Math.max(0, free))} free`
}

function memoryOvercommit({ host, totals }: Candidate, { vm }: PlacementRequest, { cluster }: Look) {
  const most = (host.memory * cluster.policy.memoryOvercommitPercent) / 100 - hostReserve
  const needed = memoryNeeded(vm)
  if (totals.memory + needed <= most) return null
  return `${mib(totals.memory)} of ${mib(Math.max(0, most))} are promised already, ${mib(needed)} more needed`
}

function hugePages({ host }: Candidate, { vm }: PlacementRequest): string | null {
  if (vm.hugePageKib === 0) return null
  const needed = Math.ceil(vm.memory / (vm.hugePageKib * 1024))
  const free = host.hugePages[String(vm.hugePageKib)] ?? 0
  return needed <= free ? null : `${needed} huge pages of ${vm.hugePageKib} KiB needed, ${free} free`
}

/** Largest node first into the fullest node that still has room: enough for the few nodes that hosts have. */
function numa({ host }: Candidate, { vm }: PlacementRequest): string | null {
  if (vm.numaNodes.length === 0) return null
  const free = host.numaNodes.map(({ memoryFree }) => memoryFree as number)
  for (const needed of vm.numaNodes.toSorted((a, b) => b - a)) {
    let best = -1
    for (let node = 0; node < free.length; node++) {
      const room = free[node] ?? 0
      if (room >= needed && (best < 0 || room < (free[best] ?? 0))) best = node
    }
    if (best < 0) return `no NUMA node has ${mib(needed)} free`
    free[best] = (free[best] ?? 0) - needed
  }
  return null
}
