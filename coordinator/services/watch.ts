import { sleep, type Clock } from '../../common/clock.js'
import { choiceRule } from '../../common/rules.js'
import { serverStream } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import { seconds } from '../../common/units.js'
import type { WatchResponse } from '../../proto/generated/types/drover/v1/WatchResponse.js'
import type { WatchServiceDefinition } from '../../proto/generated/types/drover/v1/WatchService.js'
import { watchedKinds, type Changed, type ChangeLog, type WatchKind } from '../change-log.js'

/** An object as it is now; null where it does not exist. */
export type StateOf = (kind: WatchKind, id: string) => Partial<WatchResponse> | null

export type Watched = {
  log: ChangeLog
  clock: Clock
  stateOf: StateOf
  idsOf(kind: WatchKind): string[]
}

type Position = { incarnation: string; sequence: number }

/** A snapshot, then changes, the whole new state each time; a heartbeat every second. */
export function watchService(watched: Watched): Handlers<WatchServiceDefinition> {
  return {
    watch: serverStream({
      check: fields => ({
        kinds: fields.each('kinds', watchedKinds.length, choiceRule(watchedKinds)),
        from: fields.optionalMessage('from', position => ({
          incarnation: position.uuid('incarnation'),
          sequence: Number(position.int64('sequence', 0n, BigInt(Number.MAX_SAFE_INTEGER)))
        }))
      }),
      method: ({ kinds, from }, { signal }) =>
        watch(watched, kinds.length > 0 ? kinds : [...watchedKinds], from, signal)
    })
  }
}

async function* watch(
  { log, clock, stateOf, idsOf }: Watched,
  kinds: readonly WatchKind[],
  from: Position | null,
  signal: AbortSignal
): AsyncGenerator<WatchResponse> {
  const at = (sequence: number) => ({ incarnation: log.incarnation, sequence: String(sequence) })
  let seen = from
  if (!seen || log.since(seen) === null) {
    // What changes while the snapshot goes out comes again as a change.
    seen = { incarnation: log.incarnation, sequence: log.sequence }
    for (const kind of kinds) {
      for (const id of idsOf(kind)) {
        const state = stateOf(kind, id)
        if (state) yield { position: at(0), key: `${kind}/${id}`, kind: 'WATCH_KIND_SNAPSHOT', ...state }
      }
    }
    yield { position: at(seen.sequence), key: '', kind: 'WATCH_KIND_SNAPSHOT_END' }
  }

  const message = ({ kind, id, sequence }: Changed): WatchResponse => {
    const state = stateOf(kind, id)
    const common = { position: at(sequence), key: `${kind}/${id}` }
    return state
      ? { ...common, kind: 'WATCH_KIND_CHANGED', ...state }
      : { ...common, kind: 'WATCH_KIND_REMOVED' }
  }
  const waiting = wakes(log, clock, signal)
  try {
    for (;;) {
      const changes = log.since(seen)
      // Fallen so far behind that the log no longer reaches back: the caller begins again.
      if (!changes) return
      for (const change of changes) {
        seen = { ...seen, sequence: change.sequence }
        if (kinds.includes(change.kind)) yield message(change)
      }
      if (changes.length > 0) continue
      if (!(await waiting.next())) {
        yield { position: at(seen.sequence), key: '', kind: 'WATCH_KIND_HEARTBEAT' }
      }
    }
  } finally {
    waiting.stop()
  }
}

/** Whether something changed, or a second went by without; rejects when the signal ends it. */
function wakes(log: ChangeLog, clock: Clock, signal: AbortSignal) {
  let isAwake = false
  let wake = () => {}
  const stop = log.listen(() => {
    isAwake = true
    wake()
  })
  const next = async (): Promise<boolean> => {
    if (!isAwake) {
      const woken = new AbortController()
      wake = () => woken.abort()
      await sleep(clock, seconds(1), AbortSignal.any([signal, woken.signal])).catch(() => {})
      wake = () => {}
    }
    signal.throwIfAborted()
    const was = isAwake
    isAwake = false
    return was
  }
  return { next, stop }
}
