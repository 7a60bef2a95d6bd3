import { brokenRules } from '../affinity/enforce.js'
import { defaultPolicy } from '../scheduler/cluster.js'
import { lookWith } from '../scheduler/look.js'
import { affinityOf } from '../store/affinity.js'
import { sql, type Reader } from '../store/query.js'

/** Which rules of a cluster's affinity groups are broken now, in words, by group. */
export function brokenIn(reader: Reader, clusterId: string): Map<string, string[]> {
  const affinity = affinityOf(reader, clusterId)
  const rows = reader.all(
    sql
      .selectFrom('vm')
      .select(['id', 'name', 'hostId'])
      .where('clusterId', '=', clusterId)
      .where('hostId', 'is not', null)
      .where('status', '<>', 'down')
      .$narrowType<{ hostId: string }>()
  )
  const names = new Map(rows.map(({ id, name }) => [id, name]))
  const cluster = { policy: defaultPolicy, hosts: [], affinity }
  const look = lookWith(cluster, [], new Map(rows.map(({ id, hostId }) => [id, hostId])))
  const found = new Map<string, string[]>()
  for (const { group, vmId, text } of brokenRules(look)) {
    found.set(group.groupId, [...(found.get(group.groupId) ?? []), `VM ${names.get(vmId)}: ${text}`])
  }
  return found
}
