import { placeAllIn } from '../scheduler/batch.js'
import type { ClusterSnapshot, PlacementRequest } from '../scheduler/cluster.js'
import { lookAt, lookWith, type Look } from '../scheduler/look.js'

// Can the cluster lose any host, or any few? Each loss is tried: the HA VMs of the lost hosts must find room on
// the others, by the same rules by which they would be restarted. PURE.

export type Loss = { hostIds: string[]; hostNames: string[]; unplaced: string[] }
export type Reservation = { isKept: boolean; losses: Loss[]; summary: string }

/** HA VMs as they would be restarted, by where they run now. */
export type HaVm = { hostId: string; request: PlacementRequest }

/** Above so many sets of hosts, only those with the most to restart are tried. */
const mostSets = 2000
const mostTold = 10

export function checkReservation(
  snapshot: ClusterSnapshot,
  haVms: readonly HaVm[],
  hostsToLose: number
): Reservation {
  const look = lookAt(snapshot)
  const byHost = new Map<string, HaVm[]>()
  for (const vm of haVms) byHost.set(vm.hostId, [...(byHost.get(vm.hostId) ?? []), vm])
  const memory = (hostId: string) =>
    (byHost.get(hostId) ?? []).reduce((sum, { request }) => sum + request.vm.memory, 0)
  // Without HA VMs a host has nothing to restart, but its own room would be missing with another's loss.
  const hosts = look.candidates
    .filter(({ host }) => host.status === 'up')
    .map(({ host }) => host)
    .toSorted((a, b) => memory(b.hostId) - memory(a.hostId) || (a.hostId < b.hostId ? -1 : 1))
  const losses: Loss[] = []
  let tried = 0
  for (const lost of combinations(hosts, hostsToLose)) {
    if (++tried > mostSets) break
    const ids = lost.map(({ hostId }) => hostId)
    const restarted = ids.flatMap(id => byHost.get(id) ?? []).map(({ request }) => request)
    const unplaced = restarted.length === 0 ? [] : unplacedAfter(look, new Set(ids), restarted)
    if (unplaced.length > 0) losses.push({ hostIds: ids, hostNames: lost.map(({ name }) => name), unplaced })
  }
  return {
    isKept: losses.length === 0,
    losses: losses.slice(0, mostTold),
    summary: inWords(losses, hostsToLose)
  }
}

function unplacedAfter(
  look: Look,
  lost: ReadonlySet<string>,
  requests: readonly PlacementRequest[]
): string[] {
  const candidates = look.candidates
    .filter(({ host }) => !lost.has(host.hostId))
    .map(({ host, totals }) => ({ host, totals: { ...totals } }))
  const hostOfVm = new Map([...look.hostOfVm].filter(([, hostId]) => !lost.has(hostId)))
  const cluster = { ...look.cluster, hosts: candidates.map(({ host }) => host) }
  const { placements } = placeAllIn(lookWith(cluster, candidates, hostOfVm), requests)
  return placements.flatMap(({ vmId, hostId }) => {
    const name = requests.find(({ vm }) => vm.vmId === vmId)?.vm.name ?? vmId
    return hostId === null ? [name] : []
  })
}

function* combinations<T>(items: readonly T[], count: number, from = 0): Generator<T[]> {
  if (count <= 0) {
    yield []
    return
  }
  for (let index = from; index <= items.length - count; index++) {
    const item = items[index]
    if (item === undefined) return
    for (const rest of combinations(items, count - 1, index + 1)) yield [item, ...rest]
  }
}

function inWords(losses: readonly Loss[], count: number): string {
  const what = count === 1 ? 'any one host' : `any ${count} hosts`
  const [first] = losses
  if (!first) return `the HA VMs would find room after the loss of ${what}`
  const vms = first.unplaced.slice(0, 5).join(', ') + (first.unplaced.length > 5 ? ', …' : '')
  const more = losses.length > 1 ? `; so it is for ${losses.length - 1} more` : ''
  return `after the loss of ${first.hostNames.join(' and ')} there would be no room for ${vms}${more}`
}
