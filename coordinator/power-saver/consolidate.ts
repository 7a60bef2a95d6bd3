import type { Move, Movable } from '../balance/plan.js'
import { cpuOf, hostReserve, memoryNeeded, type ClusterSnapshot } from '../scheduler/cluster.js'
import { scoreOf, unitsOf } from '../scheduler/judge.js'
import { lookAt, put, take, type Look } from '../scheduler/look.js'
import { pack } from './pack.js'

// All VMs of a cluster on as few hosts as its rules allow. PURE.

export type Consolidation = {
  /** Hosts that VMs would be on, or that are kept. */
  usedHostIds: string[]
  freedHostIds: string[]
  moves: Move[]
}

export type ConsolidationOptions = {
  /** Hosts that stay in use whatever they have. */
  keptHostIds: ReadonlySet<string>
  /** Share of a host's CPUs that may be used, in percent. */
  cpuPercent: number
}

/** Null when no packing was found that is better than what is. */
export function planConsolidation(
  snapshot: ClusterSnapshot,
  movables: readonly Movable[],
  { keptHostIds, cpuPercent }: ConsolidationOptions
): Consolidation | null {
  const look = lookAt(snapshot)
  const able = look.candidates.filter(({ host }) => host.status === 'up' && host.problem === '')
  const indexOf = new Map(able.map(({ host }, index) => [host.hostId, index]))
  const free = movables.filter(({ request }) => indexOf.has(request.currentHostId))
  const moving = new Set(free.map(({ request }) => request.vm.vmId))
  const kept = new Set(keptHostIds)
  for (const { host } of able) {
    const isStuck = [...host.running, ...host.pending].some(({ vmId }) => !moving.has(vmId))
    if (isStuck) kept.add(host.hostId)
  }
  // Rooms are without the VMs that may move.
  for (const { request } of free) take(look, request.vm, false)
  const units = unitsOf(snapshot.policy)
  const { memoryOvercommitPercent, cpuOvercommitPercent } = snapshot.policy
  const packed = pack({
    ...{ hosts: able.length, dimensions: 3 },
    room: Float64Array.from(
      able.flatMap(({ host, totals }) => [
        Math.max(0, cpuPercent * host.cpus - totals.cpu),
        Math.max(0, (host.memory * memoryOvercommitPercent) / 100 - hostReserve - totals.memory),
        Math.max(0, (host.cpus * cpuOvercommitPercent) / 100 - totals.vcpus)
      ])
    ),
    demand: Float64Array.from(free.flatMap(({ request: { vm } }) => [cpuOf(vm), memoryNeeded(vm), vm.vcpus])),
    allows: allowing(look, able, free, units),
    isKept: Uint8Array.from(able.map(({ host }) => (kept.has(host.hostId) ? 1 : 0)))
  })
  if (!packed) return null
  const used = new Set([...packed.hostOf].map(at => able[at]?.host.hostId ?? ''))
  for (const { host } of able) if (kept.has(host.hostId)) used.add(host.hostId)
  const moves = free.flatMap(({ request }, vm): Move[] => {
    const toHostId = able[packed.hostOf[vm] ?? -1]?.host.hostId ?? request.currentHostId
    if (toHostId === request.currentHostId) return []
    const { vmId, name: vmName } = request.vm
    return [{ vmId, vmName, fromHostId: request.currentHostId, toHostId, reason: 'consolidation' }]
  })
  const freedHostIds = able.flatMap(({ host }) => (used.has(host.hostId) ? [] : [host.hostId]))
  return { usedHostIds: [...used].toSorted(), freedHostIds, moves }
}

/** What does not depend on how full a host is: answered once for each kind of VM and host. */
function allowing(
  look: Look,
  able: Look['candidates'],
  free: readonly Movable[],
  units: ReturnType<typeof unitsOf>
): (vm: number, host: number) => boolean {
  const known = new Map<string, boolean>()
  const kinds = free.map(({ request: { vm } }) => {
    const isGrouped = look.groupsOf.has(vm.vmId)
    const needs = [vm.cpuModel, vm.machineType, vm.needsUefi, vm.needsLease, vm.hugePageKib]
    const lists = [vm.bridges, vm.storageDomainIds, vm.pinnedHostIds, vm.hostDevices]
    return isGrouped ? vm.vmId : [...needs, ...lists.map(list => list.join(','))].join('/')
  })
  return (vm, host) => {
    const movable = free[vm]
    const candidate = able[host]
    if (!movable || !candidate) return false
    const { request } = movable
    if (request.currentHostId === candidate.host.hostId) return true
    const key = `${kinds[vm]} ${request.currentHostId} ${host}`
    const before = known.get(key)
    if (before !== undefined) return before
    const empty = {
      host: { ...candidate.host, memoryAvailable: candidate.host.memory },
      totals: emptied(candidate)
    }
    const isAllowed = scoreOf(units, empty, request, look) !== null
    known.set(key, isAllowed)
    return isAllowed
  }
}

/** Only what cannot leave is there. */
const emptied = ({ totals }: Look['candidates'][number]) => ({ ...totals, pendingMemory: 0 })

/** Whether the moves can be made one after the other under all rules, in some order; the ones that can, in it. */
export function inOrder(
  snapshot: ClusterSnapshot,
  movables: readonly Movable[],
  moves: readonly Move[]
): Move[] {
  const look = lookAt(snapshot)
  const units = unitsOf(snapshot.policy)
  const byVm = new Map(movables.map(movable => [movable.request.vm.vmId, movable]))
  const ordered: Move[] = []
  let left = [...moves]
  for (let isProgress = true; isProgress && left.length > 0;) {
    isProgress = false
    const waiting: Move[] = []
    for (const move of left) {
      const movable = byVm.get(move.vmId)
      const candidate = look.byId.get(move.toHostId)
      if (movable && candidate && scoreOf(units, candidate, movable.request, look) !== null) {
        take(look, movable.request.vm, false)
        put(look, move.toHostId, movable.request.vm)
        ordered.push(move)
        isProgress = true
      } else waiting.push(move)
    }
    left = waiting
  }
  return ordered
}
