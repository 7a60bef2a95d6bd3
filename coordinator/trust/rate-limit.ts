import type { Clock } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import type { Seconds } from '../../common/units.js'

const mostAddresses = 10_000

/** At most so many tries in a window, for each address. */
export class RateLimit {
  readonly #most: number
  readonly #window: Seconds
  readonly #clock: Clock
  readonly #tries = new Map<string, number[]>()

  constructor(most: number, window: Seconds, clock: Clock) {
    this.#most = most
    this.#window = window
    this.#clock = clock
  }

  throwIfExceeded(address: string): void {
    const now = this.#clock.monotonic()
    const recent = (this.#tries.get(address) ?? []).filter(time => now - time < this.#window)
    if (recent.length >= this.#most) {
      throw new Fault('LIMIT', `more than ${this.#most} tries in ${this.#window} s from ${address}`)
    }
    if (this.#tries.size >= mostAddresses) this.#tries.clear()
    this.#tries.set(address, [...recent, now])
  }
}
