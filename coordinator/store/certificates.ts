import type { Insertable, Selectable } from 'kysely'
import { sql, type Reader, type Tx } from './query.js'
import type { CertificateTable, EnrolmentTokenTable } from './tables.js'

export type Certificate = Selectable<CertificateTable>

export function insertCertificate(tx: Tx, row: Insertable<CertificateTable>): void {
  tx.run(sql.insertInto('certificate').values(row))
}

/** The valid certificate of somebody that ends last; null where there is none. */
export const currentCertificate = (reader: Reader, role: string, name: string): Certificate | null =>
  reader.first(
    sql
      .selectFrom('certificate')
      .selectAll()
      .where('role', '=', role)
      .where('name', '=', name)
      .where('revoked', 'is', null)
      .orderBy('notAfter', 'desc')
      .limit(1)
  )

export const certificateOf = (reader: Reader, serial: string): Certificate | null =>
  reader.first(sql.selectFrom('certificate').selectAll().where('serial', '=', serial))

/** Refuses all certificates that somebody has, but one. */
export function revokeCertificates(tx: Tx, role: string, name: string, now: number, exceptSerial = ''): void {
  tx.run(
    sql
      .updateTable('certificate')
      .set({ revoked: now })
      .where('role', '=', role)
      .where('name', '=', name)
      .where('serial', '<>', exceptSerial)
      .where('revoked', 'is', null)
  )
}

export type DenyList = { serials: string[]; hostIds: string[] }

/** What every daemon must refuse now. Certificates that have ended refuse themselves. */
export function denyList(reader: Reader, now: number): DenyList {
  const serials = reader.all(
    sql
      .selectFrom('certificate')
      .select('serial')
      .where('revoked', 'is not', null)
      .where('notAfter', '>', now)
  )
  const hosts = reader.all(sql.selectFrom('deniedHost').select('hostId').orderBy('hostId'))
  return { serials: serials.map(row => row.serial), hostIds: hosts.map(row => row.hostId) }
}

export function denyHost(tx: Tx, hostId: string, now: number): void {
  tx.run(
    sql
      .insertInto('deniedHost')
      .values({ hostId, since: now })
      .onConflict(conflict => conflict.doNothing())
  )
}

export function allowHost(tx: Tx, hostId: string): void {
  tx.run(sql.deleteFrom('deniedHost').where('hostId', '=', hostId))
}

export type EnrolmentToken = Selectable<EnrolmentTokenTable>

/** A host has one token at a time: a new one ends those before. */
export function putEnrolmentToken(tx: Tx, row: Insertable<EnrolmentTokenTable>): void {
  tx.run(sql.deleteFrom('enrolmentToken').where('hostId', '=', row.hostId).where('used', 'is', null))
  tx.run(sql.insertInto('enrolmentToken').values(row))
}

export const enrolmentToken = (reader: Reader, hash: string): EnrolmentToken | null =>
  reader.first(sql.selectFrom('enrolmentToken').selectAll().where('hash', '=', hash))

export function useEnrolmentToken(tx: Tx, hash: string, now: number): void {
  tx.run(sql.updateTable('enrolmentToken').set({ used: now }).where('hash', '=', hash))
}
