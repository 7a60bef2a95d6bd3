import type { Selectable } from 'kysely'
import { queue } from '../common/queue.js'
import { sql, type Reader } from './store/query.js'
import type { Store } from './store/store.js'
import type { EventTable } from './store/tables.js'

export type Event = Selectable<EventTable>

const batch = 200

const lastSequence = (reader: Reader): number =>
  reader.first(sql.selectFrom('event').select('sequence').orderBy('sequence', 'desc').limit(1))?.sequence ?? 0

/**
 * Events after a number, as they come. They are read from the store, so a slow reader holds nothing back and
 * misses nothing that is still kept. `after` 0 means from now on, -1 all that are kept.
 */
export async function* watchEvents(
  store: Store,
  { after, leastRank }: { after: number; leastRank: number },
  signal: AbortSignal
): AsyncGenerator<Event> {
  const wakes = queue<true>(signal)
  let isAwake = false
  const stop = store.listen(changes => {
    if (isAwake || !changes.some(({ kind }) => kind === 'event')) return
    isAwake = true
    wakes.push(true)
  })
  let seen = after === 0 ? lastSequence(store.read) : Math.max(0, after)
  try {
    for (;;) {
      const events = store.read.all(
        sql.selectFrom('event').selectAll().where('sequence', '>', seen).orderBy('sequence').limit(batch)
      )
      for (const event of events) {
        seen = event.sequence
        if (event.rank >= leastRank) yield event
      }
      if (events.length === batch) continue
      await wakes.next()
      isAwake = false
    }
  } finally {
    stop()
  }
}
