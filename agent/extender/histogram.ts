import type { Seconds } from '../../common/units.js'

const bounds = [0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2, 5, 10, 30, 60]

/** How often an extend took how long; counted as Prometheus counts, each bound with all below it. */
export class Histogram {
  readonly #counts = new Map<string, number[]>()
  readonly #sums = new Map<string, number>()

  observe(label: string, took: Seconds): void {
    const counts = this.#counts.get(label) ?? new Array<number>(bounds.length + 1).fill(0)
    const seen = counts.map((count, i) => count + (took <= (bounds[i] ?? Infinity) ? 1 : 0))
    this.#counts.set(label, seen)
    this.#sums.set(label, (this.#sums.get(label) ?? 0) + took)
  }

  /** By label: the counts up to each bound, all of them, and the sum of the seconds. */
  dump(): Record<string, { buckets: Record<string, number>; count: number; sum: number }> {
    return Object.fromEntries(
      [...this.#counts].map(([label, counts]) => {
        const buckets = Object.fromEntries(bounds.map((bound, i) => [String(bound), counts[i] ?? 0]))
        return [label, { buckets, count: counts[bounds.length] ?? 0, sum: this.#sums.get(label) ?? 0 }]
      })
    )
  }
}
