import { Fault } from '../../common/fault.js'
import { choiceRule } from '../../common/rules.js'
import { serverStream } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import type { WatchServiceDefinition } from '../../proto/generated/types/drover/agent/v1/WatchService.js'
import { watch, type Watched } from '../watch-stream.js'

const kinds = ['host', 'vm', 'task', 'storageDomain'] as const
const mostWatchers = 8

/** `watchers` counts who watches, for the debug door. */
export function watchService(
  watched: Watched,
  watchers: { count: number }
): Handlers<WatchServiceDefinition> {
  return {
    watch: serverStream({
      check: fields => ({
        kinds: new Set(fields.each('kinds', kinds.length, choiceRule(kinds))),
        from: fields.optionalMessage('from', position => ({
          incarnation: position.uuid('incarnation'),
          sequence: Number(position.int64('sequence', 0n, BigInt(Number.MAX_SAFE_INTEGER)))
        }))
      }),
      method: async function* ({ kinds, from }, { signal }) {
        if (watchers.count >= mostWatchers)
          throw new Fault('LIMIT', `${mostWatchers} watchers are here already`)
        watchers.count++
        try {
          yield* watch(watched, from, kinds, signal)
        } finally {
          watchers.count--
        }
      }
    })
  }
}
