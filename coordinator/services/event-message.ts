import type { Selectable } from 'kysely'
import type { AuditRecord } from '../store/audit-records.js'
import { parsed } from '../store/query.js'
import type { EventTable } from '../store/tables.js'
import { enumOf, wireTime } from '../wire.js'

export const eventMessage = (row: Selectable<EventTable>) => ({
  sequence: String(row.sequence),
  time: wireTime(row.time),
  severity: enumOf('SEVERITY', row.severity),
  kind: row.kind,
  text: row.text,
  objects: parsed<Record<string, string>>(row.objectsJson),
  jobId: row.jobId,
  actor: row.actor
})

export const auditMessage = (row: AuditRecord) => ({
  sequence: String(row.sequence),
  time: wireTime(row.time),
  actor: row.actor,
  address: row.address,
  method: row.method,
  action: row.action,
  object: row.object,
  requestId: row.requestId,
  outcome: row.outcome,
  hash: row.hash
})
