import type { Dependency } from '../dependencies.js'
import { sql, type Reader, type Tx } from './query.js'

/** Ids of the VMs that must run before it starts. */
export const neededOf = (reader: Reader, vmId: string): string[] =>
  reader
    .all(sql.selectFrom('vmDependency').select('neededId').where('vmId', '=', vmId).orderBy('neededId'))
    .map(row => row.neededId)

export const dependencies = (reader: Reader): Dependency[] =>
  reader.all(sql.selectFrom('vmDependency').selectAll())

/** Names of the VMs that need it. */
export const dependentsOf = (reader: Reader, neededId: string): string[] =>
  reader
    .all(
      sql
        .selectFrom('vmDependency')
        .innerJoin('vm', 'vm.id', 'vmDependency.vmId')
        .select('vm.name')
        .where('neededId', '=', neededId)
        .orderBy('vm.name')
    )
    .map(row => row.name)

export function replaceNeeded(tx: Tx, vmId: string, needed: readonly string[]): void {
  tx.run(sql.deleteFrom('vmDependency').where('vmId', '=', vmId))
  for (const neededId of new Set(needed)) tx.run(sql.insertInto('vmDependency').values({ vmId, neededId }))
}
