// Hosts of a plan in the order of their scores, for requests that differ in nothing but the VM's id. A binary
// heap that knows where each host is, so that one host can be judged anew without looking at the others. PURE.

/** Indexes 0 to size - 1, least score first; of equal scores the lower index. */
export class ShapeOrder {
  readonly #scores: Float64Array
  readonly #heap: Int32Array
  readonly #places: Int32Array
  #length = 0

  constructor(size: number) {
    this.#scores = new Float64Array(size)
    this.#heap = new Int32Array(size)
    this.#places = new Int32Array(size).fill(-1)
  }

  /** Index of the best, or -1. */
  get best(): number {
    return this.#length === 0 ? -1 : (this.#heap[0] ?? -1)
  }

  has(index: number): boolean {
    return (this.#places[index] ?? -1) >= 0
  }

  scoreOf(index: number): number {
    return this.#scores[index] ?? 0
  }

  /** Index of the best of all but some few, or -1. Costs a look at each of those, not at all hosts. */
  bestBut(isOut: ReadonlySet<number>): number {
    const open = this.#length === 0 ? [] : [0]
    for (;;) {
      const least = leastOf(open, (a, b) => this.#isBefore(this.#heap[a] ?? 0, this.#heap[b] ?? 0))
      const place = open[least]
      if (place === undefined) return -1
      const index = this.#heap[place] ?? -1
      if (!isOut.has(index)) return index
      open.splice(least, 1, ...[2 * place + 1, 2 * place + 2].filter(child => child < this.#length))
    }
  }

  /** A new score, or null for one that is out. */
  set(index: number, score: number | null): void {
    const place = this.#places[index] ?? -1
    if (score === null) {
      if (place >= 0) this.#remove(place)
      return
    }
    this.#scores[index] = score
    if (place < 0) {
      this.#put(this.#length, index)
      this.#length++
      this.#up(this.#length - 1)
    } else {
      this.#down(this.#up(place))
    }
  }

  #remove(place: number): void {
    const index = this.#heap[place] ?? 0
    this.#places[index] = -1
    this.#length--
    if (place === this.#length) return
    this.#put(place, this.#heap[this.#length] ?? 0)
    this.#down(this.#up(place))
  }

  #put(place: number, index: number): void {
    this.#heap[place] = index
    this.#places[index] = place
  }

  #isBefore(a: number, b: number): boolean {
    const difference = (this.#scores[a] ?? 0) - (this.#scores[b] ?? 0)
    return difference < 0 || (difference === 0 && a < b)
  }

  #up(from: number): number {
    let place = from
    const index = this.#heap[place] ?? 0
    while (place > 0) {
      const parent = (place - 1) >> 1
      const other = this.#heap[parent] ?? 0
      if (!this.#isBefore(index, other)) break
      this.#put(place, other)
      place = parent
    }
    this.#put(place, index)
    return place
  }

  #down(from: number): void {
    let place = from
    const index = this.#heap[place] ?? 0
    for (;;) {
      let child = 2 * place + 1
      if (child >= this.#length) break
      const right = child + 1
      if (right < this.#length && this.#isBefore(this.#heap[right] ?? 0, this.#heap[child] ?? 0))
        child = right
      const other = this.#heap[child] ?? 0
      if (!this.#isBefore(other, index)) break
      this.#put(place, other)
      place = child
    }
    this.#put(place, index)
  }
}

function leastOf(items: readonly number[], isBefore: (a: number, b: number) => boolean): number {
  let least = 0
  for (let at = 1; at < items.length; at++) {
    if (isBefore(items[at] ?? 0, items[least] ?? 0)) least = at
  }
  return least
}
