import type { Insertable, Selectable } from 'kysely'
import { sql, type Reader, type Tx } from './query.js'
import type { VmLunTable } from './tables.js'

// LUNs that VMs use as they are, and which hosts see them.

export type VmLun = Omit<
  Selectable<VmLunTable>,
  'isReadOnly' | 'isShareable' | 'isPassthrough' | 'hasReservations'
> & { isReadOnly: boolean; isShareable: boolean; isPassthrough: boolean; hasReservations: boolean }

const lunOf = (row: Selectable<VmLunTable>): VmLun => ({
  ...row,
  isReadOnly: row.isReadOnly === 1,
  isShareable: row.isShareable === 1,
  isPassthrough: row.isPassthrough === 1,
  hasReservations: row.hasReservations === 1
})

export const vmLuns = (reader: Reader, vmId: string): VmLun[] =>
  reader.all(sql.selectFrom('vmLun').selectAll().where('vmId', '=', vmId).orderBy('ordinal')).map(lunOf)

/** The VMs that have a LUN. */
export const usersOfLun = (reader: Reader, wwid: string): VmLun[] =>
  reader.all(sql.selectFrom('vmLun').selectAll().where('wwid', '=', wwid)).map(lunOf)

export function insertVmLun(tx: Tx, row: Insertable<VmLunTable>): void {
  tx.run(sql.insertInto('vmLun').values(row))
}

export const deleteVmLun = (tx: Tx, vmId: string, wwid: string): number =>
  tx.run(sql.deleteFrom('vmLun').where('vmId', '=', vmId).where('wwid', '=', wwid))

/** The LUNs that VMs of each cluster want, by cluster. */
export function wantedLuns(reader: Reader): Map<string, string[]> {
  const rows = reader.all(
    sql
      .selectFrom('vmLun')
      .innerJoin('vm', 'vm.id', 'vmLun.vmId')
      .select(['vm.clusterId', 'vmLun.wwid'])
      .distinct()
      .orderBy('vmLun.wwid')
  )
  const found = new Map<string, string[]>()
  for (const { clusterId, wwid } of rows) found.set(clusterId, [...(found.get(clusterId) ?? []), wwid])
  return found
}

/** The LUNs that each host of a cluster sees, of those that VMs want. */
export function seenLuns(reader: Reader, clusterId: string): Map<string, string[]> {
  const rows = reader.all(
    sql
      .selectFrom('hostLun')
      .innerJoin('host', 'host.id', 'hostLun.hostId')
      .select(['hostLun.hostId', 'hostLun.wwid'])
      .where('host.clusterId', '=', clusterId)
      .orderBy('hostLun.wwid')
  )
  const found = new Map<string, string[]>()
  for (const { hostId, wwid } of rows) found.set(hostId, [...(found.get(hostId) ?? []), wwid])
  return found
}

export const lunsSeenBy = (reader: Reader, hostId: string): string[] =>
  reader
    .all(sql.selectFrom('hostLun').select('wwid').where('hostId', '=', hostId).orderBy('wwid'))
    .map(({ wwid }) => wwid)

export function noteSeenLuns(tx: Tx, hostId: string, wwids: readonly string[]): void {
  tx.run(sql.deleteFrom('hostLun').where('hostId', '=', hostId))
  for (const wwid of new Set(wwids)) tx.run(sql.insertInto('hostLun').values({ hostId, wwid }))
}

/** A LUN among the devices that hosts have and VMs want. */
export const lunDevice = (wwid: string) => `LUN ${wwid}`
