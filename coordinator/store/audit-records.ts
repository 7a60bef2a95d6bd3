import { createHash } from 'node:crypto'
import type { Selectable } from 'kysely'
import { canonicalJson } from '../../common/ids.js'
import { sql, type Reader, type Tx } from './query.js'
import type { AuditTable } from './tables.js'

// The audit trail is a chain: each record carries SHA-256(hash of the one before + its own canonical JSON), so
// that a record cannot be changed, added or taken out without all later ones telling. Triggers in the schema
// refuse UPDATE and DELETE; the oldest may go only behind an anchor that keeps the last hash.

export type AuditRecord = Selectable<AuditTable>
export type AuditFacts = Omit<AuditRecord, 'sequence' | 'previousHash' | 'hash'>

const beginning = '0'.repeat(64)

export function addAuditRecord(tx: Tx, facts: AuditFacts): void {
  const { sequence, hash: previousHash } = lastLink(tx)
  const record = { ...facts, sequence: sequence + 1, previousHash }
  tx.run(sql.insertInto('audit').values({ ...record, hash: hashOf(record) }))
}

function hashOf({ previousHash, ...record }: Omit<AuditRecord, 'hash'>): string {
  return createHash('sha256').update(previousHash).update(canonicalJson(record)).digest('hex')
}

type Link = { sequence: number; hash: string }

const lastLink = (reader: Reader): Link =>
  reader.first(sql.selectFrom('audit').select(['sequence', 'hash']).orderBy('sequence', 'desc').limit(1)) ??
  lastAnchor(reader)

const lastAnchor = (reader: Reader): Link =>
  reader.first(
    sql.selectFrom('auditAnchor').select(['sequence', 'hash']).orderBy('sequence', 'desc').limit(1)
  ) ?? { sequence: 0, hash: beginning }

const batch = 1000

/** Recomputes the chain, a part at a time; `firstBad` is 0 where all is well. */
export async function verifyAuditTrail(
  reader: Reader,
  pause: () => Promise<void>
): Promise<{ records: number; firstBad: number }> {
  let { sequence, hash } = lastAnchor(reader)
  for (let records = 0; ; await pause()) {
    const part = reader.all(
      sql.selectFrom('audit').selectAll().where('sequence', '>', sequence).orderBy('sequence').limit(batch)
    )
    for (const { hash: own, ...record } of part) {
      const fits = record.sequence === sequence + 1 && record.previousHash === hash && hashOf(record) === own
      if (!fits) return { records: records + 1, firstBad: record.sequence }
      records++
      sequence = record.sequence
      hash = own
    }
    if (part.length < batch) return { records, firstBad: 0 }
  }
}

/** Cuts off what is older, behind an anchor. */
export function cutAuditTrail(tx: Tx, before: number, now: number): void {
  const last = tx.first(
    sql
      .selectFrom('audit')
      .select(['sequence', 'hash'])
      .where('time', '<', before)
      .orderBy('sequence', 'desc')
      .limit(1)
  )
  if (!last) return
  tx.run(sql.insertInto('auditAnchor').values({ ...last, time: now }))
  tx.run(sql.deleteFrom('audit').where('sequence', '<=', last.sequence))
}
