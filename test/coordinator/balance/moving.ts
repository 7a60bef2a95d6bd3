import type { Move, Movable } from '../../../coordinator/balance/plan.js'
import type { ClusterSnapshot, SchedulableHost, WantedVm } from '../../../coordinator/scheduler/cluster.js'
import { request, vm } from '../scheduler/make.js'

// Running VMs of a snapshot as they could move, and a snapshot in which they have moved.

/** All running VMs; what is said of a VM beside its load comes from `about`. */
export const movablesOf = (
  { hosts }: ClusterSnapshot,
  about: (vmId: string) => Partial<WantedVm> = () => ({})
): Movable[] =>
  hosts.flatMap(({ hostId, running }) =>
    running.map(load => ({
      request: {
        ...request({ purpose: 'migrate' }, { ...vm, ...load, name: load.vmId, ...about(load.vmId) }),
        currentHostId: hostId
      },
      secondsSinceMove: null
    }))
  )

/** All moves are over; what a VM takes and leaves shows in the measurements. */
export function moved(snapshot: ClusterSnapshot, moves: readonly Move[]): ClusterSnapshot {
  const loads = new Map(
    snapshot.hosts.flatMap(({ running }) => running.map(load => [load.vmId, load] as const))
  )
  const hostOf = new Map(
    snapshot.hosts.flatMap(({ hostId, running }) => running.map(({ vmId }) => [vmId, hostId]))
  )
  for (const { vmId, toHostId } of moves) hostOf.set(vmId, toHostId)
  return {
    ...snapshot,
    hosts: snapshot.hosts.map((host): SchedulableHost => {
      const running = [...loads.values()].filter(({ vmId }) => hostOf.get(vmId) === host.hostId)
      return { ...host, running }
    })
  }
}
