import type { ClusterSnapshot, PlacementRequest, SchedulableHost } from './cluster.js'
import { filters } from './filters.js'
import { factorsOf, weights, type WeightName } from './weights.js'

/** Why a host was or was not chosen. */
export type Verdict = {
  hostId: string
  hostName: string
  /** The filter that refused it, or null when it could run the VM. */
  filter: string | null
  reason: string
  /** Sum of factor x weight, lower is better; 0 for a refused host. */
  score: number
  scores: Partial<Record<WeightName, number>>
}

export type Placement =
  { kind: 'placed'; hostId: string; verdicts: Verdict[] } | { kind: 'none'; verdicts: Verdict[] }

/** Filters, then weighs. The same snapshot and request give the same host: ties go to the lower id. */
export function place(cluster: ClusterSnapshot, request: PlacementRequest): Placement {
  const verdicts = cluster.hosts.map(host => judge(host, request, cluster))
  const [best] = verdicts
    .filter(({ filter }) => filter === null)
    .toSorted((a, b) => a.score - b.score || (a.hostId < b.hostId ? -1 : 1))
  return best ? { kind: 'placed', hostId: best.hostId, verdicts } : { kind: 'none', verdicts }
}

function judge(host: SchedulableHost, request: PlacementRequest, cluster: ClusterSnapshot): Verdict {
  const { hostId, name: hostName } = host
  for (const [filter, refuse] of filters) {
    const reason = refuse(host, request, cluster)
    if (reason !== null) return { hostId, hostName, filter, reason, score: 0, scores: {} }
  }
  const factors = factorsOf(cluster)
  const scores: Partial<Record<WeightName, number>> = {}
  let score = 0
  for (const name of Object.keys(weights).filter(isWeight)) {
    const value = weights[name](host, request)
    scores[name] = value
    score += factors[name] * value
  }
  const reason = `CPU ${percent(scores.cpu)} and memory ${percent(scores.memory)} with the VM`
  return { hostId, hostName, filter: null, reason, score, scores }
}

const isWeight = (name: string): name is WeightName => Object.hasOwn(weights, name)
const percent = (part = 0) => `${(100 * part).toFixed(1)} %`
