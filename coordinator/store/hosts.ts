import type { Insertable, Selectable, Updateable } from 'kysely'
import { Fault } from '../../common/fault.js'
import type { HostCapabilities__Output } from '../../proto/generated/types/drover/agent/v1/HostCapabilities.js'
import { notFound } from './names.js'
import { parsed, parsedOrNull, sql, type Reader, type Tx } from './query.js'
import type { HostTable } from './tables.js'

export type Capabilities = HostCapabilities__Output
/** A fence agent of a host, without its secret options; the names of those are kept to be shown. */
export type FenceDevice = {
  fenceAgent: string
  /** Absent in rows of earlier versions: 0. */
  order?: number
  options: Record<string, string>
  secretNames: string[]
}

type Row = Selectable<HostTable>
export type Host = Omit<Row, 'powerJson' | 'powerEnabled' | 'capabilitiesJson'> & {
  power: { isEnabled: boolean; devices: FenceDevice[] }
  /** As last reported; null before the first time. */
  capabilities: Capabilities | null
}

function hostOf({ powerJson, powerEnabled, capabilitiesJson, ...row }: Row): Host {
  return {
    ...row,
    power: { isEnabled: powerEnabled === 1, devices: parsed(powerJson) },
    capabilities: parsedOrNull(capabilitiesJson)
  }
}

export function hostOrNull(reader: Reader, id: string): Host | null {
  const found = reader.first(sql.selectFrom('host').selectAll().where('id', '=', id))
  return found && hostOf(found)
}

export function host(reader: Reader, id: string): Host {
  const found = hostOrNull(reader, id)
  if (!found) throw notFound('host', id)
  return found
}

export const hosts = (reader: Reader): Host[] =>
  reader.all(sql.selectFrom('host').selectAll().orderBy('name')).map(hostOf)

export const hostsOfCluster = (reader: Reader, clusterId: string): Host[] =>
  reader
    .all(sql.selectFrom('host').selectAll().where('clusterId', '=', clusterId).orderBy('name'))
    .map(hostOf)

/** Hosts with a certificate: those there is somebody to talk to. */
export const enrolledHosts = (reader: Reader): Host[] =>
  reader.all(sql.selectFrom('host').selectAll().where('mode', '<>', 'pending').orderBy('name')).map(hostOf)

export function insertHost(tx: Tx, row: Insertable<HostTable>): void {
  tx.run(sql.insertInto('host').values(row))
}

/** A change that clients see as one of their own: the etag changes. */
export function updateHost(tx: Tx, id: string, change: Updateable<HostTable>): void {
  tx.run(
    sql
      .updateTable('host')
      .set({ ...change })
      .set(eb => ({ version: eb('version', '+', 1) }))
      .where('id', '=', id)
  )
}

/** What was observed or decided by a loop; the etag stays. */
export function noteHost(tx: Tx, id: string, change: Updateable<HostTable>): void {
  tx.run(sql.updateTable('host').set(change).where('id', '=', id))
}

/** The generation grows when the host is enrolled and when it is proven stopped: older commands are refused. */
export function nextHostGeneration(tx: Tx, id: string): number {
  tx.run(
    sql
      .updateTable('host')
      .set(eb => ({ generation: eb('generation', '+', 1) }))
      .where('id', '=', id)
  )
  return host(tx, id).generation
}

/** The lowest number that no host has in lockspaces. */
export function freeSanlockHostId(reader: Reader): number {
  const taken = new Set(
    reader.all(sql.selectFrom('host').select('sanlockHostId')).map(row => row.sanlockHostId)
  )
  for (let id = 1; id <= 249; id++) if (!taken.has(id)) return id
  throw new Fault('LIMIT', 'an installation has at most 249 hosts')
}

export const vmsOn = (reader: Reader, hostId: string): number =>
  reader.first(
    sql
      .selectFrom('vm')
      .select(eb => eb.fn.countAll<number>().as('count'))
      .where('hostId', '=', hostId)
      .where('status', '<>', 'down')
  )?.count ?? 0

export function deleteHostRow(tx: Tx, id: string): void {
  tx.run(sql.updateTable('vm').set({ hostId: null }).where('hostId', '=', id))
  tx.run(sql.deleteFrom('vm').where('isExternal', '=', 1).where('hostId', 'is', null))
  tx.run(sql.deleteFrom('host').where('id', '=', id))
}
