import { brokenHostRule, brokenVmRule, softScore } from '../affinity/rules.js'
import { cpuOf, memoryNeeded, type PlacementRequest } from './cluster.js'
import type { Candidate, Look } from './look.js'
import type { WeightName } from './policy.js'

/** How unwelcome the VM is on the host: 0 is best, 1 is full, more is worse. */
export type Weight = (candidate: Candidate, request: PlacementRequest, look: Look) => number

const cpuWith = ({ host, totals }: Candidate, { vm }: PlacementRequest) =>
  (totals.cpu + cpuOf(vm)) / (100 * host.cpus)
const memoryWith = ({ host, totals }: Candidate, { vm }: PlacementRequest) =>
  (totals.memory + memoryNeeded(vm)) / host.memory

/** Worse than any host that is merely empty. */
const tooFull = 2

export const weights: Readonly<Record<WeightName, Weight>> = {
  'cpu-even': (candidate, request, { cluster }) => {
    const { vcpusPerCpu } = cluster.policy.parameters
    const { host, totals } = candidate
    const isCrowded = vcpusPerCpu > 0 && totals.vcpus + request.vm.vcpus > vcpusPerCpu * host.cpus
    return cpuWith(candidate, request) * (isCrowded ? 1000 : 1)
  },
  'memory-even': memoryWith,
  'guests-even': ({ totals, host }, _, { cluster }) => {
    const { managerGrace, highVmCount } = cluster.policy.parameters
    return (totals.vms + managerGrace * host.managedStorageDomains) / highVmCount
  },
  'cpu-full': (candidate, request, { cluster }) => {
    const with_ = cpuWith(candidate, request)
    return with_ > cluster.policy.parameters.highUtilization / 100 ? tooFull : 1 - with_
  },
  'memory-full': (candidate, request, { cluster }) => {
    const { host, totals } = candidate
    const free = host.memory - totals.memory - memoryNeeded(request.vm)
    if (free < cluster.policy.parameters.memoryLowMib * 2 ** 20) return tooFull
    return 1 - memoryWith(candidate, request)
  },
  'preferred-host': ({ host }, { preferredHostId }) =>
    preferredHostId === null || preferredHostId === host.hostId ? 0 : 1,
  'affinity-hosts': ({ host }, { vm }, look) => {
    const groups = look.groupsOf.get(vm.vmId)
    return groups === undefined
      ? 0
      : softScore(groups, group => !group.hostIsHard && brokenHostRule(group, host.hostId) !== null)
  },
  'affinity-vms': ({ host }, { vm, isRelaxed }, look) => {
    const groups = look.groupsOf.get(vm.vmId)
    return groups === undefined
      ? 0
      : softScore(
          groups,
          group => (isRelaxed || !group.vmIsHard) && brokenVmRule(look, group, vm.vmId, host.hostId) !== null
        )
  },
  'ha-spread': ({ totals }, { vm }, look) => (vm.isHa ? totals.haVms / look.haVms : 0)
}
