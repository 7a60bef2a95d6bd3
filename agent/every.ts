import { sleep, type Clock } from '../common/clock.js'
import type { Logger } from '../common/log.js'
import type { Seconds } from '../common/units.js'

/** Does something again and again, one round after the other. A round that fails is logged, and the next comes. */
export async function every(
  { clock, log, name }: { clock: Clock; log: Logger; name: string },
  interval: Seconds,
  round: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal
): Promise<void> {
  while (!signal.aborted) {
    await round(signal).catch((error: unknown) => {
      if (!signal.aborted) log.warn({ err: error }, `${name} failed`)
    })
    await sleep(clock, interval, signal).catch(() => {})
  }
}
