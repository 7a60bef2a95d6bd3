import { setImmediate, setTimeout } from 'node:timers/promises'
import type { Clock } from '../../common/clock.js'
import { seconds } from '../../common/units.js'

/** A clock that stands still until the test moves it. */
export class ManualClock implements Clock {
  #now = 0
  #timers: Array<{ at: number; run: () => void }> = []

  monotonic = () => seconds(this.#now)
  wall = () => this.#now * 1000
  random = () => 0.5
  newId = () => 'id'

  after = (delay: number, run: () => void) => {
    const timer = { at: this.#now + delay, run }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter(other => other !== timer)
    }
  }

  get waiting(): number {
    return this.#timers.length
  }

  /** Lets begin what is about to begin, then moves on and runs what is due. */
  async advance(by: number): Promise<void> {
    await setImmediate()
    this.#now += by
    const due = this.#timers.filter(({ at }) => at <= this.#now)
    this.#timers = this.#timers.filter(({ at }) => at > this.#now)
    for (const { run } of due) run()
    await setImmediate()
  }
}

/** Waits, by the real clock, for what another task or process will do soon. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  limit = 60_000
): Promise<void> {
  const end = performance.now() + limit
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`did not happen: ${what}`)
    await setTimeout(1)
  }
}
