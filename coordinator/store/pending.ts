import type { Insertable, Selectable } from 'kysely'
import { sql, type Reader, type Tx } from './query.js'
import type { PendingTable } from './tables.js'

// Room that a decision has promised to a VM on a host where it has not been seen yet. It ends when the VM is
// seen there (observe.ts), or with the job that asked for it.

export type Pending = Selectable<PendingTable>

export function reserve(tx: Tx, row: Insertable<PendingTable>): void {
  tx.run(
    sql
      .insertInto('pending')
      .values(row)
      .onConflict(conflict => conflict.columns(['vmId', 'hostId']).doUpdateSet(row))
  )
}

export function unreserve(tx: Tx, vmId: string, hostId: string): void {
  tx.run(sql.deleteFrom('pending').where('vmId', '=', vmId).where('hostId', '=', hostId))
}

export function unreserveJob(tx: Tx, jobId: string): void {
  tx.run(sql.deleteFrom('pending').where('jobId', '=', jobId))
}

export const pendingOn = (reader: Reader, hostId: string): Pending[] =>
  reader.all(sql.selectFrom('pending').selectAll().where('hostId', '=', hostId))
