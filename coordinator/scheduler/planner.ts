import type { PlacementRequest } from './cluster.js'
import { scoreOf, splitUnits, unitsOf, type Units } from './judge.js'
import { put, take, type Look } from './look.js'
import { placeIn } from './place.js'
import { ShapeOrder } from './shape-order.js'

type Shape = { order: ShapeOrder; able: Uint8Array; seen: number }
type Choice = { index: number; score: number }

/**
 * Places many VMs into one look, each with what the ones before it took. It asks the same filters and weights
 * as a single placement and comes to the same host, but judges a host again only when something on it has
 * changed: requests that ask for the same share one order of the hosts. Rules of affinity are asked of the few hosts
 * on which others of a group are, or that a group names: to all the rest they say the same.
 */
export class Planner {
  readonly look: Look
  readonly #units: Units
  readonly #fixed: Units
  readonly #again: Units
  readonly #affinity: Units
  /** Hosts that pass the filters which do not change, by what these look at. */
  readonly #able = new Map<string, Uint8Array>()
  readonly #isRanked: boolean
  readonly #shapes = new Map<string, Shape>()
  readonly #byHostId: number[]
  readonly #indexOf: ReadonlyMap<string, number>
  /** Candidates that changed, in order; a shape remembers how far it has read. */
  readonly #changed: number[] = []
  /** For each candidate, the last reading of `#changed` in which it was judged. */
  readonly #readAt: Uint32Array
  #reading = 0

  constructor(look: Look) {
    this.look = look
    this.#units = unitsOf(look.cluster.policy)
    const { fixed, again, affinity } = splitUnits(this.#units)
    this.#fixed = fixed
    this.#again = again
    this.#affinity = affinity
    this.#isRanked = look.cluster.policy.selector === 'ranked'
    // Ties go to the lower id, so the order of the indexes is that of the ids.
    const ids = look.candidates.map(({ host }) => host.hostId)
    this.#byHostId = ids.map((_, at) => at).toSorted((a, b) => ((ids[a] ?? '') < (ids[b] ?? '') ? -1 : 1))
    this.#readAt = new Uint32Array(ids.length)
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
    const { order } = this.#upToDate(request)
    const isGrouped = this.look.groupsOf.has(request.vm.vmId)
    const best = isGrouped ? this.#bestWithRules(order, request) : order.best
    return best < 0 ? null : (this.#candidate(best)?.host.hostId ?? null)
  }

  put(hostId: string, { vm }: PlacementRequest): void {
    put(this.look, hostId, vm)
    this.#note(hostId)
  }

  /** Takes back what `put` did. */
  takeBack({ vm }: PlacementRequest): void {
    const hostId = this.look.hostOfVm.get(vm.vmId)
    take(this.look, vm, true)
    if (hostId !== undefined) this.#note(hostId)
  }

  /** Whether one host could take the VM now. */
  fits(hostId: string, request: PlacementRequest): boolean {
    const candidate = this.look.byId.get(hostId)
    return candidate !== undefined && scoreOf(this.#units, candidate, request, this.look) !== null
  }

  #note(hostId: string): void {
    const index = this.#indexOf.get(hostId)
    if (index !== undefined) this.#changed.push(index)
  }

  #candidate(index: number) {
    return this.look.candidates[this.#byHostId[index] ?? -1]
  }

  #bestWithRules(order: ShapeOrder, request: PlacementRequest): number {
    const concerned = this.#concernedBy(request.vm.vmId)
    const choices = [...concerned].map(index => this.#withRules(order, index, request))
    choices.push(this.#withRules(order, order.bestBut(concerned), request))
    let best: Choice = { index: -1, score: Infinity }
    for (const choice of choices) if (choice !== null && isBetter(choice, best)) best = choice
    return best.index
  }

  /** Hosts about which a rule for this VM says something else than about all others. */
  #concernedBy(vmId: string): Set<number> {
    const { groupsOf, membersOn, hostOfVm } = this.look
    const own = hostOfVm.get(vmId)
    const hostIds = (groupsOf.get(vmId) ?? []).flatMap(group => [
      ...group.hostIds,
      ...(membersOn.get(group.groupId)?.keys() ?? [])
    ])
    const indexes = [...hostIds, ...(own === undefined ? [] : [own])].map(id => this.#indexOf.get(id))
    return new Set(indexes.filter(index => index !== undefined))
  }

  #withRules(order: ShapeOrder, index: number, request: PlacementRequest): Choice | null {
    const candidate = this.#candidate(index)
    if (!candidate || !order.has(index)) return null
    const rules = scoreOf(this.#affinity, candidate, request, this.look, order.scoreOf(index))
    return rules === null ? null : { index, score: rules }
  }

  #upToDate(request: PlacementRequest): Shape {
    const key = shapeOf(request)
    let shape = this.#shapes.get(key)
    if (!shape) {
      shape = { order: new ShapeOrder(this.#byHostId.length), able: this.#ableFor(request), seen: 0 }
      for (let index = 0; index < this.#byHostId.length; index++) this.#judge(shape, index, request)
      this.#shapes.set(key, shape)
    } else {
      this.#judgeChanged(shape, request)
    }
    shape.seen = this.#changed.length
    return shape
  }

  /** Each once, however often it has changed. */
  #judgeChanged(shape: Shape, request: PlacementRequest): void {
    this.#reading++
    for (let at = shape.seen; at < this.#changed.length; at++) {
      const index = this.#changed[at] ?? 0
      if (this.#readAt[index] === this.#reading) continue
      this.#readAt[index] = this.#reading
      this.#judge(shape, index, request)
    }
  }

  #judge({ order, able }: Shape, index: number, request: PlacementRequest): void {
    if (able[index] === 0) return
    const candidate = this.#candidate(index)
    order.set(index, candidate ? scoreOf(this.#again, candidate, request, this.look) : null)
  }

  #ableFor(request: PlacementRequest): Uint8Array {
    const key = needsOf(request)
    const known = this.#able.get(key)
    if (known) return known
    const able = Uint8Array.from(this.#byHostId, (_, index) => {
      const candidate = this.#candidate(index)
      return candidate && scoreOf(this.#fixed, candidate, request, this.look) !== null ? 1 : 0
    })
    this.#able.set(key, able)
    return able
  }
}

const isBetter = (a: Choice, b: Choice) => a.score < b.score || (a.score === b.score && a.index < b.index)

/** Everything that filters and weights read of a request, but the VM's id and name. */
export function shapeOf(request: PlacementRequest): string {
  const { vm, preferredHostId, isRelaxed } = request
  const bits = `${vm.isHa ? 1 : 0}${isRelaxed ? 1 : 0}`
  return `${vm.memory} ${vm.cpuPercent} ${bits} ${preferredHostId} ${needsOf(request)}`
}

/** What the filters read that do not look at what VMs take. */
function needsOf({ vm, purpose, currentHostId, onlyHostId, excluded }: PlacementRequest): string {
  const bits = `${vm.needsUefi ? 1 : 0}${vm.needsLease ? 1 : 0}${vm.isHa ? 1 : 0}`
  const pages = vm.hugePageKib === 0 ? '' : `${vm.hugePageKib}x${vm.memory}`
  const sizes = `${vm.vcpus} ${pages} ${vm.numaNodes.join(',')}`
  const names = `${vm.cpuModel}/${vm.machineType}/${vm.bridges.join(',')}/${vm.hostDevices.join(',')}`
  const out = excluded.size === 0 ? '' : [...excluded.keys()].join(',')
  const ids = `${vm.storageDomainIds.join(',')}/${vm.pinnedHostIds.join(',')}/${out}`
  return `${purpose} ${sizes} ${bits} ${names} ${ids} ${currentHostId}/${onlyHostId}`
}
