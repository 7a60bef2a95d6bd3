import type { ClusterSnapshot, PlacementRequest, SchedulableHost } from './cluster.js'
import { committedMemory, cpuLoad, memoryNeeded } from './cluster.js'

/** How full the host would be with the VM, 0 (empty) to 1 (full) and beyond: lower is better. */
type Weight = (host: SchedulableHost, request: PlacementRequest) => number

export const weights = {
  cpu: (host, { vm }) => (cpuLoad(host) + 10 * vm.vcpus) / (100 * host.cpus),
  memory: (host, { vm }) => (committedMemory(host) + memoryNeeded(vm)) / host.memory,
  preferredHost: ({ hostId }, { preferredHostId }) =>
    preferredHostId === null || preferredHostId === hostId ? 0 : 1
} as const satisfies Record<string, Weight>

export type WeightName = keyof typeof weights

/** A preference decides unless the preferred host would be much fuller than another. */
const preferredHostFactor = 5

export function factorsOf({ policy }: ClusterSnapshot): Record<WeightName, number> {
  return { cpu: policy.cpuFactor, memory: policy.memoryFactor, preferredHost: preferredHostFactor }
}
