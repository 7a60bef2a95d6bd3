import type { Insertable, Selectable, Updateable } from 'kysely'
import { Fault } from '../../common/fault.js'
import { notFound } from './names.js'
import { sql, type Reader, type Tx } from './query.js'
import type { ClusterTable } from './tables.js'

export type Cluster = Selectable<ClusterTable>

export const clusterOrNull = (reader: Reader, id: string): Cluster | null =>
  reader.first(sql.selectFrom('cluster').selectAll().where('id', '=', id))

export function cluster(reader: Reader, id: string): Cluster {
  const found = clusterOrNull(reader, id)
  if (!found) throw notFound('cluster', id)
  return found
}

export const clusters = (reader: Reader): Cluster[] =>
  reader.all(sql.selectFrom('cluster').selectAll().orderBy('name'))

export function insertCluster(tx: Tx, row: Insertable<ClusterTable>): void {
  tx.run(sql.insertInto('cluster').values(row))
}

export function updateCluster(tx: Tx, id: string, change: Updateable<ClusterTable>): void {
  tx.run(
    sql
      .updateTable('cluster')
      .set({ ...change })
      .set(eb => ({ version: eb('version', '+', 1) }))
      .where('id', '=', id)
  )
}

/** What was observed; the etag stays. */
export function noteCluster(tx: Tx, id: string, change: Updateable<ClusterTable>): void {
  tx.run(sql.updateTable('cluster').set(change).where('id', '=', id))
}

/** Only one that nothing belongs to. */
export function deleteCluster(tx: Tx, id: string): void {
  const { name } = cluster(tx, id)
  for (const [table, what] of [
    ['host', 'hosts'],
    ['vm', 'VMs']
  ] as const) {
    if (tx.first(sql.selectFrom(table).select('id').where('clusterId', '=', id).limit(1))) {
      throw new Fault('WRONG_STATE', `cluster ${name} still has ${what}`, { facts: { cluster: id } })
    }
  }
  tx.run(sql.deleteFrom('cluster').where('id', '=', id))
}
