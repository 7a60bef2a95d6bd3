import type { Insertable, Selectable, Updateable } from 'kysely'
import { notFound } from './names.js'
import { sql, type Reader, type Tx } from './query.js'
import type { DiskTable, DiskViewTable, VolumeTable } from './tables.js'

/** A disk with the VM or template it belongs to (empty: none), and the length of its chain. */
export type Disk = Omit<Selectable<DiskViewTable>, 'isShareable'> & { isShareable: boolean }
export type Volume = Omit<Selectable<VolumeTable>, 'isShared'> & { isShared: boolean }

/** A row of the view, for lists. */
export const diskFrom = ({ isShareable, ...row }: Selectable<DiskViewTable>): Disk => {
  return { ...row, isShareable: isShareable === 1 }
}

export function diskOrNull(reader: Reader, id: string): Disk | null {
  const found = reader.first(sql.selectFrom('diskView').selectAll().where('id', '=', id))
  return found && diskFrom(found)
}

export function disk(reader: Reader, id: string): Disk {
  const found = diskOrNull(reader, id)
  if (!found) throw notFound('disk', id)
  return found
}

export const disksOfStorageDomain = (reader: Reader, storageDomainId: string): Disk[] =>
  reader
    .all(sql.selectFrom('diskView').selectAll().where('storageDomainId', '=', storageDomainId))
    .map(diskFrom)

export function insertDisk(tx: Tx, row: Insertable<DiskTable>): void {
  tx.run(sql.insertInto('disk').values(row))
}

export function updateDisk(tx: Tx, id: string, change: Updateable<DiskTable>): void {
  tx.run(
    sql
      .updateTable('disk')
      .set({ ...change })
      .set(eb => ({ version: eb('version', '+', 1) }))
      .where('id', '=', id)
  )
}

/** Its volumes go with it. */
export function deleteDiskRow(tx: Tx, id: string): void {
  tx.run(sql.deleteFrom('volume').where('diskId', '=', id))
  tx.run(sql.deleteFrom('disk').where('id', '=', id))
}

const volumeOf = ({ isShared, ...row }: Selectable<VolumeTable>): Volume => {
  return { ...row, isShared: isShared === 1 }
}

export function volumeOrNull(reader: Reader, id: string): Volume | null {
  const found = reader.first(sql.selectFrom('volume').selectAll().where('id', '=', id))
  return found && volumeOf(found)
}

/** The volumes of a disk; a template's below them is not among them. */
export const volumesOf = (reader: Reader, diskId: string): Volume[] =>
  reader
    .all(sql.selectFrom('volume').selectAll().where('diskId', '=', diskId).orderBy('created'))
    .map(volumeOf)

/** Volumes that lie directly over one. */
export const childrenOf = (reader: Reader, volumeId: string): Volume[] =>
  reader.all(sql.selectFrom('volume').selectAll().where('parentId', '=', volumeId)).map(volumeOf)

export function insertVolume(tx: Tx, row: Insertable<VolumeTable>): void {
  tx.run(sql.insertInto('volume').values(row))
}

export function updateVolume(tx: Tx, id: string, change: Updateable<VolumeTable>): void {
  tx.run(sql.updateTable('volume').set(change).where('id', '=', id))
}

export function deleteVolumeRow(tx: Tx, id: string): void {
  tx.run(sql.deleteFrom('volume').where('id', '=', id))
}
