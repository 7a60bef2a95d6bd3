import { cpuOf, memoryNeeded, type ClusterSnapshot, type PlacementRequest } from './cluster.js'
import { unitsOf } from './judge.js'
import { lookAt, type Look } from './look.js'
import { placeIn, type Placement } from './place.js'
import { Planner } from './planner.js'

// Many VMs at once: a boot storm, the VMs of a host that is emptied or was lost. Solved together, so that the
// last VM is not stranded by small ones that could have gone anywhere. PURE.

export type BatchPlacement = { vmId: string; hostId: string | null }

export type BatchOptions = {
  /** Index of the request whose placement is told in full. */
  explain?: number
}

export type Batch = {
  /** One for each request, in the order of the requests. */
  placements: BatchPlacement[]
  /** What all hosts looked like to the request that was to be explained, when its turn came. */
  explained: Placement | null
}

/** Largest first; then those left over are helped by moving one of the others. Requests: most important first. */
export function placeAll(
  cluster: ClusterSnapshot,
  requests: readonly PlacementRequest[],
  options: BatchOptions = {}
): Batch {
  return placeAllIn(lookAt(cluster), requests, options)
}

export function placeAllIn(
  look: Look,
  requests: readonly PlacementRequest[],
  { explain }: BatchOptions = {}
): Batch {
  const planner = new Planner(look)
  const placements: BatchPlacement[] = requests.map(({ vm }) => ({ vmId: vm.vmId, hostId: null }))
  const left: number[] = []
  let explained: Placement | null = null
  const tell = (index: number, request: PlacementRequest) => {
    if (index === explain) explained = placeIn(look, unitsOf(look.cluster.policy), request)
  }
  for (const index of largestFirst(look, requests)) {
    const [request, placement] = [requests[index], placements[index]]
    if (!request || !placement) continue
    tell(index, request)
    placement.hostId = planner.place(request)
    if (placement.hostId === null) left.push(index)
  }
  // Each helped VM costs a walk over the others: bounded, so that a hopeless storm ends.
  for (const index of left.slice(0, mostHelped)) {
    const request = requests[index]
    if (request && makeRoom(planner, requests, placements, index)) tell(index, request)
  }
  return { placements, explained }
}

const mostHelped = 50
const mostTried = 200

/** Shares of an average host: memory or CPU, whichever is the more. */
function largestFirst({ candidates }: Look, requests: readonly PlacementRequest[]): number[] {
  const memory = candidates.reduce((sum, { host }) => sum + host.memory, 0) / Math.max(1, candidates.length)
  const cpus = candidates.reduce((sum, { host }) => sum + host.cpus, 0) / Math.max(1, candidates.length)
  const sizes = requests.map(({ vm }) =>
    Math.max(memoryNeeded(vm) / Math.max(1, memory), cpuOf(vm) / Math.max(1, 100 * cpus))
  )
  return requests.map((_, index) => index).toSorted((a, b) => (sizes[b] ?? 0) - (sizes[a] ?? 0) || a - b)
}

/** One of the VMs of this plan goes elsewhere, where that lets the stranded one in. */
function makeRoom(
  planner: Planner,
  requests: readonly PlacementRequest[],
  placements: readonly BatchPlacement[],
  stranded: number
): boolean {
  const [request, placement] = [requests[stranded], placements[stranded]]
  if (!request || !placement) return false
  let tried = 0
  for (const [index, other] of placements.entries()) {
    const moved = requests[index]
    const hostId = other.hostId
    if (!moved || hostId === null || ++tried > mostTried) continue
    planner.takeBack(moved)
    if (planner.fits(hostId, request)) {
      planner.put(hostId, request)
      const elsewhere = planner.place(moved)
      if (elsewhere !== null) {
        placement.hostId = hostId
        other.hostId = elsewhere
        return true
      }
      planner.takeBack(request)
    }
    planner.put(hostId, moved)
  }
  return false
}
