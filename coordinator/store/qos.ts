import type { Insertable, Selectable, Updateable } from 'kysely'
import type { CpuLimits, DiskLimits, NetworkLimits } from '../../common/limits.js'
import { notFound } from './names.js'
import { parsed, sql, type Reader, type Tx } from './query.js'
import type { QosProfileTable } from './tables.js'

type Row = Selectable<QosProfileTable>
export type Limits =
  | { kind: 'cpu'; limits: CpuLimits }
  | { kind: 'disk'; limits: DiskLimits }
  | { kind: 'network'; limits: NetworkLimits }
export type QosProfile = Omit<Row, 'limitsJson' | 'kind'> & Limits

export const profileFrom = ({ limitsJson, ...row }: Row): QosProfile =>
  ({ ...row, limits: parsed(limitsJson) }) as QosProfile

export function qosProfile(reader: Reader, id: string): QosProfile {
  const found = reader.first(sql.selectFrom('qosProfile').selectAll().where('id', '=', id))
  if (!found) throw notFound('qosProfile', id)
  return profileFrom(found)
}

export function insertQosProfile(tx: Tx, row: Insertable<QosProfileTable>): void {
  tx.run(sql.insertInto('qosProfile').values(row))
}

export function updateQosProfile(tx: Tx, id: string, change: Updateable<QosProfileTable>): void {
  tx.run(
    sql
      .updateTable('qosProfile')
      .set({ ...change })
      .set(eb => ({ version: eb('version', '+', 1) }))
      .where('id', '=', id)
  )
}

export function deleteQosProfile(tx: Tx, id: string): void {
  tx.run(sql.deleteFrom('qosProfile').where('id', '=', id))
}

/** VMs that have it, for themselves or for a disk or nic. */
export function vmsWithProfile(reader: Reader, id: string): string[] {
  const all = [
    ...reader.all(sql.selectFrom('vm').select('id as vmId').where('cpuProfileId', '=', id)),
    ...reader.all(sql.selectFrom('vmDisk').select('vmId').where('profileId', '=', id)),
    ...reader.all(sql.selectFrom('vmNic').select('vmId').where('profileId', '=', id))
  ]
  return [...new Set(all.map(({ vmId }) => vmId))]
}

/** VMs with a profile of any kind, and those whose host was told of limits that may be over. */
export function vmsWithLimits(reader: Reader): string[] {
  const all = [
    ...reader.all(
      sql
        .selectFrom('vm')
        .select('id as vmId')
        .where(eb => eb.or([eb('cpuProfileId', 'is not', null), eb('limitsApplied', '<>', '')]))
    ),
    ...reader.all(sql.selectFrom('vmDisk').select('vmId').where('profileId', 'is not', null)),
    ...reader.all(sql.selectFrom('vmNic').select('vmId').where('profileId', 'is not', null))
  ]
  return [...new Set(all.map(({ vmId }) => vmId))]
}

export const limitsOf = (reader: Reader, id: string | null): QosProfile['limits'] | null =>
  id === null ? null : qosProfile(reader, id).limits

export const putCpuProfile = (tx: Tx, vmId: string, profileId: string | null): void =>
  void tx.run(
    sql
      .updateTable('vm')
      .set({ cpuProfileId: profileId })
      .set(eb => ({ version: eb('version', '+', 1) }))
      .where('id', '=', vmId)
  )

/** Both answer how many there were. */
export const putDiskProfile = (tx: Tx, vmId: string, diskId: string, profileId: string | null): number =>
  tx.run(sql.updateTable('vmDisk').set({ profileId }).where('vmId', '=', vmId).where('diskId', '=', diskId))
export const putNicProfile = (tx: Tx, vmId: string, mac: string, profileId: string | null): number =>
  tx.run(sql.updateTable('vmNic').set({ profileId }).where('vmId', '=', vmId).where('mac', '=', mac))
