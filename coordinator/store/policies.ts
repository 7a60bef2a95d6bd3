import type { Insertable, Selectable, Updateable } from 'kysely'
import { Fault } from '../../common/fault.js'
import { builtInPolicies, isBuiltIn, type Policy } from '../scheduler/policy.js'
import { notFound } from './names.js'
import { parsed, sql, type Reader, type Tx } from './query.js'
import type { PlacementPolicyTable } from './tables.js'

type Row = Selectable<PlacementPolicyTable>
export type PolicyRules = Omit<Policy, 'name'>
export type PlacementPolicy = Omit<Row, 'rulesJson'> & { rules: PolicyRules }

export const policiesFrom = (rows: readonly Row[]): PlacementPolicy[] =>
  rows.map(({ rulesJson, ...row }) => ({ ...row, rules: parsed(rulesJson) }))

export function placementPolicy(reader: Reader, id: string): PlacementPolicy {
  const [found] = policiesFrom(reader.all(sql.selectFrom('placementPolicy').selectAll().where('id', '=', id)))
  if (!found) throw notFound('placementPolicy', id)
  return found
}

/** By what a cluster has in its policyId. */
export function policyOf(reader: Reader, policyId: string): Policy {
  if (isBuiltIn(policyId)) return builtInPolicies[policyId]
  const { name, rules } = placementPolicy(reader, policyId)
  return { ...rules, name }
}

export function insertPolicy(tx: Tx, row: Insertable<PlacementPolicyTable>): void {
  tx.run(sql.insertInto('placementPolicy').values(row))
}

export function updatePolicy(tx: Tx, id: string, change: Updateable<PlacementPolicyTable>): void {
  tx.run(
    sql
      .updateTable('placementPolicy')
      .set({ ...change })
      .set(eb => ({ version: eb('version', '+', 1) }))
      .where('id', '=', id)
  )
}

/** Only one that no cluster uses. */
export function deletePolicy(tx: Tx, id: string): void {
  const user = tx.first(sql.selectFrom('cluster').select('name').where('policyId', '=', id).limit(1))
  if (user) throw new Fault('WRONG_STATE', `cluster ${user.name} uses the policy`)
  tx.run(sql.deleteFrom('placementPolicy').where('id', '=', id))
}
