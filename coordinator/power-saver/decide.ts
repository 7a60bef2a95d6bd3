import { checkReservation, type HaVm } from '../forecast/reservation.js'
import type { Move, Movable } from '../balance/plan.js'
import { cpuOf, memoryNeeded, type ClusterSnapshot, type PlacementRequest } from '../scheduler/cluster.js'
import { lookAt, lookWith, type Look } from '../scheduler/look.js'
import { placeAllIn } from '../scheduler/batch.js'
import { waitedFor } from './waking.js'

// Which host is put to rest, which is woken, and which is emptied first. One thing at a time, so that each
// decision sees what the one before has come to. PURE.

export type RestingHost = {
  hostId: string
  name: string
  /** As the policy left it: in maintenance, or without power. */
  state: 'maintenance' | 'off'
}

/** What of a host the snapshot does not say. */
export type HostPower = {
  hasPower: boolean
  /** A person wants it left alone. */
  keepsPower: boolean
  /** It manages storage domains: the last to rest. */
  isManager: boolean
  /** A job or a migration works there. */
  isBusy: boolean
  hasExternalVms: boolean
}

export type PowerSaverInput = {
  snapshot: ClusterSnapshot
  movables: readonly Movable[]
  haVms: readonly HaVm[]
  haReservedHosts: number
  power: ReadonlyMap<string, HostPower>
  resting: readonly RestingHost[]
  /** VMs that are to run and have found no host. */
  waiting: readonly PlacementRequest[]
  /** Hosts that are being woken or put to rest. */
  underWay: number
  hostsInReserve: number
  switchesHosts: boolean
  /** Growth of the load in percent of one CPU a minute, by the history of the last quarter of an hour. */
  cpuPerMinute: number
}

export type PowerSaverDecision =
  | { kind: 'nothing'; reason: string }
  | { kind: 'wake'; hostId: string; how: 'activate' | 'powerOn'; reason: string }
  | { kind: 'rest'; hostId: string; reason: string }
  | { kind: 'powerOff'; hostId: string; reason: string }
  | { kind: 'empty'; hostId: string; moves: Move[]; reason: string }

/** A host needs so long from the decision until it takes VMs. */
const wakeMinutes = 10
/** What is filled by consolidation stays so far below the bound from which on a host is overloaded. */
const margin = 10

export function decidePower(input: PowerSaverInput): PowerSaverDecision {
  const { snapshot, underWay, switchesHosts, hostsInReserve } = input
  if (snapshot.policy.balancer !== 'power-saving') return nothing('the policy saves no power')
  if (underWay > 0) return nothing(`${underWay} hosts are on their way to or from rest`)
  const look = lookAt(snapshot)
  const up = look.candidates.filter(({ host }) => host.status === 'up' && host.problem === '')
  const empty = up.filter(({ host, totals }) => totals.vms === 0 && !isBusy(input, host.hostId))

  const need = whyMoreIsNeeded(input, up, empty.length)
  if (need !== null) return wake(input, need)
  const waited = waitedFor(
    snapshot,
    input.waiting,
    inOrder(input).map(({ hostId }) => hostId)
  )
  if (waited?.kind === 'starts') return nothing(`VM ${waited.vmName} is about to start`)
  if (waited) return wake(input, `VM ${waited.vmName} finds no other host`, waited.hostId)
  if (!switchesHosts) return nothing('hosts are not switched off now')

  // One stays in maintenance: it is back in a moment.
  const spare = input.resting.filter(({ state }) => state === 'maintenance')
  const [toSwitch] = spare
  if (toSwitch && spare.length > 1 && input.power.get(toSwitch.hostId)?.hasPower === true) {
    return { kind: 'powerOff', hostId: toSwitch.hostId, reason: `host ${toSwitch.name} is not needed` }
  }
  if (empty.length > hostsInReserve) return rest(input, look, empty)
  return consolidate(input, look, up)
}

const nothing = (reason: string): PowerSaverDecision => ({ kind: 'nothing', reason })
const isBusy = ({ power }: PowerSaverInput, hostId: string) => power.get(hostId)?.isBusy === true
const mayRest = ({ power }: PowerSaverInput, hostId: string) => {
  const host = power.get(hostId)
  return host !== undefined && host.hasPower && !host.keepsPower && !host.isBusy && !host.hasExternalVms
}

/** Why another host must be woken, or null. */
function whyMoreIsNeeded(
  { snapshot, hostsInReserve, cpuPerMinute, haVms, haReservedHosts }: PowerSaverInput,
  up: Look['candidates'],
  empties: number
): string | null {
  if (empties < hostsInReserve) return `${empties} of ${hostsInReserve} hosts in reserve are there`
  const { highUtilization, memoryLowMib, overloadMinutes } = snapshot.policy.parameters
  const cpus = up.reduce((sum, { host }) => sum + host.cpus, 0)
  const cpu = up.reduce((sum, { totals }) => sum + totals.cpu, 0)
  const soon = cpu + Math.max(0, cpuPerMinute) * wakeMinutes
  if (cpus > 0 && soon > highUtilization * cpus) {
    const percent = (soon / cpus).toFixed(0)
    return `in ${wakeMinutes} min the CPUs will be used by ${percent} %, more than ${highUtilization} %`
  }
  const busy = up.find(({ host }) => host.overloadedSeconds >= overloadMinutes * 60)
  if (busy && empties === 0) return `host ${busy.host.name} is overloaded and no host is empty`
  const free = up.reduce((sum, { host, totals }) => sum + host.memory - totals.memory, 0)
  if (memoryLowMib > 0 && free < memoryLowMib * 2 ** 20) return 'memory is short'
  if (haReservedHosts > 0) {
    const kept = checkReservation(snapshot, haVms, haReservedHosts)
    if (!kept.isKept) return kept.summary
  }
  return null
}

/** The ones that are back soonest first. */
const inOrder = ({ resting }: PowerSaverInput): RestingHost[] =>
  resting.toSorted((a, b) => Number(a.state === 'off') - Number(b.state === 'off'))

function wake(input: PowerSaverInput, reason: string, wanted: string | null = null): PowerSaverDecision {
  const first = inOrder(input).find(({ hostId }) => wanted === null || hostId === wanted)
  if (!first) return nothing(`${reason}; no host rests that could be woken`)
  const how = first.state === 'maintenance' ? 'activate' : 'powerOn'
  return { kind: 'wake', hostId: first.hostId, how, reason }
}

/** An empty host more than the reserve: no manager if another can rest, and only if its room is not promised. */
function rest(input: PowerSaverInput, look: Look, empty: Look['candidates']): PowerSaverDecision {
  const able = empty
    .filter(({ host }) => mayRest(input, host.hostId))
    .toSorted(
      (a, b) =>
        Number(input.power.get(a.host.hostId)?.isManager) -
          Number(input.power.get(b.host.hostId)?.isManager) || (a.host.hostId < b.host.hostId ? 1 : -1)
    )
  for (const { host } of able) {
    const why = whyItIsNeeded(input, look, host.hostId)
    if (why === null) return { kind: 'rest', hostId: host.hostId, reason: `host ${host.name} is empty` }
  }
  return nothing(
    able.length === 0 ? 'no empty host may rest' : 'each empty host is needed for the reservation'
  )
}

/** Why the cluster cannot do without a host now, or null. */
function whyItIsNeeded(input: PowerSaverInput, look: Look, hostId: string): string | null {
  const { highUtilization } = input.snapshot.policy.parameters
  const others = look.candidates.filter(
    ({ host }) => host.status === 'up' && host.problem === '' && host.hostId !== hostId
  )
  if (others.length === 0) return 'it is the last host'
  const cpus = others.reduce((sum, { host }) => sum + host.cpus, 0)
  const cpu = look.candidates.reduce((sum, { totals }) => sum + totals.cpu, 0)
  const soon = cpu + Math.max(0, input.cpuPerMinute) * wakeMinutes
  if (soon > (highUtilization - margin) * cpus) return 'the others would be too busy'
  if (input.haReservedHosts === 0) return null
  const hosts = input.snapshot.hosts.map(host =>
    host.hostId === hostId ? { ...host, status: 'maintenance' } : host
  )
  const kept = checkReservation({ ...input.snapshot, hosts }, input.haVms, input.haReservedHosts)
  return kept.isKept ? null : kept.summary
}

/** The host that is emptied with the least to move, if all of it fits on the others and they stay below the bound. */
function consolidate(input: PowerSaverInput, look: Look, up: Look['candidates']): PowerSaverDecision {
  const { lowUtilization, highUtilization } = input.snapshot.policy.parameters
  const byHost = new Map<string, Movable[]>()
  for (const movable of input.movables) {
    const { currentHostId } = movable.request
    byHost.set(currentHostId, [...(byHost.get(currentHostId) ?? []), movable])
  }
  const able = up
    .filter(({ host, totals }) => {
      const vms = byHost.get(host.hostId)?.length ?? 0
      const isAllMovable = vms === totals.vms && vms > 0
      return isAllMovable && mayRest(input, host.hostId) && totals.cpu < lowUtilization * host.cpus
    })
    .toSorted((a, b) => a.totals.memory - b.totals.memory || (a.host.hostId < b.host.hostId ? -1 : 1))
  for (const { host } of able.slice(0, 8)) {
    if (whyItIsNeeded(input, look, host.hostId) !== null) continue
    const moves = emptied(
      input.snapshot,
      host.hostId,
      byHost.get(host.hostId) ?? [],
      highUtilization - margin
    )
    if (moves)
      return { kind: 'empty', hostId: host.hostId, moves, reason: `host ${host.name} is hardly used` }
  }
  return nothing('no host can be emptied')
}

/** Where all VMs of a host would go, or null; an empty host is no destination: nothing would be gained. */
function emptied(
  snapshot: ClusterSnapshot,
  hostId: string,
  movables: readonly Movable[],
  mostPercent: number
): Move[] | null {
  const fresh = lookAt(snapshot)
  const candidates = fresh.candidates.filter(
    ({ host, totals }) => host.hostId === hostId || totals.vms > 0 || host.status !== 'up'
  )
  const look = lookWith(fresh.cluster, candidates, fresh.hostOfVm)
  const { placements } = placeAllIn(
    look,
    movables.map(({ request }) => request)
  )
  const isTooFull = candidates.some(
    ({ host, totals }) =>
      host.hostId !== hostId && host.status === 'up' && totals.cpu > mostPercent * host.cpus
  )
  if (isTooFull || placements.some(placement => placement.hostId === null)) return null
  return placements.map(({ vmId, hostId: toHostId }, index) => {
    const vmName = movables[index]?.request.vm.name ?? ''
    return { vmId, vmName, fromHostId: hostId, toHostId: toHostId ?? '', reason: 'its host is to rest' }
  })
}

/** What VMs of a snapshot use, for the trend. */
export const demandOf = ({ hosts }: ClusterSnapshot) =>
  hosts.reduce(
    (sum, { running, pending }) => ({
      cpu: sum.cpu + [...running, ...pending].reduce((all, vm) => all + cpuOf(vm), 0),
      memory: sum.memory + [...running, ...pending].reduce((all, vm) => all + memoryNeeded(vm), 0)
    }),
    { cpu: 0, memory: 0 }
  )
