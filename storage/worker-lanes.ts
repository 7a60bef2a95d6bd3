import { type Lane, laneWidths } from './verbs.js'

/** So many verbs of a kind at once, the rest in order: a stuck read of one kind leaves the others free. */
export class WorkerLanes {
  readonly #running: Record<Lane, number> = { monitor: 0, manager: 0, extend: 0, metadata: 0, bulk: 0 }
  readonly #waiting: Record<Lane, Array<() => void>> = {
    monitor: [],
    manager: [],
    extend: [],
    metadata: [],
    bulk: []
  }

  async run<T>(lane: Lane, work: () => Promise<T>): Promise<T> {
    if (this.#running[lane] >= laneWidths[lane]) {
      await new Promise<void>(resolve => this.#waiting[lane].push(resolve))
    } else {
      this.#running[lane]++
    }
    try {
      return await work()
    } finally {
      const next = this.#waiting[lane].shift()
      if (next) next()
      else this.#running[lane]--
    }
  }

  get busy(): number {
    return Object.values(this.#running).reduce((sum, count) => sum + count, 0)
  }
}
