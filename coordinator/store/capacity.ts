import type { Insertable } from 'kysely'
import { sql, type Reader, type Tx } from './query.js'
import type { CapacityKind, CapacitySampleTable } from './tables.js'

// History for forecasts: a sample every ten minutes, thinned to one an hour after a week, for a year.

const minute = 60_000
const day = 86_400_000

export function addCapacitySample(tx: Tx, row: Insertable<CapacitySampleTable>): void {
  tx.run(
    sql
      .insertInto('capacitySample')
      .values(row)
      .onConflict(conflict => conflict.columns(['kind', 'objectId', 'time']).doUpdateSet(row))
  )
}

/** In the order of time. */
export const capacitySamples = (reader: Reader, kind: CapacityKind, objectId: string, since: number) =>
  reader.all(
    sql
      .selectFrom('capacitySample')
      .select(['time', 'used', 'total'])
      .where('kind', '=', kind)
      .where('objectId', '=', objectId)
      .where('time', '>=', since)
      .orderBy('time')
  )

/** Keeps of old samples the first of each hour, and none older than a year. */
export function thinCapacitySamples(tx: Tx, now: number): void {
  tx.run(sql.deleteFrom('capacitySample').where('time', '<', now - 365 * day))
  tx.run(
    sql
      .deleteFrom('capacitySample')
      .where('time', '<', now - 7 * day)
      .where(eb => eb(eb('time', '%', 60 * minute), '>=', 10 * minute))
  )
}
