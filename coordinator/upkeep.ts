import { sleep, type Clock } from '../common/clock.js'
import type { Logger } from '../common/log.js'
import { seconds, type Seconds } from '../common/units.js'

/** Work that is done again and again; one that fails is logged, and tried again at its next time. */
export type Chore = { name: string; every: Seconds; work(signal: AbortSignal): void | Promise<void> }

/** Each chore has its own pace, and none waits for another. */
export async function keepUp(
  chores: readonly Chore[],
  clock: Clock,
  log: Logger,
  stop: AbortSignal
): Promise<void> {
  await Promise.all(
    chores.map(async ({ name, every, work }) => {
      while (!stop.aborted) {
        try {
          await work(stop)
        } catch (error) {
          if (!stop.aborted) log.warn({ err: error, chore: name }, 'a chore failed')
        }
        await sleep(clock, seconds(every), stop).catch(() => {})
      }
    })
  )
}
