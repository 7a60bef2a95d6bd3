import type { Insertable, Selectable, Updateable } from 'kysely'
import type { MigrationProgress__Output } from '../../proto/generated/types/drover/agent/v1/MigrationProgress.js'
import type { Failure__Output } from '../../proto/generated/types/drover/common/v1/Failure.js'
import type { GuestReport__Output } from '../../proto/generated/types/drover/common/v1/GuestReport.js'
import { notFound } from './names.js'
import { parsedOrNull, sql, type Reader, type Tx } from './query.js'
import type { LeaseTable, VmCdDriveTable, VmDiskTable, VmNicTable, VmTable } from './tables.js'

type Row = Selectable<VmTable>
type Raw =
  | 'isHa'
  | 'wantedRunning'
  | 'isExternal'
  | 'bootsFromCd'
  | 'openTraysJson'
  | 'restartsJson'
  | 'failureJson'
  | 'guestJson'
  | 'migrationJson'

/** A VM without its disks and nics: what is wanted of it, and what its host last said. */
export type Vm = Omit<Row, Raw> & {
  isHa: boolean
  wantedRunning: boolean
  /** A libvirt domain that is not ours: shown, never touched. */
  isExternal: boolean
  bootsFromCd: boolean
  /** Numbers of its CD-ROM drives. */
  openTrays: number[]
  /** What the HA loop remembers of its restarts; its own form. */
  restarts: object | null
  failure: Failure__Output | null
  guest: GuestReport__Output | null
  migration: MigrationProgress__Output | null
}

export type VmDisk = Omit<Selectable<VmDiskTable>, 'isReadOnly' | 'isCdrom' | 'isShared'> & {
  isReadOnly: boolean
  /** Other VMs may write it too. */
  isShared: boolean
}
export type VmCdDrive = VmCdDriveTable
export type VmNic = Selectable<VmNicTable>
export type Lease = Selectable<LeaseTable>

function vmOf(row: Row): Vm {
  const { isHa, wantedRunning, isExternal, bootsFromCd, openTraysJson, ...others } = row
  const { restartsJson, failureJson, guestJson, migrationJson, ...rest } = others
  return {
    ...rest,
    isHa: isHa === 1,
    wantedRunning: wantedRunning === 1,
    isExternal: isExternal === 1,
    bootsFromCd: bootsFromCd === 1,
    openTrays: JSON.parse(openTraysJson) as number[],
    restarts: parsedOrNull(restartsJson),
    failure: parsedOrNull(failureJson),
    guest: parsedOrNull(guestJson),
    migration: parsedOrNull(migrationJson)
  }
}

export function vmOrNull(reader: Reader, id: string): Vm | null {
  const found = reader.first(sql.selectFrom('vm').selectAll().where('id', '=', id))
  return found && vmOf(found)
}

export function vm(reader: Reader, id: string): Vm {
  const found = vmOrNull(reader, id)
  if (!found) throw notFound('vm', id)
  return found
}

/** Rows of a query over the table, for lists. */
export const vmsFrom = (rows: readonly Row[]): Vm[] => rows.map(vmOf)

export const vms = (reader: Reader): Vm[] =>
  reader.all(sql.selectFrom('vm').selectAll().orderBy('name')).map(vmOf)

/** Of which nobody knows where they run. */
export const unknownVms = (reader: Reader): Vm[] =>
  reader.all(sql.selectFrom('vm').selectAll().where('status', '=', 'unknown')).map(vmOf)

export const vmsOfHost = (reader: Reader, hostId: string): Vm[] =>
  reader.all(sql.selectFrom('vm').selectAll().where('hostId', '=', hostId)).map(vmOf)

export function insertVm(tx: Tx, row: Insertable<VmTable>): void {
  tx.run(sql.insertInto('vm').values(row))
}

/** A change of what is wanted: the etag changes. */
export function updateVm(tx: Tx, id: string, change: Updateable<VmTable>): void {
  tx.run(
    sql
      .updateTable('vm')
      .set({ ...change })
      .set(eb => ({ version: eb('version', '+', 1) }))
      .where('id', '=', id)
  )
}

/** What was observed, or noted by a loop; the etag stays. */
export function noteVm(tx: Tx, id: string, change: Updateable<VmTable>): void {
  tx.run(sql.updateTable('vm').set(change).where('id', '=', id))
}

/** A new start of the VM: what an earlier one says of itself is ignored from now on. */
export function nextVmGeneration(tx: Tx, id: string): number {
  tx.run(
    sql
      .updateTable('vm')
      .set(eb => ({ generation: eb('generation', '+', 1) }))
      .where('id', '=', id)
  )
  return vm(tx, id).generation
}

/** Disks, nics, pins, lease and decisions go with it. */
export function deleteVmRow(tx: Tx, id: string): void {
  tx.run(sql.deleteFrom('vm').where('id', '=', id))
}

export const vmDisks = (reader: Reader, vmId: string): VmDisk[] =>
  reader
    .all(sql.selectFrom('vmDisk').selectAll().where('vmId', '=', vmId).orderBy('ordinal'))
    .map(({ isReadOnly, isCdrom: _, isShared, ...row }) => {
      return { ...row, isReadOnly: isReadOnly === 1, isShared: isShared === 1 }
    })

export function insertVmDisk(tx: Tx, row: Insertable<VmDiskTable>): void {
  tx.run(sql.insertInto('vmDisk').values(row))
}

/** Its attachments say too whether a second writer is let in. */
export function shareVmDisks(tx: Tx, diskId: string, isShared: boolean): void {
  tx.run(
    sql
      .updateTable('vmDisk')
      .set({ isShared: isShared ? 1 : 0 })
      .where('diskId', '=', diskId)
  )
}

export function deleteVmDisk(tx: Tx, vmId: string, diskId: string): number {
  return tx.run(sql.deleteFrom('vmDisk').where('vmId', '=', vmId).where('diskId', '=', diskId))
}

export const vmCdDrives = (reader: Reader, vmId: string): VmCdDrive[] =>
  reader.all(sql.selectFrom('vmCdDrive').selectAll().where('vmId', '=', vmId).orderBy('number'))

export function putCdDrive(tx: Tx, row: VmCdDrive): void {
  tx.run(
    sql
      .insertInto('vmCdDrive')
      .values(row)
      .onConflict(conflict => conflict.columns(['vmId', 'number']).doUpdateSet({ diskId: row.diskId }))
  )
}

/** All of them, numbered by their order; null is an empty one. */
export function replaceCdDrives(tx: Tx, vmId: string, diskIds: ReadonlyArray<string | null>): void {
  tx.run(sql.deleteFrom('vmCdDrive').where('vmId', '=', vmId))
  for (const [index, diskId] of diskIds.entries()) putCdDrive(tx, { vmId, number: index + 1, diskId })
}

/** Every disk that a VM uses, CDs too, in boot order. */
export const vmImages = (reader: Reader, vmId: string): string[] =>
  reader
    .all(sql.selectFrom('vmImage').select('diskId').where('vmId', '=', vmId).orderBy('ordinal'))
    .map(({ diskId }) => diskId)

/** The VMs that use a disk, whichever way. */
export const vmsOfDisk = (reader: Reader, diskId: string): Vm[] =>
  reader
    .all(
      sql
        .selectFrom('vm')
        .selectAll()
        .where('id', 'in', sql.selectFrom('vmImage').select('vmId').where('diskId', '=', diskId))
        .orderBy('name')
    )
    .map(vmOf)

export const vmNics = (reader: Reader, vmId: string): VmNic[] =>
  reader.all(sql.selectFrom('vmNic').selectAll().where('vmId', '=', vmId).orderBy('ordinal'))

export function insertVmNic(tx: Tx, row: Insertable<VmNicTable>): void {
  tx.run(sql.insertInto('vmNic').values(row))
}

export function replaceVmNics(tx: Tx, vmId: string, rows: ReadonlyArray<Insertable<VmNicTable>>): void {
  tx.run(sql.deleteFrom('vmNic').where('vmId', '=', vmId))
  for (const row of rows) insertVmNic(tx, row)
}

export const ownerOfMac = (reader: Reader, mac: string): string | null =>
  reader.first(sql.selectFrom('vmNic').select('vmId').where('mac', '=', mac))?.vmId ?? null

export const pinnedHosts = (reader: Reader, vmId: string): string[] =>
  reader
    .all(sql.selectFrom('vmPinnedHost').select('hostId').where('vmId', '=', vmId).orderBy('hostId'))
    .map(row => row.hostId)

export function replacePinnedHosts(tx: Tx, vmId: string, hostIds: readonly string[]): void {
  tx.run(sql.deleteFrom('vmPinnedHost').where('vmId', '=', vmId))
  for (const hostId of new Set(hostIds)) tx.run(sql.insertInto('vmPinnedHost').values({ vmId, hostId }))
}

export const leaseOf = (reader: Reader, vmId: string): Lease | null =>
  reader.first(sql.selectFrom('lease').selectAll().where('vmId', '=', vmId))

export function putLease(tx: Tx, row: Insertable<LeaseTable>): void {
  tx.run(
    sql
      .insertInto('lease')
      .values(row)
      .onConflict(conflict => conflict.column('vmId').doUpdateSet(row))
  )
}

export function deleteLease(tx: Tx, vmId: string): void {
  tx.run(sql.deleteFrom('lease').where('vmId', '=', vmId))
}
