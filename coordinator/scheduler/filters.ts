import type { ClusterSnapshot, PlacementRequest, SchedulableHost } from './cluster.js'
import { committedMemory, hostReserve, memoryNeeded, pendingMemory, promisedCpus } from './cluster.js'

/** Why a host is out, in words with numbers, or null when it passes. */
type Filter = (host: SchedulableHost, request: PlacementRequest, cluster: ClusterSnapshot) => string | null

const mib = (size: number) => `${Math.ceil(size / 2 ** 20)} MiB`

/** In this order; the first that refuses a host is the reason that people see. */
export const filters: ReadonlyArray<readonly [name: string, filter: Filter]> = [
  [
    'named-host',
    ({ hostId }, { onlyHostId }) =>
      onlyHostId === null || onlyHostId === hostId ? null : 'another host was named'
  ],
  [
    'status',
    ({ status, problem }) => (status === 'up' && problem === '' ? null : problem || `the host is ${status}`)
  ],
  ['failed-here', ({ hostId }, { excluded }) => excluded.get(hostId) ?? null],
  ['current-host', ({ hostId }, { currentHostId }) => (hostId === currentHostId ? 'the VM runs here' : null)],
  ['pinned-hosts', pinned],
  ['cpu-model', cpuModel],
  ['cpu-topology', cpuTopology],
  ['cpu-overcommit', cpuOvercommit],
  ['machine-type', machineType],
  [
    'firmware',
    (host, { vm }) => (vm.needsUefi && !host.hasUefi ? 'UEFI firmware for guests is not installed' : null)
  ],
  ['storage', storage],
  [
    'lease',
    (host, { vm }) =>
      vm.needsLease && !host.hasHaLeases ? 'the host offers no HA leases (no working watchdog)' : null
  ],
  ['network', network],
  ['memory', memory],
  ['memory-overcommit', memoryOvercommit]
]

function pinned({ hostId }: SchedulableHost, { vm }: PlacementRequest): string | null {
  if (vm.pinnedHostIds.length === 0 || vm.pinnedHostIds.includes(hostId)) return null
  return 'the VM is pinned to other hosts'
}

/** A named model must be usable here; without one, a migration needs the very same CPU and accelerator. */
function cpuModel(
  host: SchedulableHost,
  { vm, currentHostId }: PlacementRequest,
  { hosts }: ClusterSnapshot
) {
  const current = hosts.find(({ hostId }) => hostId === currentHostId)
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

function cpuTopology({ cpus }: SchedulableHost, { vm }: PlacementRequest): string | null {
  return vm.vcpus <= cpus ? null : `the VM has ${vm.vcpus} virtual CPUs, the host ${cpus} CPUs`
}

function cpuOvercommit(host: SchedulableHost, { vm }: PlacementRequest, { policy }: ClusterSnapshot) {
  const most = (host.cpus * policy.cpuOvercommitPercent) / 100
  const promised = promisedCpus(host)
  return promised + vm.vcpus <= most ? null : `${promised} of ${most} virtual CPUs are promised already`
}

function machineType(host: SchedulableHost, { vm }: PlacementRequest): string | null {
  if (vm.machineType === '' || host.machineTypes.includes(vm.machineType)) return null
  return `QEMU here does not offer machine type ${vm.machineType}`
}

function storage(host: SchedulableHost, { vm }: PlacementRequest): string | null {
  const missing = vm.storageDomainIds.filter(id => !host.storageDomainIds.includes(id))
  return missing.length === 0 ? null : `storage domain ${missing.join(', ')} is not active here`
}

function network(host: SchedulableHost, { vm }: PlacementRequest): string | null {
  const missing = vm.bridges.filter(name => !host.bridges.includes(name))
  return missing.length === 0 ? null : `bridge ${missing.join(', ')} is missing`
}

/** What is really free now, less what decisions have promised and no measurement shows yet. */
function memory(host: SchedulableHost, { vm }: PlacementRequest): string | null {
  const free = host.memoryAvailable - pendingMemory(host)
  const needed = memoryNeeded(vm)
  return needed <= free ? null : `${mib(needed)} needed with overhead, ${mib(Math.max(0, free))} free`
}

function memoryOvercommit(host: SchedulableHost, { vm }: PlacementRequest, { policy }: ClusterSnapshot) {
  const most = (host.memory * policy.memoryOvercommitPercent) / 100 - hostReserve
  const committed = committedMemory(host)
  const needed = memoryNeeded(vm)
  if (committed + needed <= most) return null
  return `${mib(committed)} of ${mib(Math.max(0, most))} are promised already, ${mib(needed)} more needed`
}
