import { sql as raw, type Insertable, type Selectable, type Updateable } from 'kysely'
import { Fault } from '../../common/fault.js'
import type { QuotaMode } from '../quota/decide.js'
import { notFound } from './names.js'
import { sql, type Reader, type Tx } from './query.js'
import { putSetting, setting } from './settings.js'
import type { QuotaLimitTable, QuotaTable } from './tables.js'

// What is used of a quota is never stored: it is added up from the VMs and disks under it, in the transaction
// that wants more. So nothing leaks when a job is undone, and two requests cannot both take what is left.

export type Quota = Selectable<QuotaTable>
export type QuotaLimit = Selectable<QuotaLimitTable>
export type Use = { vcpus: number; memoryBytes: number; storageBytes: number }

export function quota(reader: Reader, id: string): Quota {
  const found = reader.first(sql.selectFrom('quota').selectAll().where('id', '=', id))
  if (!found) throw notFound('quota', id)
  return found
}

export const quotaLimits = (reader: Reader, quotaId: string): QuotaLimit[] =>
  reader.all(
    sql
      .selectFrom('quotaLimit')
      .selectAll()
      .where('quotaId', '=', quotaId)
      .orderBy('kind')
      .orderBy('objectId')
  )

export const quotaConsumers = (reader: Reader, quotaId: string): string[] =>
  reader
    .all(
      sql.selectFrom('quotaConsumer').select('consumer').where('quotaId', '=', quotaId).orderBy('consumer')
    )
    .map(({ consumer }) => consumer)

export function insertQuota(tx: Tx, row: Insertable<QuotaTable>): void {
  tx.run(sql.insertInto('quota').values(row))
}

export function updateQuota(tx: Tx, id: string, change: Updateable<QuotaTable>): void {
  tx.run(
    sql
      .updateTable('quota')
      .set({ ...change })
      .set(eb => ({ version: eb('version', '+', 1) }))
      .where('id', '=', id)
  )
}

export function replaceLimits(
  tx: Tx,
  quotaId: string,
  limits: ReadonlyArray<Omit<QuotaLimit, 'quotaId'>>
): void {
  tx.run(sql.deleteFrom('quotaLimit').where('quotaId', '=', quotaId))
  for (const limit of limits) tx.run(sql.insertInto('quotaLimit').values({ ...limit, quotaId }))
}

export function replaceConsumers(tx: Tx, quotaId: string, consumers: readonly string[]): void {
  tx.run(sql.deleteFrom('quotaConsumer').where('quotaId', '=', quotaId))
  for (const consumer of new Set(consumers)) {
    tx.run(sql.insertInto('quotaConsumer').values({ quotaId, consumer }))
  }
}

/** Only one that nothing is under. */
export function deleteQuota(tx: Tx, id: string): void {
  const { name } = quota(tx, id)
  for (const [table, what] of [
    ['vmQuota', 'VMs'],
    ['diskQuota', 'disks']
  ] as const) {
    if (tx.first(sql.selectFrom(table).select('quotaId').where('quotaId', '=', id).limit(1))) {
      throw new Fault('WRONG_STATE', `${what} are under quota ${name}: assign them to another first`)
    }
  }
  tx.run(sql.deleteFrom('quota').where('id', '=', id))
}

export function quotaMode(reader: Reader): QuotaMode {
  const mode = setting(reader, 'quotaMode')
  return mode === 'audit' || mode === 'enforced' ? mode : 'disabled'
}
export const setQuotaMode = (tx: Tx, mode: QuotaMode) => putSetting(tx, 'quotaMode', mode)

/** The quota that an actor uses: the first by name that names them, or their whole role. */
export function quotaOfActor(reader: Reader, actor: string): string | null {
  const everyone = `${actor.split('/')[0]}/*`
  const found = reader.first(
    sql
      .selectFrom('quotaConsumer')
      .innerJoin('quota', 'quota.id', 'quotaConsumer.quotaId')
      .select(['quota.id', 'quotaConsumer.consumer'])
      .where('consumer', 'in', [actor, everyone])
      .orderBy(raw`consumer = ${actor}`, 'desc')
      .orderBy('quota.name')
      .limit(1)
  )
  return found?.id ?? null
}

export const quotaOfVm = (reader: Reader, vmId: string): string | null =>
  reader.first(sql.selectFrom('vmQuota').select('quotaId').where('vmId', '=', vmId))?.quotaId ?? null
export const quotaOfDisk = (reader: Reader, diskId: string): string | null =>
  reader.first(sql.selectFrom('diskQuota').select('quotaId').where('diskId', '=', diskId))?.quotaId ?? null

export function putVmUnder(tx: Tx, vmId: string, quotaId: string | null): void {
  tx.run(sql.deleteFrom('vmQuota').where('vmId', '=', vmId))
  if (quotaId !== null) tx.run(sql.insertInto('vmQuota').values({ vmId, quotaId }))
}

export function putDiskUnder(tx: Tx, diskId: string, quotaId: string | null): void {
  tx.run(sql.deleteFrom('diskQuota').where('diskId', '=', diskId))
  if (quotaId !== null) tx.run(sql.insertInto('diskQuota').values({ diskId, quotaId }))
}

/** What is used of a limit now: of one cluster or storage domain, or of all where it names none. */
export function useOf(
  reader: Reader,
  { quotaId, kind, objectId }: Pick<QuotaLimit, 'quotaId' | 'kind' | 'objectId'>
): Use {
  return kind === 'cluster'
    ? { ...vmUse(reader, quotaId, objectId), storageBytes: 0 }
    : { vcpus: 0, memoryBytes: 0, storageBytes: diskUse(reader, quotaId, objectId) }
}

/** VMs that run, are about to, or will be started again by HA. */
function vmUse(reader: Reader, quotaId: string, clusterId: string) {
  const query = sql
    .selectFrom('vmQuota')
    .innerJoin('vm', 'vm.id', 'vmQuota.vmId')
    .select(eb => [
      eb.fn.coalesce(eb.fn.sum<number>('vm.vcpus'), eb.lit(0)).as('vcpus'),
      eb.fn.coalesce(eb.fn.sum<number>('vm.memoryBytes'), eb.lit(0)).as('memoryBytes')
    ])
    .where('vmQuota.quotaId', '=', quotaId)
    .where(eb =>
      eb.or([
        eb('vm.status', 'not in', ['down', 'creating']),
        eb.and([eb('vm.isHa', '=', 1), eb('vm.wantedRunning', '=', 1)]),
        raw<boolean>`EXISTS (SELECT 1 FROM job WHERE job.vmId = vm.id AND job.ended IS NULL
          AND job.kind IN ('vm.start', 'vm.restart'))`
      ])
    )
  const found = reader.first(clusterId === '' ? query : query.where('vm.clusterId', '=', clusterId))
  return { vcpus: Number(found?.vcpus ?? 0), memoryBytes: Number(found?.memoryBytes ?? 0) }
}

/** Disks as large as they are, or as a job is making them. */
function diskUse(reader: Reader, quotaId: string, storageDomainId: string): number {
  const query = sql
    .selectFrom('diskQuota')
    .innerJoin('disk', 'disk.id', 'diskQuota.diskId')
    .select(
      raw<number>`coalesce(sum(max(disk.capacity, coalesce((
        SELECT json_extract(job.contextJson, '$.capacity') FROM job
        WHERE job.kind = 'disk.resize' AND job.ended IS NULL
        AND json_extract(job.contextJson, '$.diskId') = disk.id), 0))), 0)`.as('capacity')
    )
    .where('diskQuota.quotaId', '=', quotaId)
  const found = reader.first(
    storageDomainId === '' ? query : query.where('disk.storageDomainId', '=', storageDomainId)
  )
  return Number(found?.capacity ?? 0)
}
