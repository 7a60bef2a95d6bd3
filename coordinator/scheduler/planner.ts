import type { PlacementRequest } from './cluster.js'
import { scoreOf, unitsOf, type Units } from './judge.js'
import { put, take, type Look } from './look.js'
import { placeIn } from './place.js'
import { ShapeOrder } from './shape-order.js'

type Shape = { order: ShapeOrder; request: PlacementRequest; seen: number; groupsSeen: number }

/**
 * Places many VMs into one look, each with what the ones before it took. It asks the same filters and weights
 * as a single placement and comes to the same host, but judges a host again only when something on it has
 * changed: requests that ask for the same share one order of the hosts.
 */
export class Planner {
  readonly look: Look
  readonly #units: Units
  readonly #isRanked: boolean
  readonly #shapes = new Map<string, Shape>()
  readonly #byHostId: number[]
  readonly #indexOf: ReadonlyMap<string, number>
  /** Candidates that changed, in order; a shape remembers how far it has read. */
  readonly #changed: number[] = []
  #groupChanges = 0

  constructor(look: Look) {
    this.look = look
    this.#units = unitsOf(look.cluster.policy)
    this.#isRanked = look.cluster.policy.selector === 'ranked'
    // Ties go to the lower id, so the order of the indexes is that of the ids.
    const ids = look.candidates.map(({ host }) => host.hostId)
    this.#byHostId = ids.map((_, at) => at).toSorted((a, b) => ((ids[a] ?? '') < (ids[b] ?? '') ? -1 : 1))
    this.#indexOf = new Map(this.#byHostId.map((candidate, index) => [ids[candidate] ?? '', index]))
  }

  /** The host, with the VM put there; null where none can take it. */
  place(request: PlacementRequest): string | null {
    const hostId = this.find(request)
    if (hostId !== null) this.put(hostId, request)
    return hostId
  }

  /** The host only. */
  find(request: PlacementRequest): string | null {
    if (this.#isRanked) {
      const placement = placeIn(this.look, this.#units, request)
      return placement.kind === 'placed' ? placement.hostId : null
    }
    const best = this.#upToDate(request).order.best
    return best < 0 ? null : (this.#candidate(best)?.host.hostId ?? null)
  }

  put(hostId: string, { vm }: PlacementRequest): void {
    put(this.look, hostId, vm)
    this.#note(hostId, vm.vmId)
  }

  /** Takes back what `put` did. */
  takeBack({ vm }: PlacementRequest): void {
    const hostId = this.look.hostOfVm.get(vm.vmId)
    take(this.look, vm, true)
    if (hostId !== undefined) this.#note(hostId, vm.vmId)
  }

  /** Whether one host could take the VM now. */
  fits(hostId: string, request: PlacementRequest): boolean {
    const candidate = this.look.byId.get(hostId)
    return candidate !== undefined && scoreOf(this.#units, candidate, request, this.look) !== null
  }

  #note(hostId: string, vmId: string): void {
    const index = this.#indexOf.get(hostId)
    if (index !== undefined) this.#changed.push(index)
    if (this.look.groupsOf.has(vmId)) this.#groupChanges++
  }

  #candidate(index: number) {
    return this.look.candidates[this.#byHostId[index] ?? -1]
  }

  #upToDate(request: PlacementRequest): Shape {
    const key = shapeOf(request, this.look)
    let shape = this.#shapes.get(key)
    // Rules of affinity look at where others are: any of their moves may change any host.
    const isGrouped = this.look.groupsOf.has(request.vm.vmId)
    if (!shape || (isGrouped && shape.groupsSeen !== this.#groupChanges)) {
      shape = { order: new ShapeOrder(this.#byHostId.length), request, seen: 0, groupsSeen: 0 }
      for (let index = 0; index < this.#byHostId.length; index++) this.#judge(shape.order, index, request)
      this.#shapes.set(key, shape)
    } else {
      for (let at = shape.seen; at < this.#changed.length; at++) {
        this.#judge(shape.order, this.#changed[at] ?? 0, request)
      }
    }
    shape.seen = this.#changed.length
    shape.groupsSeen = this.#groupChanges
    return shape
  }

  #judge(order: ShapeOrder, index: number, request: PlacementRequest): void {
    const candidate = this.#candidate(index)
    order.set(index, candidate ? scoreOf(this.#units, candidate, request, this.look) : null)
  }
}

/** Everything that filters and weights read of a request, but the VM's id and name. */
export function shapeOf(request: PlacementRequest, look: Look): string {
  const { vm, purpose, currentHostId, preferredHostId, onlyHostId, excluded, isRelaxed } = request
  // A VM of a group is a shape of its own: its rules look at where it is itself.
  const groups = look.groupsOf.has(vm.vmId) ? vm.vmId : ''
  const numbers = `${vm.vcpus} ${vm.memory} ${vm.cpuPercent} ${vm.hugePageKib} ${vm.numaNodes.join(',')}`
  const bits = `${+vm.needsUefi}${+vm.needsLease}${+vm.isHa}${+isRelaxed}`
  const names = `${vm.cpuModel}/${vm.machineType}/${vm.bridges.join(',')}/${vm.hostDevices.join(',')}`
  const ids = `${vm.storageDomainIds.join(',')}/${vm.pinnedHostIds.join(',')}/${[...excluded.keys()].join(',')}`
  return `${purpose} ${numbers} ${bits} ${names} ${ids} ${currentHostId}/${preferredHostId}/${onlyHostId} ${groups}`
}
