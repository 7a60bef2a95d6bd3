import type { ClusterSnapshot } from '../scheduler/cluster.js'
import { lookAt, type Look } from '../scheduler/look.js'
import { planBalance, type BalancePlan, type Movable } from './plan.js'

// Whether a cluster is so uneven that something should move now. Hysteresis: nothing begins below the upper
// bound, and what has begun goes on to the lower one. PURE.

export type BalanceInput = {
  snapshot: ClusterSnapshot
  movables: readonly Movable[]
  /** Hosts that take part in a migration now. */
  busyHostIds: ReadonlySet<string>
  /** Migrations of this cluster that are under way. */
  migrations: number
  /** Whether the last decision was to move something. */
  isAtIt: boolean
}

export type BalanceDecision = { isAtIt: boolean; plan: BalancePlan | null; reason: string }

/** Unevenness (balance/plan.ts) at which balancing begins, and at which it ends. */
export const beginsAbove = 0.25
export const endsBelow = 0.12

export function decideBalance(input: BalanceInput): BalanceDecision {
  const { snapshot, movables, busyHostIds, migrations, isAtIt } = input
  const { balancer, parameters } = snapshot.policy
  if (balancer !== 'even' && balancer !== 'even-guests') return nothing('the policy balances nothing')
  const look = lookAt(snapshot)
  const up = look.candidates.filter(({ host }) => host.status === 'up')
  if (up.length < 2) return nothing('fewer than two hosts are up')
  const room = parameters.movesAtOnce - migrations
  if (room <= 0) return { isAtIt, plan: null, reason: `${migrations} migrations are under way` }

  const countsGuests = balancer === 'even-guests'
  const options = { mostMoves: room, busyHostIds, countsGuests }
  const plan = planBalance(snapshot, movables, options)
  const trouble = countsGuests ? crowded(look, parameters) : overloaded(look)
  const isUneven = !countsGuests && plan.scoreBefore > (isAtIt ? endsBelow : beginsAbove)
  if (trouble === null && !isUneven) {
    return nothing(`unevenness is ${plan.scoreBefore.toFixed(3)}, no host is overloaded`)
  }
  const reason = trouble ?? `unevenness is ${plan.scoreBefore.toFixed(3)}`
  if (plan.moves.length === 0) return nothing(`${reason}; ${plan.summary}`)
  return { isAtIt: true, plan, reason: `${reason}; ${plan.summary}` }
}

const nothing = (reason: string): BalanceDecision => ({ isAtIt: false, plan: null, reason })

/** A host whose CPUs were too busy for long enough, or whose memory is short by the policy's own number. */
function overloaded({ candidates, cluster }: Look): string | null {
  const { overloadMinutes, memoryLowMib, vcpusPerCpu } = cluster.policy.parameters
  for (const { host, totals } of candidates) {
    if (host.status !== 'up' || totals.vms === 0) continue
    if (host.overloadedSeconds >= overloadMinutes * 60) return `host ${host.name} is overloaded`
    const free = host.memory - totals.memory
    if (memoryLowMib > 0 && totals.vms > 1 && free < memoryLowMib * 2 ** 20) {
      return `host ${host.name} has ${Math.floor(free / 2 ** 20)} MiB of memory left`
    }
    if (vcpusPerCpu > 0 && totals.vcpus > vcpusPerCpu * host.cpus) {
      return `host ${host.name} has ${totals.vcpus} virtual CPUs on ${host.cpus}`
    }
  }
  return null
}

/** Guests count when the fullest host has many, and far more than the emptiest. */
function crowded({ candidates }: Look, parameters: ClusterSnapshot['policy']['parameters']): string | null {
  const counts = candidates
    .filter(({ host }) => host.status === 'up')
    .map(({ host, totals }) => totals.vms + parameters.managerGrace * host.managedStorageDomains)
  const [most, least] = [Math.max(...counts), Math.min(...counts)]
  if (most < parameters.highVmCount || most - least < parameters.migrationThreshold) return null
  return `one host has ${most} VMs and another ${least}`
}
