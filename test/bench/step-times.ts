import type { Job__Output as Job } from '../../proto/generated/types/drover/v1/Job.js'
import { median } from './bench.js'

type Time = { seconds: string | number; nanos: number } | null

/** How long the steps of jobs took: where the time went. */
export class StepTimes {
  readonly #times = new Map<string, number[]>()

  take({ steps }: Job): void {
    for (const { name, started, ended } of steps) {
      const times = this.#times.get(name) ?? []
      times.push(inMs(ended) - inMs(started))
      this.#times.set(name, times)
    }
  }

  clear(): void {
    this.#times.clear()
  }

  /** For people. */
  medians(): string {
    return [...this.#times].map(([name, times]) => `${name} ${median(times).toFixed(0)}`).join(', ')
  }
}

const inMs = (time: Time) => (time ? Number(time.seconds) * 1000 + time.nanos / 1e6 : NaN)
