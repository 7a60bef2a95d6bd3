import type { Clock } from './clock.js'
import type { Seconds } from './units.js'

export type RateLimits = { perSecond: number; burst: number }

/** Far beyond what a client has reason to ask for, and far below what keeps a daemon busy. */
export const standardRate: RateLimits = { perSecond: 500, burst: 2000 }

const mostPeers = 10_000

type Bucket = { left: number; at: Seconds; isOver: boolean }

/** How many calls a peer may begin in a time: a bucket for each, that fills again by itself. */
export class Rate {
  readonly #limits: RateLimits
  readonly #clock: Clock
  readonly #buckets = new Map<string, Bucket>()

  constructor(limits: RateLimits, clock: Clock) {
    this.#limits = limits
    this.#clock = clock
  }

  /** One call more. `began` is said once, when a peer first gets beyond its limit. */
  take(peer: string): 'ok' | 'over' | 'began' {
    const now = this.#clock.monotonic()
    const bucket = this.#buckets.get(peer) ?? this.#fresh(peer, now)
    bucket.left = this.#filled(bucket, now)
    bucket.at = now
    if (bucket.left >= 1) {
      bucket.left--
      bucket.isOver &&= bucket.left < this.#limits.burst / 2
      return 'ok'
    }
    const wasOver = bucket.isOver
    bucket.isOver = true
    return wasOver ? 'over' : 'began'
  }

  #filled({ left, at }: Bucket, now: Seconds): number {
    return Math.min(this.#limits.burst, left + (now - at) * this.#limits.perSecond)
  }

  #fresh(peer: string, now: Seconds): Bucket {
    if (this.#buckets.size >= mostPeers) this.#forgetFull(now)
    const bucket = { left: this.#limits.burst, at: now, isOver: false }
    this.#buckets.set(peer, bucket)
    return bucket
  }

  /** Who has not called for a while is as one who never did. */
  #forgetFull(now: Seconds): void {
    for (const [peer, bucket] of this.#buckets) {
      if (this.#filled(bucket, now) >= this.#limits.burst) this.#buckets.delete(peer)
    }
    // As many callers at once are an attack by address: their share is decided anew.
    if (this.#buckets.size >= mostPeers) this.#buckets.clear()
  }
}
