import { deflateRawSync, inflateRawSync } from 'node:zlib'
import type { Selectable } from 'kysely'
import type { DecisionRecord } from '../scheduler/record.js'
import { sql, type Reader, type Tx } from './query.js'
import type { ClusterDecisionKind, ClusterDecisionTable } from './tables.js'

const mostRecords = 2000

/** Keeps what decisions were made from; the last 2,000 are kept. */
export function addDecisionRecord(tx: Tx, record: DecisionRecord, time: number): number {
  const inputs = deflateRawSync(JSON.stringify(record), { level: 1 })
  tx.run(sql.insertInto('decisionRecord').values({ time, inputs }))
  const id = tx.first(sql.selectFrom('decisionRecord').select(eb => eb.fn.max('id').as('id')))?.id ?? 0
  tx.run(sql.deleteFrom('decisionRecord').where('id', '<=', id - mostRecords))
  return id
}

export function decisionRecord(reader: Reader, id: number): DecisionRecord | null {
  const found = reader.first(sql.selectFrom('decisionRecord').select('inputs').where('id', '=', id))
  return found && (JSON.parse(inflateRawSync(found.inputs).toString()) as DecisionRecord)
}

export type ClusterDecision = Selectable<ClusterDecisionTable>

const keptOfCluster = 200

/** What a loop decided about a cluster and from what; the last 200 of each cluster are kept. */
export function addClusterDecision(
  tx: Tx,
  {
    inputs,
    ...decision
  }: { clusterId: string; time: number; kind: ClusterDecisionKind; summary: string; inputs: object }
): void {
  tx.run(sql.insertInto('clusterDecision').values({ ...decision, inputsJson: JSON.stringify(inputs) }))
  const old = sql
    .selectFrom('clusterDecision')
    .select('id')
    .where('clusterId', '=', decision.clusterId)
    .orderBy('id', 'desc')
    .limit(1000)
    .offset(keptOfCluster)
  tx.run(sql.deleteFrom('clusterDecision').where('id', 'in', old))
}

/** Newest first. */
export const clusterDecisions = (reader: Reader, clusterId: string): ClusterDecision[] =>
  reader.all(
    sql
      .selectFrom('clusterDecision')
      .selectAll()
      .where('clusterId', '=', clusterId)
      .orderBy('id', 'desc')
      .limit(50)
  )
