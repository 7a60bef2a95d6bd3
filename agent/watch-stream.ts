import type { Delta as WireDelta } from '../proto/generated/types/drover/agent/v1/Delta.js'
import type { Samples } from '../proto/generated/types/drover/agent/v1/Samples.js'
import type { WatchResponse } from '../proto/generated/types/drover/agent/v1/WatchResponse.js'
import { sleep, type Clock } from '../common/clock.js'
import { seconds } from '../common/units.js'
import type { Delta, Position, WatchLog } from './watch-log.js'
import { wireTime } from './wire.js'

/** State of one key, as it travels. */
export type WatchState = Pick<WireDelta, 'vm' | 'task' | 'storageDomain' | 'host'>
export type WatchKind = 'host' | 'vm' | 'task' | 'storageDomain'

export type Watched = {
  log: WatchLog<WatchState>
  clock: Clock
  hello(): {
    hostGeneration: number
    bootId: string
    agentVersion: string
    contractHash: string
    recovering: boolean
  }
  /** The latest round of statistics; null before the first. */
  samples(): Samples | null
}

/**
 * One watcher's stream. It sends what the log has beyond its position whenever there is something, so a slow
 * reader skips states; a heartbeat and the statistics every second, of which nothing is kept for it.
 */
export async function* watch(
  { log, clock, hello, samples }: Watched,
  from: Position | null,
  kinds: ReadonlySet<WatchKind>,
  signal: AbortSignal
): AsyncGenerator<WatchResponse> {
  const wants = (key: string) => kinds.size === 0 || kinds.has(key.split('/')[0] as WatchKind)
  const first = log.since(from)
  let { sequence } = first
  const { incarnation } = log
  const { hostGeneration, ...about } = hello()
  const continues = first.kind === 'deltas'
  yield { hello: { incarnation, hostGeneration: String(hostGeneration), ...about, continues } }
  for (const delta of first.deltas) {
    if (!wants(delta.key)) continue
    yield continues ? { delta: deltaMessage(delta) } : { snapshot: deltaMessage(delta) }
  }
  if (!continues) yield { snapshotEnd: { sequence: String(sequence) } }

  let { last: number } = log.occurrencesSince(0)
  let lastSamples: Samples | null = null
  let nextBeat = clock.monotonic()
  const changes = changesOf(log, signal)
  try {
    while (!signal.aborted) {
      const news = log.since({ incarnation, sequence })
      // A watcher that was asleep for more than the tombstones can tell begins again.
      if (news.kind === 'snapshot') return
      sequence = news.sequence
      for (const delta of news.deltas) if (wants(delta.key)) yield { delta: deltaMessage(delta) }
      const happened = log.occurrencesSince(number)
      number = happened.last
      for (const [index, { at, ...occurrence }] of happened.occurrences.entries()) {
        const dropped = String(index === 0 ? happened.dropped : 0)
        yield {
          occurrence: { ...occurrence, number: String(occurrence.number), time: wireTime(at), dropped }
        }
      }
      if (clock.monotonic() >= nextBeat) {
        nextBeat = seconds(clock.monotonic() + 1)
        yield { heartbeat: { sequence: String(sequence) } }
        const round = samples()
        if (round && round !== lastSamples) yield { samples: round }
        lastSamples = round
      }
      await changes.next(clock, seconds(Math.max(0.01, nextBeat - clock.monotonic())))
    }
  } finally {
    changes.stop()
  }
}

function deltaMessage({ sequence, key, state }: Delta<WatchState>): WireDelta {
  return { sequence: String(sequence), key, removed: state === null, ...state }
}

/** Wakes once for however many changes there were meanwhile. */
function changesOf(log: WatchLog<WatchState>, signal: AbortSignal) {
  let isChanged = false
  let wake = () => {}
  const stop = log.listen(() => {
    isChanged = true
    wake()
  })
  const next = async (clock: Clock, limit: ReturnType<typeof seconds>) => {
    if (!isChanged) {
      const woken = new AbortController()
      wake = () => woken.abort()
      await sleep(clock, limit, AbortSignal.any([signal, woken.signal])).catch(() => {})
      wake = () => {}
    }
    isChanged = false
  }
  return { next, stop }
}
