import type { Move, Movable } from '../balance/plan.js'
import type { AffinityGroup, ClusterSnapshot } from '../scheduler/cluster.js'
import { lookAt, put, take, type Look } from '../scheduler/look.js'
import { Planner } from '../scheduler/planner.js'
import { brokenHostRule, brokenVmRule } from './rules.js'

// Which rules of affinity are broken, and which moves repair them, hard ones first. PURE.

export type BrokenRule = {
  group: AffinityGroup
  /** Host rules before VM rules, hard before soft. */
  level: 'hard-host' | 'hard-vm' | 'soft-host' | 'soft-vm'
  vmId: string
  hostId: string
  text: string
}

const levels = ['hard-host', 'hard-vm', 'soft-host', 'soft-vm'] as const

export function brokenRules(look: Look): BrokenRule[] {
  const found: BrokenRule[] = []
  for (const group of look.cluster.affinity) {
    for (const vmId of group.vmIds) {
      const hostId = look.hostOfVm.get(vmId)
      if (hostId === undefined) continue
      const byHost = brokenHostRule(group, hostId)
      if (byHost !== null) {
        const level = group.hostIsHard ? 'hard-host' : 'soft-host'
        found.push({ group, level, vmId, hostId, text: byHost })
      }
      const byVm = brokenVmRule(look, group, vmId, hostId) ?? isApart(look, group, hostId)
      if (byVm !== null) {
        found.push({ group, level: group.vmIsHard ? 'hard-vm' : 'soft-vm', vmId, hostId, text: byVm })
      }
    }
  }
  return found.toSorted(
    (a, b) =>
      levels.indexOf(a.level) - levels.indexOf(b.level) ||
      b.group.priority - a.group.priority ||
      (a.vmId < b.vmId ? -1 : 1)
  )
}

/** A group that should be together and has two camps: all but the largest are to move, of equal ones the later. */
function isApart(look: Look, group: AffinityGroup, hostId: string): string | null {
  if (group.vmRule !== 'positive') return null
  const camps = [...(look.membersOn.get(group.groupId) ?? [])]
  if (camps.length < 2) return null
  const [home] = camps.toSorted(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
  return home?.[0] === hostId ? null : `affinity group ${group.name} keeps its VMs together`
}

export type Enforcement = { moves: Move[]; broken: BrokenRule[]; unsolved: BrokenRule[] }

/** Moves that repair, at most so many; each must break nothing of the same weight or more. */
export function decideEnforcement(
  snapshot: ClusterSnapshot,
  movables: readonly Movable[],
  mostMoves: number,
  busyHostIds: ReadonlySet<string> = new Set()
): Enforcement {
  const look = lookAt(snapshot)
  const byVm = new Map(movables.map(movable => [movable.request.vm.vmId, movable]))
  const broken = brokenRules(look)
  const unsolved: BrokenRule[] = []
  const moves: Move[] = []
  const tried = new Set<string>()
  const planner = new Planner(look)
  for (const rule of broken) {
    if (moves.length >= mostMoves) break
    const movable = byVm.get(rule.vmId)
    if (tried.has(rule.vmId)) continue
    tried.add(rule.vmId)
    if (busyHostIds.has(rule.hostId)) continue
    const move = movable && repair(planner, rule, movable, busyHostIds)
    if (move) moves.push(move)
    else unsolved.push(rule)
  }
  return { moves, broken, unsolved }
}

function repair(
  planner: Planner,
  rule: BrokenRule,
  { request }: Movable,
  busyHostIds: ReadonlySet<string>
): Move | null {
  const { look } = planner
  const before = weightOf(brokenRules(look))
  for (const hostId of targets(look, rule, busyHostIds)) {
    // The VM itself must not count where it is: the filters ask about a group without it.
    const asked = { ...request, onlyHostId: hostId, isRelaxed: rule.level.endsWith('-vm') }
    if (planner.find(asked) !== hostId) continue
    take(look, request.vm, false)
    put(look, hostId, request.vm)
    if (isLess(weightOf(brokenRules(look)), before)) {
      const { vmId, name: vmName } = request.vm
      return { vmId, vmName, fromHostId: rule.hostId, toHostId: hostId, reason: rule.text }
    }
    take(look, request.vm, true)
    put(look, rule.hostId, request.vm)
  }
  return null
}

/** Hosts with the other members first for VMs that belong together, otherwise all, emptiest first. */
function targets({ candidates, membersOn }: Look, rule: BrokenRule, busy: ReadonlySet<string>): string[] {
  const members = membersOn.get(rule.group.groupId)
  const isTogether = rule.group.vmRule === 'positive' && rule.level.endsWith('-vm')
  return candidates
    .filter(({ host }) => host.hostId !== rule.hostId && host.status === 'up' && !busy.has(host.hostId))
    .map(({ host, totals }) => ({
      hostId: host.hostId,
      members: members?.get(host.hostId) ?? 0,
      use: totals.memory / Math.max(1, host.memory)
    }))
    .toSorted(
      (a, b) =>
        (isTogether ? b.members - a.members : a.members - b.members) ||
        a.use - b.use ||
        (a.hostId < b.hostId ? -1 : 1)
    )
    .map(({ hostId }) => hostId)
}

/** How much is broken, by level and then by priority: compared from the front. */
function weightOf(broken: readonly BrokenRule[]): number[][] {
  return levels.map(level => {
    const counts = new Map<number, number>()
    for (const rule of broken) {
      if (rule.level === level) counts.set(rule.group.priority, (counts.get(rule.group.priority) ?? 0) + 1)
    }
    return [...counts].toSorted(([a], [b]) => b - a).flat()
  })
}

/** Less of the first thing that differs: (priority, count) pairs, higher priorities first. */
function isLess(after: readonly number[][], before: readonly number[][]): boolean {
  for (const [at, old] of before.entries()) {
    const now = after[at] ?? []
    for (let i = 0; i < Math.max(old.length, now.length); i += 2) {
      const [oldPriority, oldCount] = [old[i] ?? -1, old[i + 1] ?? 0]
      const [nowPriority, nowCount] = [now[i] ?? -1, now[i + 1] ?? 0]
      if (oldPriority !== nowPriority) return nowPriority < oldPriority
      if (oldCount !== nowCount) return nowCount < oldCount
    }
  }
  return false
}
