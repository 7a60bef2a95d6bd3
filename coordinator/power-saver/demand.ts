// How the load of a cluster grows: the slope of the last quarter of an hour, by least squares. PURE but for what
// it remembers.

const minute = 60_000
const window = 15 * minute

export class Demand {
  #samples: Array<{ time: number; cpu: number }> = []

  note(cpu: number, time: number): void {
    this.#samples = [
      ...this.#samples.filter(each => each.time > time - window && each.time < time),
      { time, cpu }
    ]
  }

  /** Percent of one CPU a minute; 0 before there are five minutes to look at. */
  perMinute(): number {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)]
    if (!first || !last || last.time - first.time < 5 * minute) return 0
    const count = this.#samples.length
    const meanTime = this.#samples.reduce((sum, { time }) => sum + time, 0) / count
    const meanCpu = this.#samples.reduce((sum, { cpu }) => sum + cpu, 0) / count
    let above = 0
    let below = 0
    for (const { time, cpu } of this.#samples) {
      above += (time - meanTime) * (cpu - meanCpu)
      below += (time - meanTime) ** 2
    }
    return below === 0 ? 0 : (above / below) * minute
  }
}
