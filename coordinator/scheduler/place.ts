import type { ClusterSnapshot, PlacementRequest } from './cluster.js'
import { judge, rank, unitsOf, type Units, type Verdict } from './judge.js'
import { lookAt, type Look } from './look.js'

export type { Verdict } from './judge.js'

export type Placement =
  { kind: 'placed'; hostId: string; verdicts: Verdict[] } | { kind: 'none'; verdicts: Verdict[] }

/** Filters, then weighs. The same snapshot and request give the same host: ties go to the lower id. */
export function place(cluster: ClusterSnapshot, request: PlacementRequest): Placement {
  return placeIn(lookAt(cluster), unitsOf(cluster.policy), request)
}

/** The same in a look that a plan has changed. */
export function placeIn(look: Look, units: Units, request: PlacementRequest): Placement {
  const judged = look.candidates.map(candidate => judge(units, candidate, request, look))
  const verdicts = look.cluster.policy.selector === 'ranked' ? rank(units, judged) : judged
  let best: Verdict | null = null
  for (const verdict of verdicts) {
    if (verdict.filter === null && (best === null || isBetter(verdict, best))) best = verdict
  }
  return best ? { kind: 'placed', hostId: best.hostId, verdicts } : { kind: 'none', verdicts }
}

const isBetter = (a: Verdict, b: Verdict) => a.score < b.score || (a.score === b.score && a.hostId < b.hostId)
