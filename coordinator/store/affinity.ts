import type { Insertable, Selectable, Updateable } from 'kysely'
import type { AffinityGroup as Resolved } from '../scheduler/cluster.js'
import { notFound } from './names.js'
import { sql, type Reader, type Tx } from './query.js'
import type { AffinityGroupTable, AffinityMemberKind } from './tables.js'

type Row = Selectable<AffinityGroupTable>
export type Members = Record<AffinityMemberKind, string[]>
export type AffinityGroup = Row & { members: Members }

export const affinityGroup = (reader: Reader, id: string): AffinityGroup => {
  const found = reader.first(sql.selectFrom('affinityGroup').selectAll().where('id', '=', id))
  if (!found) throw notFound('affinityGroup', id)
  return withMembers(reader, found)
}

export function withMembers(reader: Reader, row: Row): AffinityGroup {
  const members: Members = { vm: [], host: [], vmLabel: [], hostLabel: [] }
  const rows = reader.all(
    sql
      .selectFrom('affinityMember')
      .select(['kind', 'member'])
      .where('groupId', '=', row.id)
      .orderBy('kind')
      .orderBy('member')
  )
  for (const { kind, member } of rows) members[kind].push(member)
  return { ...row, members }
}

/** The groups of a cluster as the scheduler sees them: labels are resolved to VMs and hosts of the cluster. */
export function affinityOf(reader: Reader, clusterId: string): Resolved[] {
  const rows = reader.all(
    sql.selectFrom('affinityGroup').selectAll().where('clusterId', '=', clusterId).orderBy('name')
  )
  return rows.map(row => {
    const { members } = withMembers(reader, row)
    const labelledVms = sql
      .selectFrom('vmLabel')
      .innerJoin('vm', 'vm.id', 'vmLabel.vmId')
      .select('vm.id')
      .where('vm.clusterId', '=', clusterId)
      .where('vmLabel.label', 'in', members.vmLabel)
    const labelledHosts = sql
      .selectFrom('hostLabel')
      .innerJoin('host', 'host.id', 'hostLabel.hostId')
      .select('host.id')
      .where('host.clusterId', '=', clusterId)
      .where('hostLabel.label', 'in', members.hostLabel)
    const vms = members.vmLabel.length === 0 ? [] : reader.all(labelledVms)
    const hosts = members.hostLabel.length === 0 ? [] : reader.all(labelledHosts)
    return {
      ...{ groupId: row.id, name: row.name, priority: row.priority },
      ...{ vmRule: row.vmRule, vmIsHard: row.vmIsHard === 1 },
      ...{ hostRule: row.hostRule, hostIsHard: row.hostIsHard === 1 },
      vmIds: [...new Set([...members.vm, ...vms.map(({ id }) => id)])].toSorted(),
      hostIds: [...new Set([...members.host, ...hosts.map(({ id }) => id)])].toSorted()
    }
  })
}

export function insertAffinityGroup(tx: Tx, row: Insertable<AffinityGroupTable>): void {
  tx.run(sql.insertInto('affinityGroup').values(row))
}

export function updateAffinityGroup(tx: Tx, id: string, change: Updateable<AffinityGroupTable>): void {
  tx.run(
    sql
      .updateTable('affinityGroup')
      .set({ ...change })
      .set(eb => ({ version: eb('version', '+', 1) }))
      .where('id', '=', id)
  )
}

export function replaceMembers(
  tx: Tx,
  groupId: string,
  kind: AffinityMemberKind,
  members: readonly string[]
): void {
  tx.run(sql.deleteFrom('affinityMember').where('groupId', '=', groupId).where('kind', '=', kind))
  for (const member of new Set(members)) {
    tx.run(sql.insertInto('affinityMember').values({ groupId, kind, member }))
  }
}

export function deleteAffinityGroup(tx: Tx, id: string): void {
  tx.run(sql.deleteFrom('affinityGroup').where('id', '=', id))
}

export const vmLabels = (reader: Reader, vmId: string): string[] =>
  reader
    .all(sql.selectFrom('vmLabel').select('label').where('vmId', '=', vmId).orderBy('label'))
    .map(({ label }) => label)

export const hostLabels = (reader: Reader, hostId: string): string[] =>
  reader
    .all(sql.selectFrom('hostLabel').select('label').where('hostId', '=', hostId).orderBy('label'))
    .map(({ label }) => label)

export function replaceVmLabels(tx: Tx, vmId: string, labels: readonly string[]): void {
  tx.run(sql.deleteFrom('vmLabel').where('vmId', '=', vmId))
  for (const label of new Set(labels)) tx.run(sql.insertInto('vmLabel').values({ vmId, label }))
}

export function replaceHostLabels(tx: Tx, hostId: string, labels: readonly string[]): void {
  tx.run(sql.deleteFrom('hostLabel').where('hostId', '=', hostId))
  for (const label of new Set(labels)) tx.run(sql.insertInto('hostLabel').values({ hostId, label }))
}
