import { sql, type Tx } from './query.js'
import type { Severity } from './tables.js'

export type NewEvent = {
  severity: Severity
  /** For example "host.non_responsive". */
  kind: string
  /** In words, naming the objects. */
  text: string
  objects?: Record<string, string>
  jobId?: string
  actor?: string
}

export const severityRank: Record<Severity, number> = { info: 1, warning: 2, error: 3, alert: 4 }

/** Written with what it is about, in one transaction. */
export function addEvent(tx: Tx, event: NewEvent, now: number): void {
  const { severity, kind, text, objects = {}, jobId = '', actor = 'system' } = event
  tx.run(
    sql.insertInto('event').values({
      time: now,
      severity,
      rank: severityRank[severity],
      kind,
      text,
      objectsJson: JSON.stringify(objects),
      vmId: objects['vm'] ?? '',
      hostId: objects['host'] ?? '',
      jobId,
      actor
    })
  )
}

/** Events are kept for 90 days. */
export function forgetEvents(tx: Tx, before: number): void {
  tx.run(sql.deleteFrom('event').where('time', '<', before))
}
