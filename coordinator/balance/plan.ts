import { cpuOf, memoryNeeded, type ClusterSnapshot, type PlacementRequest } from '../scheduler/cluster.js'
import { scoreOf, unitsOf } from '../scheduler/judge.js'
import { lookAt, put, take, type Look } from '../scheduler/look.js'
import { weights } from '../scheduler/weights.js'
import { evenOut } from './optimise.js'

// Which VMs should move so that the hosts of a cluster are used alike. PURE: a snapshot in, moves out.

/** A running VM that may move: its request is that of a migration from where it is. */
export type Movable = {
  request: PlacementRequest & { currentHostId: string }
  /** Since it last moved; null where it never did, as far as anybody knows. */
  secondsSinceMove: number | null
}

export type Move = { vmId: string; vmName: string; fromHostId: string; toHostId: string; reason: string }

export type BalancePlan = {
  moves: Move[]
  /** Standard deviation of CPU and of memory use over the hosts, added; 0 is even. */
  scoreBefore: number
  scoreAfter: number
  bytesMoved: number
  summary: string
}

export type BalanceOptions = {
  mostMoves: number
  /** Hosts that already take part in a migration. */
  busyHostIds?: ReadonlySet<string>
  /** Evens out the number of VMs instead of what they use. */
  countsGuests?: boolean
  /** What counts how much. */
  weights?: EvennessWeights
  /** See standardCost. */
  costOfMove?: number
}

export type EvennessWeights = { cpu: number; memory: number; vcpus: number }
const standardWeights: EvennessWeights = { cpu: 1, memory: 1, vcpus: 0 }

/** A VM that has moved stays for so long, whatever is measured meanwhile. */
export const restAfterMove = 600
/**
 * What a move must lower the score by, times the number of hosts, since one move among many hosts changes the
 * score little: something for itself, and a twentieth of that for each GiB that has to travel.
 */
const standardCost = 0.02

export function planBalance(
  snapshot: ClusterSnapshot,
  movables: readonly Movable[],
  options: BalanceOptions
): BalancePlan {
  const { mostMoves, busyHostIds = new Set(), countsGuests = false } = options
  const { weights: counted = standardWeights, costOfMove = standardCost } = options
  const look = lookAt(snapshot)
  const units = unitsOf(snapshot.policy)
  const able = look.candidates.filter(({ host }) => host.status === 'up' && host.cpus > 0 && host.memory > 0)
  const indexOf = new Map(able.map(({ host }, index) => [host.hostId, index]))
  const dimensions = countsGuests ? 1 : 3
  const grace = snapshot.policy.parameters.managerGrace
  const demandOf = ({ vm }: PlacementRequest) =>
    countsGuests ? [1] : [cpuOf(vm), memoryNeeded(vm), vm.vcpus]
  const isFree = ({ request, secondsSinceMove }: Movable) =>
    !busyHostIds.has(request.currentHostId) &&
    (secondsSinceMove === null || secondsSinceMove >= restAfterMove)

  const { moves, before, after } = evenOut({
    ...{ hosts: able.length, dimensions, mostMoves },
    weights: countsGuests ? [1] : [counted.cpu, counted.memory, counted.vcpus],
    capacity: Float64Array.from(
      able.flatMap(({ host }) =>
        countsGuests ? [snapshot.policy.parameters.highVmCount] : [100 * host.cpus, host.memory, host.cpus]
      )
    ),
    load: Float64Array.from(
      able.flatMap(({ host, totals }) =>
        countsGuests
          ? [totals.vms + grace * host.managedStorageDomains]
          : [totals.cpu, totals.memory, totals.vcpus]
      )
    ),
    demand: Float64Array.from(movables.flatMap(({ request }) => demandOf(request))),
    hostOf: Int32Array.from(
      movables.map(movable => (isFree(movable) ? (indexOf.get(movable.request.currentHostId) ?? -1) : -1))
    ),
    cost: Float64Array.from(
      movables.map(
        ({ request }) => (costOfMove * (1 + request.vm.memory / 2 ** 30 / 20)) / Math.max(1, able.length)
      )
    ),
    isClosed: Uint8Array.from(able.map(({ host }) => (busyHostIds.has(host.hostId) ? 1 : 0))),
    allows: (vm, host) => {
      const [movable, candidate] = [movables[vm], able[host]]
      if (!movable || !candidate || isOverfull(candidate, movable.request, snapshot)) return false
      if (scoreOf(units, candidate, movable.request, look) === null) return false
      return keepsWishes(look, movable.request, candidate.host.hostId)
    },
    moved: (vm, _, host) => {
      const [movable, candidate] = [movables[vm], able[host]]
      if (!movable || !candidate) return
      take(look, movable.request.vm, false)
      put(look, candidate.host.hostId, movable.request.vm)
    }
  })
  return asPlan(
    movables,
    moves.map(({ vm, to, gain }) => [vm, able[to]?.host.hostId ?? '', gain]),
    before,
    after
  )
}

/** No host is filled above what counts as too much, whatever would be even. */
function isOverfull(
  { host, totals }: Look['candidates'][number],
  { vm }: PlacementRequest,
  { policy }: ClusterSnapshot
): boolean {
  return totals.cpu + cpuOf(vm) > policy.parameters.highUtilization * host.cpus
}

/** No wish that is kept now would be broken there. */
function keepsWishes(look: Look, request: PlacementRequest, hostId: string): boolean {
  if (!look.groupsOf.has(request.vm.vmId)) return true
  const here = look.byId.get(look.hostOfVm.get(request.vm.vmId) ?? '')
  const there = look.byId.get(hostId)
  if (!here || !there) return false
  const broken = (candidate: typeof here) =>
    weights['affinity-hosts'](candidate, request, look) + weights['affinity-vms'](candidate, request, look)
  return broken(there) <= broken(here)
}

/** A VM that was moved on goes to its last host at once; one that came back does not move. */
function asPlan(
  movables: readonly Movable[],
  steps: ReadonlyArray<[vm: number, hostId: string, gain: number]>,
  scoreBefore: number,
  scoreAfter: number
): BalancePlan {
  const last = new Map<number, { hostId: string; gain: number }>()
  for (const [vm, hostId, gain] of steps) {
    last.set(vm, { hostId, gain: gain + (last.get(vm)?.gain ?? 0) })
  }
  let bytesMoved = 0
  const moves = [...last].flatMap(([index, { hostId, gain }]): Move[] => {
    const request = movables[index]?.request
    if (!request || request.currentHostId === hostId) return []
    bytesMoved += request.vm.memory
    const reason = `lowers unevenness by ${gain.toFixed(4)}`
    const { vmId, name: vmName } = request.vm
    return [{ vmId, vmName, fromHostId: request.currentHostId, toHostId: hostId, reason }]
  })
  const count = `${moves.length} ${moves.length === 1 ? 'VM moves' : 'VMs move'}`
  const summary =
    moves.length === 0
      ? `no move is worth its cost: unevenness ${scoreBefore.toFixed(3)}`
      : `${count}: unevenness ${scoreBefore.toFixed(3)} becomes ${scoreAfter.toFixed(3)}`
  return { moves, scoreBefore, scoreAfter, bytesMoved, summary }
}
