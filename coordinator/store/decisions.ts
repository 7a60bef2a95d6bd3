import type { Selectable } from 'kysely'
import { parsed, sql, type Reader, type Tx } from './query.js'
import type { DecisionTable, HostDecisionTable } from './tables.js'

/** Why a host was or was not chosen, as it is kept for `drover vm why`. */
export type Verdict = {
  hostId: string
  hostName: string
  /** The filter that refused it; empty when it could have run the VM. */
  filter: string
  reason: string
  score: number
  scores: Record<string, number>
}

export type Decision = Omit<Selectable<DecisionTable>, 'verdictsJson'> & { verdicts: Verdict[] }

const kept = 20

/** The last 20 of each VM are kept. */
export function addDecision(tx: Tx, { verdicts, ...decision }: Omit<Decision, 'id'>): void {
  tx.run(sql.insertInto('decision').values({ ...decision, verdictsJson: JSON.stringify(verdicts) }))
  const old = sql
    .selectFrom('decision')
    .select('id')
    .where('vmId', '=', decision.vmId)
    .orderBy('id', 'desc')
    .limit(1000)
    .offset(kept)
  tx.run(sql.deleteFrom('decision').where('id', 'in', old))
}

/** Newest first. */
export const decisionsOf = (reader: Reader, vmId: string): Decision[] =>
  reader
    .all(sql.selectFrom('decision').selectAll().where('vmId', '=', vmId).orderBy('id', 'desc').limit(kept))
    .map(({ verdictsJson, ...row }) => ({ ...row, verdicts: parsed(verdictsJson) }))

export type HostDecision = Omit<Selectable<HostDecisionTable>, 'inputsJson'> & { inputs: object }

const keptOfHost = 200

/** What the HA loop decided about a host and from what; the last 200 of each host are kept. */
export function addHostDecision(tx: Tx, { inputs, ...decision }: Omit<HostDecision, 'id'>): void {
  tx.run(sql.insertInto('hostDecision').values({ ...decision, inputsJson: JSON.stringify(inputs) }))
  const old = sql
    .selectFrom('hostDecision')
    .select('id')
    .where('hostId', '=', decision.hostId)
    .orderBy('id', 'desc')
    .limit(1000)
    .offset(keptOfHost)
  tx.run(sql.deleteFrom('hostDecision').where('id', 'in', old))
}

export const hostDecisionsOf = (reader: Reader, hostId: string): HostDecision[] =>
  reader
    .all(
      sql.selectFrom('hostDecision').selectAll().where('hostId', '=', hostId).orderBy('id', 'desc').limit(50)
    )
    .map(({ inputsJson, ...row }) => ({ ...row, inputs: parsed(inputsJson) }))
