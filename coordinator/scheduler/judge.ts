import type { PlacementRequest } from './cluster.js'
import { alwaysFilters, policyFilters, type Filter } from './filters.js'
import type { Candidate, Look } from './look.js'
import { weightNames, type Policy, type WeightName } from './policy.js'
import { weights, type Weight } from './weights.js'

/** Why a host was or was not chosen. */
export type Verdict = {
  hostId: string
  hostName: string
  /** The filter that refused it, or null when it could run the VM. */
  filter: string | null
  reason: string
  /** Lower is better; 0 for a refused host. */
  score: number
  /** What each unit said, before its factor. */
  scores: Partial<Record<WeightName, number>>
}

/** The units of a policy, looked up once. */
export type Units = {
  filters: ReadonlyArray<readonly [name: string, filter: Filter]>
  weights: ReadonlyArray<readonly [name: WeightName, factor: number, weight: Weight]>
}

export function unitsOf(policy: Policy): Units {
  return {
    filters: [...alwaysFilters, ...policy.filters.map(name => [name, policyFilters[name]] as const)],
    weights: weightNames.flatMap(name => {
      const factor = policy.weights[name] ?? 0
      return factor === 0 ? [] : [[name, factor, weights[name]] as const]
    })
  }
}

/** Filters whose answer depends on what VMs take: all others say the same as long as a look lives. */
const moving: ReadonlySet<string> = new Set(['cpu-overcommit', 'memory', 'memory-overcommit'])
/** Units that look at where others are. */
const affinity: ReadonlySet<string> = new Set(['affinity-hosts', 'affinity-vms'])

/** The filters that a plan asks once, the units that it asks again after each change, and those of affinity. */
export function splitUnits({ filters, weights: all }: Units): {
  fixed: Units
  again: Units
  affinity: Units
} {
  const without = all.filter(([name]) => !affinity.has(name))
  return {
    fixed: { filters: filters.filter(([name]) => !moving.has(name) && !affinity.has(name)), weights: [] },
    again: { filters: filters.filter(([name]) => moving.has(name)), weights: without },
    affinity: {
      filters: filters.filter(([name]) => affinity.has(name)),
      weights: all.filter(([name]) => affinity.has(name))
    }
  }
}

/** The score alone, added to what other units said before; null for a host that is refused: the quick way, for plans. */
export function scoreOf(
  units: Units,
  candidate: Candidate,
  request: PlacementRequest,
  look: Look,
  before = 0
): number | null {
  // By index: taking tuples apart costs more than most units do, and this runs millions of times.
  for (const unit of units.filters) {
    if (unit[1](candidate, request, look) !== null) return null
  }
  let score = before
  for (const unit of units.weights) score += unit[1] * unit[2](candidate, request, look)
  return score
}

/** The whole story about one host. */
export function judge(units: Units, candidate: Candidate, request: PlacementRequest, look: Look): Verdict {
  const { hostId, name: hostName } = candidate.host
  for (const [filter, refuse] of units.filters) {
    const reason = refuse(candidate, request, look)
    if (reason !== null) return { hostId, hostName, filter, reason, score: 0, scores: {} }
  }
  const scores: Partial<Record<WeightName, number>> = {}
  let score = 0
  for (const [name, factor, weigh] of units.weights) {
    const value = weigh(candidate, request, look)
    scores[name] = value
    score += factor * value
  }
  const cpu = weights['cpu-even'](candidate, request, look)
  const memory = weights['memory-even'](candidate, request, look)
  const reason = `CPU ${percent(cpu)} and memory ${percent(memory)} with the VM`
  return { hostId, hostName, filter: null, reason, score, scores }
}

const percent = (part: number) => `${(100 * part).toFixed(1)} %`

/** Ranks instead of sums: total = sum of factor x number of hosts that are no better. Scores become its negative. */
export function rank(units: Units, verdicts: readonly Verdict[]): Verdict[] {
  const able = verdicts.filter(({ filter }) => filter === null)
  const totals = new Map<string, number>()
  for (const [name, factor] of units.weights) {
    const values = able.map(({ scores }) => scores[name] ?? 0).toSorted((a, b) => a - b)
    for (const { hostId, scores } of able) {
      const noBetter = values.length - lowerBound(values, scores[name] ?? 0)
      totals.set(hostId, (totals.get(hostId) ?? 0) + factor * noBetter)
    }
  }
  return verdicts.map(verdict =>
    verdict.filter === null ? { ...verdict, score: -(totals.get(verdict.hostId) ?? 0) } : verdict
  )
}

/** How many of the sorted values are less. */
function lowerBound(sorted: readonly number[], value: number): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sorted[middle] ?? 0) < value) low = middle + 1
    else high = middle
  }
  return low
}
