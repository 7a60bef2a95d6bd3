import { Fault } from '../../common/fault.js'
import { isUuid } from '../../common/ids.js'
import { sql, type Reader } from './query.js'

// Objects are found by id, or by name where that is unique.

const tables = [
  ...(['cluster', 'host', 'storageDomain', 'disk', 'template', 'vm', 'snapshot'] as const),
  ...(['placementPolicy', 'affinityGroup', 'quota', 'qosProfile'] as const)
] as const
export type Named = (typeof tables)[number]

const words: Record<Named, string> = {
  cluster: 'cluster',
  host: 'host',
  storageDomain: 'storage domain',
  disk: 'disk',
  template: 'template',
  vm: 'VM',
  snapshot: 'snapshot',
  placementPolicy: 'placement policy',
  affinityGroup: 'affinity group',
  quota: 'quota',
  qosProfile: 'QoS profile'
}

/** The id behind an id or a name; NOT_FOUND where there is none, WRONG_STATE where there are several. */
export function resolveId(reader: Reader, table: Named, idOrName: string): string {
  const column = isUuid(idOrName) ? 'id' : 'name'
  const found = reader.all(sql.selectFrom(table).select('id').where(column, '=', idOrName).limit(2))
  const [first] = found
  if (!first) throw notFound(table, idOrName)
  if (found.length > 1) {
    throw new Fault('WRONG_STATE', `more than one ${words[table]} has the name ${idOrName}: use the id`)
  }
  return first.id
}

export function notFound(table: Named, idOrName: string): Fault {
  const reason = table === 'vm' ? 'VM_NOT_FOUND' : 'NOT_FOUND'
  return new Fault(reason, `no ${words[table]} ${idOrName}`, { facts: { [table]: idOrName } })
}

/** Names that must be unique are refused in words before the index refuses them. */
export function throwIfNameTaken(reader: Reader, table: Named, name: string, ownId = ''): void {
  const other = reader.first(
    sql.selectFrom(table).select('id').where('name', '=', name).where('id', '<>', ownId)
  )
  if (other) {
    throw new Fault('ALREADY_EXISTS', `a ${words[table]} named ${name} exists`, {
      facts: { [table]: other.id }
    })
  }
}

export function throwIfIdTaken(reader: Reader, table: Named, id: string): void {
  if (reader.first(sql.selectFrom(table).select('id').where('id', '=', id))) {
    throw new Fault('ALREADY_EXISTS', `a ${words[table]} with the id ${id} exists`, {
      facts: { [table]: id }
    })
  }
}
