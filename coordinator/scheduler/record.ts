import { placeAllIn } from './batch.js'
import type { ClusterSnapshot, PlacementRequest, SchedulableHost } from './cluster.js'
import { lookAt, lookWith, type Look, type Totals } from './look.js'
import type { Placement } from './place.js'

// A decision as it is kept: everything that it was made from, so that it can be made again. VMs on hosts are
// added up; of the VMs themselves only those remain that a rule of affinity is about. PURE.

type RecordedHost = Omit<SchedulableHost, 'running' | 'pending'> & { totals: Totals }
type RecordedRequest = Omit<PlacementRequest, 'excluded'> & { excluded: Record<string, string> }

export type DecisionRecord = {
  version: 1
  policy: ClusterSnapshot['policy']
  hosts: RecordedHost[]
  affinity: ClusterSnapshot['affinity']
  /** Where the members of the groups are. */
  members: Array<[vmId: string, hostId: string]>
  requests: RecordedRequest[]
}

export function recordOf(cluster: ClusterSnapshot, requests: readonly PlacementRequest[]): DecisionRecord {
  const look = lookAt(cluster)
  const asked = new Set(requests.map(({ vm }) => vm.vmId))
  // Groups that none of these VMs is in have no say.
  const affinity = cluster.affinity.filter(({ vmIds }) => vmIds.some(id => asked.has(id)))
  const members = affinity.flatMap(({ vmIds }) =>
    vmIds.flatMap(id => {
      const hostId = look.hostOfVm.get(id)
      return hostId === undefined ? [] : [[id, hostId] as [string, string]]
    })
  )
  return {
    version: 1,
    policy: cluster.policy,
    hosts: look.candidates.map(({ host: { running: _, pending: __, ...host }, totals }) => {
      return { ...host, totals: { ...totals } }
    }),
    affinity,
    members,
    requests: requests.map(({ excluded, ...request }) => ({
      ...request,
      excluded: Object.fromEntries(excluded)
    }))
  }
}

function lookOf({ policy, hosts, affinity, members }: DecisionRecord): Look {
  const candidates = hosts.map(({ totals, ...host }) => ({
    host: { ...host, running: [], pending: [] },
    totals: { ...totals }
  }))
  const cluster = { policy, affinity, hosts: candidates.map(({ host }) => host) }
  return lookWith(cluster, candidates, new Map(members))
}

export type Replayed = { hostId: string | null; placement: Placement }

/** The decision about one of the requests, made again with the rules of today. */
export function replay(record: DecisionRecord, ordinal = 0): Replayed | null {
  const requests = record.requests.map(({ excluded, ...request }) => ({
    ...request,
    excluded: new Map(Object.entries(excluded))
  }))
  const { placements, explained } = placeAllIn(lookOf(record), requests, { explain: ordinal })
  const placement = placements[ordinal]
  return placement && explained ? { hostId: placement.hostId, placement: explained } : null
}
