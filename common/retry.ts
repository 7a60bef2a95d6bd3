import { sleep, type Clock } from './clock.js'
import { seconds, type Seconds } from './units.js'

export type Backoff = { first: Seconds; most: Seconds }

/** Doubles from `first` to `most`, ±20 % so that many callers do not come back at once. */
export function delayBefore(attempt: number, { first, most }: Backoff, chance: number): Seconds {
  const plain = Math.min(most, first * 2 ** Math.min(attempt, 30))
  return seconds(plain * (0.8 + 0.4 * chance))
}

/** Tries until it works, a failure is final, or the signal ends it. */
export async function retry<T>(
  clock: Clock,
  backoff: Backoff,
  work: (attempt: number) => Promise<T>,
  isFinal: (error: unknown) => boolean,
  signal: AbortSignal
): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await work(attempt)
    } catch (error) {
      if (signal.aborted || isFinal(error)) throw error
    }
    await sleep(clock, delayBefore(attempt, backoff, clock.random()), signal)
  }
}
