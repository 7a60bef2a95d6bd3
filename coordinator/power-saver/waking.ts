import { bytes } from '../../common/units.js'
import type { ClusterSnapshot, PlacementRequest } from '../scheduler/cluster.js'
import { place } from '../scheduler/place.js'

// Whether a VM that found no host would fit on one that rests. PURE.

/** As if that host were up, with nothing of its own and with all storage that other hosts have. */
export function fitsAwake(snapshot: ClusterSnapshot, request: PlacementRequest, hostId: string): boolean {
  const { onlyHostId } = request
  if (onlyHostId !== null && onlyHostId !== hostId) return false
  const storageDomainIds = [...new Set(snapshot.hosts.flatMap(host => host.storageDomainIds))]
  const hosts = snapshot.hosts.map(host =>
    host.hostId === hostId
      ? {
          ...{ ...host, status: 'up', problem: '', storageDomainIds },
          ...{ memoryAvailable: host.memory, swapUsed: bytes(0), overloadedSeconds: 0 }
        }
      : host
  )
  return place({ ...snapshot, hosts }, { ...request, onlyHostId: hostId }).kind === 'placed'
}

export type Waited = { kind: 'wakes'; hostId: string; vmName: string } | { kind: 'starts'; vmName: string }

/** What VMs that wait for a host come to: one is woken for the first that it helps; one that has room soon starts. */
export function waitedFor(
  snapshot: ClusterSnapshot,
  waiting: readonly PlacementRequest[],
  restingHostIds: readonly string[]
): Waited | null {
  let starts: Waited | null = null
  for (const request of waiting) {
    const { name: vmName } = request.vm
    if (place(snapshot, request).kind === 'placed') starts ??= { kind: 'starts', vmName }
    else {
      const hostId = restingHostIds.find(id => fitsAwake(snapshot, request, id))
      if (hostId !== undefined) return { kind: 'wakes', hostId, vmName }
    }
  }
  return starts
}
