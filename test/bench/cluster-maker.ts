import { GiB, MiB } from '../../common/units.js'
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
} from '../../coordinator/scheduler/cluster.js'
import type { Movable } from '../../coordinator/balance/plan.js'

// Clusters for benchmarks: the same seed gives the same cluster.

/** Numbers from 0 to 1 that look like chance (mulberry32). */
export function chance(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

export const pick = <T>(random: () => number, items: readonly T[]): T => {
  const found = items[Math.floor(random() * items.length)]
  if (found === undefined) throw new Error('nothing to pick from')
  return found
}

const id = (kind: string, number: number) => `${kind}-${String(number).padStart(5, '0')}`

export const benchHost = (number: number): SchedulableHost => ({
  ...emptyHost,
  ...{ hostId: id('host', number), name: id('host', number), cpus: 32 },
  ...{ memory: GiB(128), memoryAvailable: GiB(128), cpuModel: 'EPYC', usableCpuModels: ['EPYC', 'qemu64'] },
  ...{ machineTypes: ['pc-q35-7.2'], bridges: ['br0', 'br1'], isKvm: true, hasHaLeases: true, hasUefi: true },
  storageDomainIds: ['s1', 's2', 's3']
})

const memories = [MiB(1024), MiB(2048), MiB(4096), MiB(8192)]

export const benchVm = (number: number, random: () => number): WantedVm => {
  const vcpus = pick(random, [1, 2, 4])
  return {
    ...emptyVm,
    ...{ vmId: id('vm', number), name: id('vm', number), vcpus, memory: pick(random, memories) },
    ...{ cpuModel: 'qemu64', machineType: 'pc-q35-7.2', bridges: [pick(random, ['br0', 'br1'])] },
    ...{ storageDomainIds: [pick(random, ['s1', 's2', 's3'])], isHa: random() < 0.3, needsLease: true },
    cpuPercent: Math.round(vcpus * 25 * random())
  }
}

export const asLoad = ({ vmId, vcpus, memory, cpuPercent, isHa }: WantedVm): VmLoad => {
  return { vmId, vcpus, memory, cpuPercent, isHa }
}

export const requestFor = (vm: WantedVm, change: Partial<PlacementRequest> = {}): PlacementRequest => ({
  ...{ purpose: 'start', vm, currentHostId: null, preferredHostId: null, onlyHostId: null },
  ...{ excluded: new Map(), isRelaxed: false },
  ...change
})

/** VMs crowded on the first hosts, as a cluster is after it grew. */
export function unevenCluster(hosts: number, vms: number, seed: number) {
  const random = chance(seed)
  const running: WantedVm[][] = Array.from({ length: hosts }, () => [])
  const memory = new Float64Array(hosts)
  for (let number = 0; number < vms; number++) {
    const vm = benchVm(number, random)
    for (;;) {
      const bell = random() + random() + random() - 1.5
      const at = Math.min(hosts - 1, Math.floor(Math.abs(bell) * 0.9 * hosts))
      if ((memory[at] ?? 0) + vm.memory > GiB(110)) continue
      memory[at] = (memory[at] ?? 0) + vm.memory
      running[at]?.push(vm)
      break
    }
  }
  const snapshot: ClusterSnapshot = {
    ...{ policy: defaultPolicy, affinity: [] },
    hosts: running.map((own, at) => ({ ...benchHost(at), running: own.map(asLoad) }))
  }
  return { snapshot, movables: movablesOf(running) }
}

export const movablesOf = (running: readonly WantedVm[][]): Movable[] =>
  running.flatMap((vms, at) =>
    vms.map(vm => {
      const currentHostId = id('host', at)
      return { request: { ...requestFor(vm, { purpose: 'migrate' }), currentHostId }, secondsSinceMove: null }
    })
  )

/** Small groups of VMs that should be apart, for one VM in fifty. */
export function groupsFor(vms: readonly WantedVm[]): AffinityGroup[] {
  const grouped = vms.filter((_, at) => at % 50 === 0)
  return Array.from({ length: Math.floor(grouped.length / 4) }, (_, at) => ({
    ...{ groupId: `g${at}`, name: `g${at}`, priority: at % 3, vmRule: 'negative', vmIsHard: at % 2 === 0 },
    ...{ hostRule: 'none', hostIsHard: false, hostIds: [] },
    vmIds: grouped.slice(4 * at, 4 * at + 4).map(({ vmId }) => vmId)
  }))
}
