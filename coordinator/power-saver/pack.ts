// On how few hosts a set of VMs fits: vector bin packing with bins that differ. PURE numbers.
//
// No method is best for every set, so several quick ones run and the best result counts; then hosts are emptied
// one by one into the room that the others have left, also by letting VMs swap places.

export type Packing = {
  hosts: number
  dimensions: number
  /** hosts x dimensions: what VMs may take there. */
  room: Float64Array
  /** VMs x dimensions. */
  demand: Float64Array
  /** Whether a VM may be on a host at all. */
  allows(vm: number, host: number): boolean
  /** Hosts that are used anyhow. */
  isKept: Uint8Array
}

/** Host of each VM; null when they do not fit at all. */
export type Packed = { hostOf: Int32Array; used: number } | null

export function pack(problem: Packing): Packed {
  let best: Packed = null
  for (const order of orders(problem)) {
    for (const fit of ['best', 'balanced', 'first'] as const) {
      const found = fill(problem, order, fit)
      if (found && (best === null || found.used < best.used)) best = found
    }
  }
  return best && emptyHosts(problem, best)
}

/** A bound that no packing can be below: by each dimension alone, the largest hosts first. */
export function leastHosts({ hosts, dimensions, room, demand }: Packing): number {
  let bound = 0
  for (let d = 0; d < dimensions; d++) {
    let needed = 0
    for (let at = d; at < demand.length; at += dimensions) needed += demand[at] ?? 0
    const rooms = Array.from({ length: hosts }, (_, host) => room[host * dimensions + d] ?? 0)
    rooms.sort((a, b) => b - a)
    let count = 0
    while (needed > 1e-6 && count < hosts) needed -= rooms[count++] ?? 0
    bound = Math.max(bound, count)
  }
  return bound
}

const vmCount = ({ demand, dimensions }: Packing) => demand.length / dimensions

/** VMs, largest first by sum, by the largest share, and by each dimension; shares are of an average host. */
function orders(problem: Packing): number[][] {
  const { hosts, dimensions, room, demand } = problem
  const mean = Array.from({ length: dimensions }, (_, d) => {
    let sum = 0
    for (let host = 0; host < hosts; host++) sum += room[host * dimensions + d] ?? 0
    return sum / hosts || 1
  })
  const shares = Array.from({ length: vmCount(problem) }, (_, vm) =>
    mean.map((whole, d) => (demand[vm * dimensions + d] ?? 0) / whole)
  )
  const by = (value: (share: number[]) => number) =>
    shares
      .map((share, vm) => ({ vm, value: value(share) }))
      .toSorted((a, b) => b.value - a.value || a.vm - b.vm)
      .map(({ vm }) => vm)
  const keys = [
    (share: number[]) => share.reduce((sum, part) => sum + part, 0),
    (share: number[]) => Math.max(...share),
    ...mean.map((_, d) => (share: number[]) => share[d] ?? 0)
  ]
  return keys.map(by)
}

type Fit = 'first' | 'best' | 'balanced'

function fill(problem: Packing, order: readonly number[], fit: Fit): Packed {
  const { hosts, dimensions, room, demand } = problem
  const left = Float64Array.from(room)
  const hostOf = new Int32Array(vmCount(problem)).fill(-1)
  const isOpen = Uint8Array.from(problem.isKept)
  const opened: number[] = []
  for (let host = 0; host < hosts; host++) if (isOpen[host] === 1) opened.push(host)
  // Large hosts are opened first: fewer of them are needed.
  const closed = Array.from({ length: hosts }, (_, host) => host)
    .filter(host => isOpen[host] === 0)
    .toSorted((a, b) => sizeOf(problem, b) - sizeOf(problem, a) || a - b)
  let next = 0
  for (const vm of order) {
    let host = chooseOpen(problem, left, opened, vm, fit)
    if (host < 0) {
      let at = next
      while (at < closed.length) {
        const other = closed[at] ?? 0
        if (isOpen[other] === 0 && fits(problem, left, vm, other)) break
        at++
      }
      host = at < closed.length ? (closed[at] ?? -1) : -1
      if (host < 0) return null
      isOpen[host] = 1
      opened.push(host)
      while (next < closed.length && isOpen[closed[next] ?? 0] === 1) next++
    }
    for (let d = 0; d < dimensions; d++) {
      left[host * dimensions + d] = (left[host * dimensions + d] ?? 0) - (demand[vm * dimensions + d] ?? 0)
    }
    hostOf[vm] = host
  }
  return { hostOf, used: countUsed(problem, hostOf) }
}

const sizeOf = ({ dimensions, room }: Packing, host: number) => {
  let size = 1
  for (let d = 0; d < dimensions; d++) size *= room[host * dimensions + d] ?? 0
  return size
}

function fits(problem: Packing, left: Float64Array, vm: number, host: number): boolean {
  const { dimensions, demand } = problem
  for (let d = 0; d < dimensions; d++) {
    if ((demand[vm * dimensions + d] ?? 0) > (left[host * dimensions + d] ?? 0) + 1e-9) return false
  }
  return problem.allows(vm, host)
}

function chooseOpen(
  problem: Packing,
  left: Float64Array,
  opened: readonly number[],
  vm: number,
  fit: Fit
): number {
  const { dimensions, demand, room } = problem
  let best = -1
  let bestValue = Infinity
  for (const host of opened) {
    if (!fits(problem, left, vm, host)) continue
    if (fit === 'first') return host
    let sum = 0
    let most = 0
    let least = Infinity
    for (let d = 0; d < dimensions; d++) {
      const at = host * dimensions + d
      const rest = ((left[at] ?? 0) - (demand[vm * dimensions + d] ?? 0)) / (room[at] || 1)
      sum += rest
      most = Math.max(most, rest)
      least = Math.min(least, rest)
    }
    // Balanced: what is left should be left in all dimensions alike, or one of them is wasted.
    const value = fit === 'best' ? sum : sum + 2 * (most - least)
    if (value < bestValue) {
      bestValue = value
      best = host
    }
  }
  return best
}

function countUsed({ hosts, isKept }: Packing, hostOf: Int32Array): number {
  const isUsed = Uint8Array.from(isKept)
  for (const host of hostOf) if (host >= 0) isUsed[host] = 1
  let count = 0
  for (let host = 0; host < hosts; host++) count += isUsed[host] ?? 0
  return count
}

const mostTries = 60

/** Takes the least used hosts and tries to do without them, as long as that works. */
function emptyHosts(problem: Packing, packed: NonNullable<Packed>): NonNullable<Packed> {
  const bound = leastHosts(problem)
  let now = packed
  for (let tries = 0; now.used > bound && tries < mostTries;) {
    const candidates = leastUsed(problem, now.hostOf).slice(0, 12)
    let found: NonNullable<Packed> | null = null
    for (const host of candidates) {
      if (++tries > mostTries) break
      found = without(problem, now, host)
      if (found) break
    }
    if (!found) break
    now = found
  }
  return now
}

/** Used hosts that may be empty, those with the least on them first. */
function leastUsed(problem: Packing, hostOf: Int32Array): number[] {
  const { hosts, dimensions, room, demand } = problem
  const use = new Float64Array(hosts)
  const isUsed = new Uint8Array(hosts)
  for (const [vm, host] of hostOf.entries()) {
    isUsed[host] = 1
    for (let d = 0; d < dimensions; d++) {
      const part = (demand[vm * dimensions + d] ?? 0) / (room[host * dimensions + d] || 1)
      use[host] = (use[host] ?? 0) + part
    }
  }
  return Array.from({ length: hosts }, (_, host) => host)
    .filter(host => isUsed[host] === 1 && problem.isKept[host] === 0)
    .toSorted((a, b) => (use[a] ?? 0) - (use[b] ?? 0) || a - b)
}

/** The same packing without one host, or null. */
function without(problem: Packing, packed: NonNullable<Packed>, empty: number): NonNullable<Packed> | null {
  const { hosts, dimensions, room, demand, isKept } = problem
  const hostOf = Int32Array.from(packed.hostOf)
  const left = Float64Array.from(room)
  const isUsed = Uint8Array.from(isKept)
  const vmsOf: number[][] = Array.from({ length: hosts }, () => [])
  for (const [vm, host] of hostOf.entries()) {
    isUsed[host] = 1
    vmsOf[host]?.push(vm)
    shift(left, demand, dimensions, vm, host, -1)
  }
  const opened = Array.from({ length: hosts }, (_, host) => host).filter(
    host => isUsed[host] === 1 && host !== empty
  )
  const size = (vm: number) => {
    let sum = 0
    for (let d = 0; d < dimensions; d++) {
      sum += (demand[vm * dimensions + d] ?? 0) / (room[empty * dimensions + d] || 1)
    }
    return sum
  }
  const homeless = (vmsOf[empty] ?? []).toSorted((a, b) => size(b) - size(a))
  let budget = 40 * homeless.length + 200
  while (homeless.length > 0) {
    const vm = homeless.shift() ?? 0
    const direct = chooseOpen(problem, left, opened, vm, 'balanced')
    if (direct >= 0) {
      move(vm, direct)
      continue
    }
    // Somebody smaller makes room and looks for another place.
    const swap = eject(vm)
    if (!swap || --budget < 0) return null
    const [host, ejected] = swap
    shift(left, demand, dimensions, ejected, host, 1)
    vmsOf[host] = (vmsOf[host] ?? []).filter(other => other !== ejected)
    move(vm, host)
    homeless.push(ejected)
    homeless.sort((a, b) => size(b) - size(a))
  }
  return { hostOf, used: countUsed(problem, hostOf) }

  function move(vm: number, host: number): void {
    hostOf[vm] = host
    vmsOf[host]?.push(vm)
    shift(left, demand, dimensions, vm, host, -1)
  }

  /** The smallest VM, smaller than this one, whose going lets it in. */
  function eject(vm: number): [host: number, ejected: number] | null {
    let best: [number, number] | null = null
    let least = size(vm) - 1e-9
    for (const host of opened) {
      if (!problem.allows(vm, host)) continue
      for (const other of vmsOf[host] ?? []) {
        const its = size(other)
        if (its >= least || !roomAfter(vm, other, host)) continue
        least = its
        best = [host, other]
      }
    }
    return best
  }

  function roomAfter(vm: number, other: number, host: number): boolean {
    for (let d = 0; d < dimensions; d++) {
      const free = (left[host * dimensions + d] ?? 0) + (demand[other * dimensions + d] ?? 0)
      if ((demand[vm * dimensions + d] ?? 0) > free + 1e-9) return false
    }
    return true
  }
}

function shift(
  left: Float64Array,
  demand: Float64Array,
  dimensions: number,
  vm: number,
  host: number,
  sign: 1 | -1
): void {
  for (let d = 0; d < dimensions; d++) {
    const at = host * dimensions + d
    left[at] = (left[at] ?? 0) + sign * (demand[vm * dimensions + d] ?? 0)
  }
}
