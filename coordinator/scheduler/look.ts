import {
  cpuOf,
  memoryNeeded,
  type AffinityGroup,
  type ClusterSnapshot,
  type SchedulableHost
} from './cluster.js'

// A snapshot, added up: what filters and weights read, and what a plan changes while it is made. The snapshot
// itself stays as it is.

/** What all VMs of a host take together. */
export type Totals = {
  memory: number
  /** Promised, and not in any measurement yet. */
  pendingMemory: number
  vcpus: number
  /** Percent of one CPU. */
  cpu: number
  vms: number
  haVms: number
  largestVcpus: number
}

export type Candidate = { readonly host: SchedulableHost; readonly totals: Totals }

export type Look = {
  readonly cluster: ClusterSnapshot
  readonly candidates: readonly Candidate[]
  readonly byId: ReadonlyMap<string, Candidate>
  /** Where each VM of the cluster is, pending ones too. */
  readonly hostOfVm: Map<string, string>
  readonly groupsOf: ReadonlyMap<string, readonly AffinityGroup[]>
  /** Members of each group on each host, by group and host. */
  readonly membersOn: ReadonlyMap<string, Map<string, number>>
  /** HA VMs of the whole cluster when the look was taken, at least 1. */
  readonly haVms: number
}

export type Taken = {
  vmId: string
  vcpus: number
  memory: SchedulableHost['memory']
  cpuPercent: number | null
  isHa: boolean
}

export function lookAt(cluster: ClusterSnapshot): Look {
  const hostOfVm = new Map<string, string>()
  const candidates = cluster.hosts.map(host => {
    for (const { vmId } of host.running) hostOfVm.set(vmId, host.hostId)
    for (const { vmId } of host.pending) hostOfVm.set(vmId, host.hostId)
    return { host, totals: totalsOf(host) }
  })
  return lookWith(cluster, candidates, hostOfVm)
}

/** The same from totals that are known already. */
export function lookWith(
  cluster: ClusterSnapshot,
  candidates: readonly Candidate[],
  hostOfVm: Map<string, string>
): Look {
  const groupsOf = new Map<string, AffinityGroup[]>()
  for (const group of cluster.affinity) {
    for (const vmId of group.vmIds) groupsOf.set(vmId, [...(groupsOf.get(vmId) ?? []), group])
  }
  const membersOn = new Map<string, Map<string, number>>()
  for (const { groupId, vmIds } of cluster.affinity) {
    const counts = new Map<string, number>()
    for (const vmId of vmIds) count(counts, hostOfVm.get(vmId), 1)
    membersOn.set(groupId, counts)
  }
  return {
    ...{ cluster, candidates, membersOn },
    byId: new Map(candidates.map(candidate => [candidate.host.hostId, candidate])),
    hostOfVm,
    groupsOf,
    haVms: Math.max(
      1,
      candidates.reduce((sum, { totals }) => sum + totals.haVms, 0)
    )
  }
}

export function totalsOf(host: SchedulableHost): Totals {
  const totals: Totals = {
    ...{ memory: 0, pendingMemory: 0, vcpus: 0, vms: 0, haVms: 0, largestVcpus: 0 },
    cpu: 100 * host.managedStorageDomains
  }
  for (const vm of host.running) add(totals, vm, 1)
  for (const vm of host.pending) {
    add(totals, vm, 1)
    totals.pendingMemory += memoryNeeded(vm)
  }
  return totals
}

/** A VM comes to a host, as far as the plan goes. */
export function put(look: Look, hostId: string, vm: Taken): void {
  const candidate = look.byId.get(hostId)
  if (!candidate) return
  add(candidate.totals, vm, 1)
  candidate.totals.pendingMemory += memoryNeeded(vm)
  look.hostOfVm.set(vm.vmId, hostId)
  for (const { groupId } of look.groupsOf.get(vm.vmId) ?? []) count(look.membersOn.get(groupId), hostId, 1)
}

/**
 * A VM leaves its host, as far as the plan goes. What is free there by measurement stays as it was: the room
 * is there only once the VM has really gone. One that a plan has put there gives back what was promised.
 */
export function take(look: Look, vm: Taken, wasPutHere: boolean): void {
  const hostId = look.hostOfVm.get(vm.vmId)
  const candidate = hostId === undefined ? undefined : look.byId.get(hostId)
  if (!candidate) return
  add(candidate.totals, vm, -1)
  if (wasPutHere) candidate.totals.pendingMemory -= memoryNeeded(vm)
  look.hostOfVm.delete(vm.vmId)
  for (const { groupId } of look.groupsOf.get(vm.vmId) ?? []) count(look.membersOn.get(groupId), hostId, -1)
}

function add(totals: Totals, vm: Taken, sign: 1 | -1): void {
  totals.memory += sign * memoryNeeded(vm)
  totals.vcpus += sign * vm.vcpus
  totals.cpu += sign * cpuOf(vm)
  totals.vms += sign
  if (vm.isHa) totals.haVms += sign
  // A host that lost its largest VM is taken to be as busy as before: the filter errs to the safe side.
  if (sign === 1) totals.largestVcpus = Math.max(totals.largestVcpus, vm.vcpus)
}

function count(counts: Map<string, number> | undefined, hostId: string | undefined, change: 1 | -1): void {
  if (!counts || hostId === undefined) return
  const after = (counts.get(hostId) ?? 0) + change
  if (after > 0) counts.set(hostId, after)
  else counts.delete(hostId)
}
