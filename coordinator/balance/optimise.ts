// Evening out: which VMs should move where, so that hosts are used alike in every dimension. Plain numbers in
// typed arrays, so that a thousand hosts take less than a second. PURE.
//
//   use(host, d)  = load / capacity
//   score         = sum over d of weight(d) x standard deviation over hosts of use(host, d)
//
// Each step takes the move that lowers the score most, less what the move costs. A move changes two hosts, so
// sums and sums of squares give the new score without looking at the others. Every step lowers the score, so
// it ends, and a plan made again of what it left is empty: that is why balancing does not oscillate.

export type Evening = {
  hosts: number
  dimensions: number
  weights: readonly number[]
  /** hosts x dimensions. */
  capacity: Float64Array
  /** hosts x dimensions: with all VMs. */
  load: Float64Array
  /** VMs x dimensions. */
  demand: Float64Array
  /** Host of each VM now, or -1 for one that is not to be moved. */
  hostOf: Int32Array
  /** What moving each VM must gain at least. */
  cost: Float64Array
  /** Hosts that take nothing. */
  isClosed: Uint8Array
  /** Whether a VM may go to a host, given the moves made before. */
  allows(vm: number, host: number): boolean
  moved(vm: number, from: number, to: number): void
  mostMoves: number
}

export type EveningMove = { vm: number; from: number; to: number; gain: number }
export type Evened = { moves: EveningMove[]; before: number; after: number }

/** Above so many pairs of VM and host, only the fullest and emptiest hosts are looked at. */
const mostPairs = 100_000
const sourcesAtOnce = 6
const targetsAtOnce = 10
const leastGain = 1e-9
const leastRefinement = 1e-7

export function evenOut(problem: Evening): Evened {
  const plan = new Plan(problem)
  const before = plan.score()
  const moves: EveningMove[] = []
  // What was refined may let greed find more; it has the last word, so that nothing is left to find.
  for (let round = 0; round < mostRounds; round++) {
    for (let move = plan.best(); move !== null && plan.displaced < problem.mostMoves; move = plan.best()) {
      plan.apply(move)
      problem.moved(move.vm, move.from, move.to)
      moves.push(move)
    }
    const refined = round === mostRounds - 1 ? [] : plan.refine()
    moves.push(...refined)
    if (refined.length === 0) break
  }
  return { moves, before, after: plan.score() }
}

const mostRounds = 10
/** Passes over all moves in which something better is looked for. */
const mostPasses = 20

class Plan {
  readonly #p: Evening
  readonly #use: Float64Array
  readonly #sum: Float64Array
  readonly #squares: Float64Array
  readonly #hostOf: Int32Array
  readonly #vmsOf: number[][]
  readonly #isSmall: boolean
  /** VMs that are not where they were. */
  readonly #displaced = new Set<number>()
  /** Moves that were refused, as vm x hosts + host, with the number of changes that the host had seen. */
  readonly #refused = new Map<number, number>()
  readonly #changes: Int32Array
  /** Hosts that nothing worth while leaves, until something changes there. */
  readonly #isDone: Uint8Array

  constructor(problem: Evening) {
    const { hosts, dimensions, load, capacity } = problem
    this.#p = problem
    this.#use = new Float64Array(hosts * dimensions)
    this.#sum = new Float64Array(dimensions)
    this.#squares = new Float64Array(dimensions)
    for (let at = 0; at < hosts * dimensions; at++) {
      const use = (load[at] ?? 0) / (capacity[at] || 1)
      this.#use[at] = use
      add(this.#sum, at % dimensions, use)
      add(this.#squares, at % dimensions, use * use)
    }
    this.#hostOf = Int32Array.from(problem.hostOf)
    this.#vmsOf = Array.from({ length: hosts }, () => [])
    for (const [vm, host] of this.#hostOf.entries()) if (host >= 0) this.#vmsOf[host]?.push(vm)
    this.#isSmall = this.#hostOf.length * hosts <= mostPairs
    this.#changes = new Int32Array(hosts)
    this.#isDone = new Uint8Array(hosts)
  }

  get displaced(): number {
    return this.#displaced.size
  }

  score(): number {
    let score = 0
    for (let d = 0; d < this.#p.dimensions; d++) {
      score += (this.#p.weights[d] ?? 0) * this.#deviation(this.#sum[d] ?? 0, this.#squares[d] ?? 0)
    }
    return score
  }

  /** The best move that is allowed, or null when none is worth its cost. */
  best(): EveningMove | null {
    for (;;) {
      const [sources, targets] = this.#isSmall ? [this.#all(), this.#all()] : this.#extremes()
      if (sources.length === 0) return null
      const move = this.#bestOf(sources, targets)
      if (move) {
        if (this.#p.allows(move.vm, move.to)) return move
        this.#refused.set(move.vm * this.#p.hosts + move.to, this.#changes[move.to] ?? 0)
        continue
      }
      if (this.#isSmall) return null
      for (const host of sources) this.#isDone[host] = 1
    }
  }

  /**
   * What greed has missed, with no more moves than it made: each VM that moves is tried on other hosts, and
   * against the VMs that stayed where it came from.
   */
  refine(): EveningMove[] {
    if (!this.#isSmall) return []
    const changes: EveningMove[] = []
    const make = (move: EveningMove) => {
      this.apply(move)
      this.#p.moved(move.vm, move.from, move.to)
      changes.push(move)
    }
    for (let pass = 0, isBetter = true; isBetter && pass < mostPasses; pass++) {
      isBetter = false
      for (const vm of [...this.#displaced]) {
        const origin = this.#p.hostOf[vm] ?? -1
        const now = this.#hostOf[vm] ?? -1
        const elsewhere = this.#betterHost(vm, now)
        if (elsewhere) {
          make(elsewhere)
          isBetter = true
          continue
        }
        const other = this.#betterVm(vm, now, origin)
        if (other === null) continue
        make({ vm, from: now, to: origin, gain: 0 })
        if (this.#p.allows(other, now)) {
          make({ vm: other, from: origin, to: now, gain: 0 })
          isBetter = true
        } else make({ vm, from: origin, to: now, gain: 0 })
      }
    }
    return changes
  }

  #betterHost(vm: number, now: number): EveningMove | null {
    const score = this.score()
    let best: EveningMove | null = null
    for (let to = 0; to < this.#p.hosts; to++) {
      if (to === now || this.#p.isClosed[to] === 1) continue
      const gain = score - this.#scoreWith(vm, now, to)
      if (gain > (best?.gain ?? leastRefinement)) best = { vm, from: now, to, gain }
    }
    return best && this.#p.allows(vm, best.to) ? best : null
  }

  /** A VM that stayed behind and would do better than this one. */
  #betterVm(vm: number, now: number, origin: number): number | null {
    const score = this.score()
    let best: number | null = null
    let least = score - leastRefinement
    this.apply({ vm, from: now, to: origin, gain: 0 })
    for (const other of this.#vmsOf[origin] ?? []) {
      if (other === vm || this.#p.hostOf[other] !== origin) continue
      const after = this.#scoreWith(other, origin, now)
      if (after >= least) continue
      least = after
      best = other
    }
    this.apply({ vm, from: origin, to: now, gain: 0 })
    return best
  }

  apply({ vm, from, to }: EveningMove): void {
    const { dimensions } = this.#p
    for (let d = 0; d < dimensions; d++) {
      const demand = this.#p.demand[vm * dimensions + d] ?? 0
      this.#shift(from, d, -demand)
      this.#shift(to, d, demand)
    }
    this.#hostOf[vm] = to
    if (to === this.#p.hostOf[vm]) this.#displaced.delete(vm)
    else this.#displaced.add(vm)
    this.#vmsOf[from] = (this.#vmsOf[from] ?? []).filter(other => other !== vm)
    this.#vmsOf[to]?.push(vm)
    for (const host of [from, to]) {
      add(this.#changes, host, 1)
      this.#isDone[host] = 0
    }
  }

  #shift(host: number, d: number, demand: number): void {
    const at = host * this.#p.dimensions + d
    const before = this.#use[at] ?? 0
    const after = before + demand / (this.#p.capacity[at] || 1)
    this.#use[at] = after
    add(this.#sum, d, after - before)
    add(this.#squares, d, after * after - before * before)
  }

  #bestOf(sources: readonly number[], targets: readonly number[]): EveningMove | null {
    const score = this.score()
    let best: EveningMove | null = null
    let bestNet = leastGain
    for (const from of sources) {
      for (const vm of this.#vmsOf[from] ?? []) {
        const cost = this.#p.cost[vm] ?? 0
        for (const to of targets) {
          if (to === from || this.#p.isClosed[to] === 1) continue
          const gain = score - this.#scoreWith(vm, from, to)
          if (gain - cost <= bestNet || this.#isRefused(vm, to)) continue
          bestNet = gain - cost
          best = { vm, from, to, gain }
        }
      }
    }
    return best
  }

  #isRefused(vm: number, to: number): boolean {
    if (this.#refused.size === 0) return false
    return this.#refused.get(vm * this.#p.hosts + to) === (this.#changes[to] ?? 0)
  }

  #scoreWith(vm: number, from: number, to: number): number {
    const { dimensions, demand, capacity, weights } = this.#p
    let score = 0
    for (let d = 0; d < dimensions; d++) {
      const asked = demand[vm * dimensions + d] ?? 0
      const [a, b] = [from * dimensions + d, to * dimensions + d]
      const [useA, useB] = [this.#use[a] ?? 0, this.#use[b] ?? 0]
      const lessA = asked / (capacity[a] || 1)
      const moreB = asked / (capacity[b] || 1)
      const sum = (this.#sum[d] ?? 0) - lessA + moreB
      // (u - x)^2 - u^2 and (u + y)^2 - u^2
      const squares = (this.#squares[d] ?? 0) + lessA * (lessA - 2 * useA) + moreB * (moreB + 2 * useB)
      score += (weights[d] ?? 0) * this.#deviation(sum, squares)
    }
    return score
  }

  #deviation(sum: number, squares: number): number {
    const mean = sum / this.#p.hosts
    return Math.sqrt(Math.max(0, squares / this.#p.hosts - mean * mean))
  }

  #all(): number[] {
    return this.#vmsOf.map((_, host) => host)
  }

  /** The hosts that are used most above and most below the average, over all dimensions. */
  #extremes(): [sources: number[], targets: number[]] {
    const { hosts, dimensions, weights, isClosed } = this.#p
    const pressures = new Float64Array(hosts)
    for (let d = 0; d < dimensions; d++) {
      const mean = (this.#sum[d] ?? 0) / hosts
      for (let host = 0; host < hosts; host++) {
        add(pressures, host, (weights[d] ?? 0) * ((this.#use[host * dimensions + d] ?? 0) - mean))
      }
    }
    const sources = greatest(hosts, sourcesAtOnce, host => {
      const isSource = this.#isDone[host] === 0 && (this.#vmsOf[host]?.length ?? 0) > 0
      return isSource ? (pressures[host] ?? 0) : -Infinity
    })
    const targets = greatest(hosts, targetsAtOnce, host =>
      isClosed[host] === 1 ? -Infinity : -(pressures[host] ?? 0)
    )
    return [sources, targets]
  }
}

function add(array: Float64Array | Int32Array, at: number, value: number): void {
  array[at] = (array[at] ?? 0) + value
}

/** The `most` indexes with the greatest values, least index first among equals; -Infinity is out. */
function greatest(size: number, most: number, valueOf: (index: number) => number): number[] {
  const found: Array<{ index: number; value: number }> = []
  for (let index = 0; index < size; index++) {
    const value = valueOf(index)
    if (value === -Infinity) continue
    if (found.length === most && value <= (found.at(-1)?.value ?? 0)) continue
    let place = found.length
    while (place > 0 && (found[place - 1]?.value ?? 0) < value) place--
    found.splice(place, 0, { index, value })
    if (found.length > most) found.pop()
  }
  return found.map(({ index }) => index)
}
