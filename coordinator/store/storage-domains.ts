import type { Insertable, Selectable, Updateable } from 'kysely'
import type { StorageDomainMetadata__Output } from '../../proto/generated/types/drover/agent/v1/StorageDomainMetadata.js'
import { notFound } from './names.js'
import { parsed, parsedOrNull, sql, type Reader, type Tx } from './query.js'
import type { StorageDomainHostTable, StorageDomainStatus, StorageDomainTable } from './tables.js'

/** How a storage domain is reached; the same type as services/storage-fields.ts reads. */
export type StorageConnection =
  | { kind: 'local'; path: string }
  | { kind: 'posix'; path: string }
  | { kind: 'block'; devices: string[] }
  | {
      kind: 'iscsi'
      portals: Array<{ iqn: string; host: string; port: number; group: number }>
      luns: string[]
    }
  | { kind: 'nfs'; export: string; version: '' | '3' | '4' | '4.1' | '4.2'; timeo: number; retrans: number }

type Row = Selectable<StorageDomainTable>
export type StorageDomain = Omit<Row, 'connectionJson' | 'metadataJson'> & {
  connection: StorageConnection
  /** As a host last read it; null before. */
  metadata: StorageDomainMetadata__Output | null
}

function storageDomainOf({ connectionJson, metadataJson, ...row }: Row): StorageDomain {
  return { ...row, connection: parsed(connectionJson), metadata: parsedOrNull(metadataJson) }
}

export function storageDomainOrNull(reader: Reader, id: string): StorageDomain | null {
  const found = reader.first(sql.selectFrom('storageDomain').selectAll().where('id', '=', id))
  return found && storageDomainOf(found)
}

export function storageDomain(reader: Reader, id: string): StorageDomain {
  const found = storageDomainOrNull(reader, id)
  if (!found) throw notFound('storageDomain', id)
  return found
}

export const storageDomains = (reader: Reader): StorageDomain[] =>
  reader.all(sql.selectFrom('storageDomain').selectAll().orderBy('name')).map(storageDomainOf)

export function insertStorageDomain(tx: Tx, row: Omit<Insertable<StorageDomainTable>, 'status'>): void {
  tx.run(sql.insertInto('storageDomain').values({ ...row, status: 'inactive' }))
  refreshStorageDomain(tx, row.id)
}

/** Also the way to change its phase: the status follows. */
export function updateStorageDomain(tx: Tx, id: string, change: Updateable<StorageDomainTable>): void {
  tx.run(
    sql
      .updateTable('storageDomain')
      .set({ ...change })
      .set(eb => ({ version: eb('version', '+', 1) }))
      .where('id', '=', id)
  )
  refreshStorageDomain(tx, id)
}

/** No change of what people asked for: its version stays. */
export function chooseManager(
  tx: Tx,
  id: string,
  choice: Pick<Row, 'managerHostId' | 'managerWhy' | 'managerSince'>
): void {
  tx.run(sql.updateTable('storageDomain').set(choice).where('id', '=', id))
}

/** How many storage domains each host is to manage. */
export const managedCounts = (reader: Reader): ReadonlyMap<string, number> =>
  new Map(
    reader
      .all(
        sql
          .selectFrom('storageDomain')
          .select(['managerHostId', eb => eb.fn.countAll<number>().as('count')])
          .where('phase', '=', 'active')
          .groupBy('managerHostId')
      )
      .flatMap(({ managerHostId, count }) =>
        managerHostId === null ? [] : [[managerHostId, count] as const]
      )
  )

export function deleteStorageDomainRow(tx: Tx, id: string): void {
  tx.run(sql.deleteFrom('storageDomain').where('id', '=', id))
}

export type HostLease = {
  sanlockHostId: number
  hostName: string
  generation: string
  timestamp: string
  unchangedSeconds: number
  watchedSeconds: number
  state: 'unspecified' | 'live' | 'failing' | 'expired' | 'free'
}
export type HostView = Omit<Selectable<StorageDomainHostTable>, 'leasesJson' | 'hostIdHeld'> & {
  holdsHostId: boolean
  leases: HostLease[]
}

const viewOf = ({ leasesJson, hostIdHeld, ...row }: Selectable<StorageDomainHostTable>): HostView => {
  return { ...row, holdsHostId: hostIdHeld === 1, leases: parsed(leasesJson) }
}

/** How each host sees a storage domain. */
export const hostViews = (reader: Reader, storageDomainId: string): HostView[] =>
  reader
    .all(sql.selectFrom('storageDomainHost').selectAll().where('storageDomainId', '=', storageDomainId))
    .map(viewOf)

/** Every storage domain as one host sees it. */
export const viewsOfHost = (reader: Reader, hostId: string): HostView[] =>
  reader.all(sql.selectFrom('storageDomainHost').selectAll().where('hostId', '=', hostId)).map(viewOf)

/** Only observe.ts calls this. */
export function putHostView(tx: Tx, row: Insertable<StorageDomainHostTable>): void {
  tx.run(
    sql
      .insertInto('storageDomainHost')
      .values(row)
      .onConflict(conflict => conflict.columns(['storageDomainId', 'hostId']).doUpdateSet(row))
  )
  if (row.totalBytes > 0) {
    const { totalBytes, freeBytes } = row
    tx.run(
      sql.updateTable('storageDomain').set({ totalBytes, freeBytes }).where('id', '=', row.storageDomainId)
    )
  }
  refreshStorageDomain(tx, row.storageDomainId)
}

export function deleteHostView(tx: Tx, storageDomainId: string, hostId: string): void {
  tx.run(
    sql
      .deleteFrom('storageDomainHost')
      .where('storageDomainId', '=', storageDomainId)
      .where('hostId', '=', hostId)
  )
  refreshStorageDomain(tx, storageDomainId)
}

/** Status and problem, out of the phase and what the hosts say that are not silent. */
function refreshStorageDomain(tx: Tx, id: string): void {
  const domain = storageDomainOrNull(tx, id)
  if (!domain) return
  const views = tx.all(
    sql
      .selectFrom('storageDomainHost as view')
      .innerJoin('host', 'host.id', 'view.hostId')
      .select(['view.health', 'view.problem', 'host.name'])
      .where('view.storageDomainId', '=', id)
      .where('host.health', 'in', ['up', 'initializing'])
      .where('host.mode', 'in', ['active', 'preparing'])
      .orderBy('host.name')
  )
  const { status, problem } = judge(domain.phase, views)
  if (status === domain.status && problem === domain.problem) return
  tx.run(sql.updateTable('storageDomain').set({ status, problem }).where('id', '=', id))
}

type View = { health: string; problem: string; name: string }

function judge(
  phase: StorageDomain['phase'],
  views: View[]
): { status: StorageDomainStatus; problem: string } {
  switch (phase) {
    case 'creating':
    case 'unattached':
    case 'activating':
    case 'maintenance':
      return { status: phase, problem: '' }
    case 'deactivating':
    case 'removing':
    case 'active': {
      const bad = views.filter(({ health }) => health !== 'active')
      const problem = bad.map(view => `${view.name}: ${view.problem || view.health}`).join('; ')
      if (views.length > 0 && bad.length === views.length) return { status: 'inactive', problem }
      return bad.length > 0 ? { status: 'problem', problem } : { status: 'active', problem: '' }
    }
  }
}
