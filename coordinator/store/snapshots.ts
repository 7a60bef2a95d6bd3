import type { Insertable, Selectable, Updateable } from 'kysely'
import { notFound } from './names.js'
import { sql, type Reader, type Tx } from './query.js'
import type { SnapshotDiskTable, SnapshotTable } from './tables.js'

export type SnapshotDisk = Selectable<SnapshotDiskTable>
export type Snapshot = Selectable<SnapshotTable> & { disks: SnapshotDisk[] }

const disksOf = (reader: Reader, snapshotId: string): SnapshotDisk[] =>
  reader.all(
    sql.selectFrom('snapshotDisk').selectAll().where('snapshotId', '=', snapshotId).orderBy('diskId')
  )

export const withDisks = (reader: Reader, rows: ReadonlyArray<Selectable<SnapshotTable>>): Snapshot[] =>
  rows.map(row => ({ ...row, disks: disksOf(reader, row.id) }))

export function snapshotOrNull(reader: Reader, id: string): Snapshot | null {
  const found = reader.first(sql.selectFrom('snapshot').selectAll().where('id', '=', id))
  return found && { ...found, disks: disksOf(reader, id) }
}

export function snapshot(reader: Reader, id: string): Snapshot {
  const found = snapshotOrNull(reader, id)
  if (!found) throw notFound('snapshot', id)
  return found
}

/** Oldest first. */
export const snapshotsOf = (reader: Reader, vmId: string): Snapshot[] =>
  withDisks(
    reader,
    reader.all(
      sql.selectFrom('snapshot').selectAll().where('vmId', '=', vmId).orderBy('created').orderBy('id')
    )
  )

export function insertSnapshot(
  tx: Tx,
  row: Insertable<SnapshotTable>,
  disks: ReadonlyArray<Omit<SnapshotDisk, 'snapshotId'>>
): void {
  tx.run(sql.insertInto('snapshot').values(row))
  for (const { diskId, volumeId } of disks) {
    tx.run(sql.insertInto('snapshotDisk').values({ snapshotId: row.id, diskId, volumeId }))
  }
}

export function updateSnapshot(tx: Tx, id: string, change: Updateable<SnapshotTable>): void {
  tx.run(sql.updateTable('snapshot').set(change).where('id', '=', id))
}

export function updateSnapshotDisk(tx: Tx, id: string, diskId: string, volumeId: string): void {
  tx.run(
    sql
      .updateTable('snapshotDisk')
      .set({ volumeId })
      .where('snapshotId', '=', id)
      .where('diskId', '=', diskId)
  )
}

export function deleteSnapshotRow(tx: Tx, id: string): void {
  tx.run(sql.deleteFrom('snapshot').where('id', '=', id))
}
