import type { Fields } from '../../common/fields.js'
import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import { bytes } from '../../common/units.js'
import type { QuotaServiceDefinition } from '../../proto/generated/types/drover/v1/QuotaService.js'
import { matchingRule, type Rule } from '../../common/rules.js'
import type { QuotaMode } from '../quota/decide.js'
import { cluster } from '../store/clusters.js'
import { etagOf, throwIfStaleEtag } from '../store/etag.js'
import { addEvent } from '../store/events.js'
import { resolveId, throwIfIdTaken, throwIfNameTaken } from '../store/names.js'
import { sql, type Reader, type Tx } from '../store/query.js'
import {
  deleteQuota,
  insertQuota,
  putDiskUnder,
  putVmUnder,
  quota,
  quotaConsumers,
  quotaLimits,
  quotaMode,
  replaceConsumers,
  replaceLimits,
  setQuotaMode,
  updateQuota,
  useOf,
  type Quota,
  type QuotaLimit
} from '../store/quotas.js'
import { storageDomain } from '../store/storage-domains.js'
import { vmDisks } from '../store/vms.js'
import { enumOf, wireTime } from '../wire.js'
import { readDescription, readEtag, readObjectName, readOwnId } from './cluster-fields.js'
import type { Lists, ListSpec } from './list.js'
import type { Mutations } from './mutation.js'
import { chargeDisks, chargeStart } from './quota-check.js'

const spec: ListSpec = {
  filters: { name: { column: 'name', kind: 'text' } },
  orders: { name: 'name', created: 'created' },
  standardOrder: 'name',
  id: 'id'
}
const maskPaths = [
  ...(['name', 'description', 'threshold_percent', 'grace_percent', 'limits', 'consumers'] as const)
] as const

function quotaMessage(reader: Reader, row: Quota) {
  return {
    ...{ quotaId: row.id, name: row.name, description: row.description },
    ...{ thresholdPercent: row.thresholdPercent, gracePercent: row.gracePercent },
    limits: quotaLimits(reader, row.id).map(limit => limitMessage(reader, limit)),
    consumers: quotaConsumers(reader, row.id),
    ...{ etag: etagOf(row), created: wireTime(row.created) }
  }
}

function limitMessage(reader: Reader, limit: QuotaLimit) {
  const { vcpus, memoryBytes, storageBytes } = useOf(reader, limit)
  const objectId = limit.objectId || '*'
  return {
    ...(limit.kind === 'cluster'
      ? { clusterId: objectId, storageDomainId: '' }
      : { clusterId: '', storageDomainId: objectId }),
    ...(limit.vcpus !== null && { vcpus: limit.vcpus }),
    ...(limit.memoryBytes !== null && { memoryBytes: String(limit.memoryBytes) }),
    ...(limit.storageBytes !== null && { storageBytes: String(limit.storageBytes) }),
    ...{ usedVcpus: vcpus, usedMemoryBytes: String(memoryBytes), usedStorageBytes: String(storageBytes) }
  }
}

/** How much users may use, and what is used. */
export function quotaService(lists: Lists, mutations: Mutations): Handlers<QuotaServiceDefinition> {
  const { store, clock } = mutations
  const shown = (id: string) => quotaMessage(store.read, quota(store.read, id))
  return {
    createQuota: unary({
      check: fields => ({
        requestId: fields.uuid('requestId'),
        content: fields.message('quota', it => ({
          ...{ id: readOwnId(it, 'quotaId'), name: readObjectName(it), description: readDescription(it) },
          ...{ thresholdPercent: readThreshold(it), gracePercent: readGrace(it) },
          ...{ limits: readLimits(it), consumers: readConsumers(it) }
        }))
      }),
      method: async (request, context) => {
        const { id } = mutations.perform('CreateQuota', request, context, (tx, actor) => {
          const { id: given, limits, consumers, ...row } = request.content
          const id = given ?? clock.newId()
          throwIfNameTaken(tx, 'quota', row.name)
          throwIfIdTaken(tx, 'quota', id)
          insertQuota(tx, { ...row, id, created: clock.wall() })
          putLimits(tx, id, limits)
          replaceConsumers(tx, id, consumers)
          addEvent(tx, { ...info('created', row.name), actor }, clock.wall())
          return { id }
        })
        return shown(id)
      }
    }),
    getQuota: unary({
      check: fields => fields.name('quotaId', 64),
      method: async name => shown(resolveId(store.read, 'quota', name))
    }),
    listQuotas: unary({
      check: fields => lists.read(fields, spec),
      method: async request => {
        const query = sql.selectFrom('quota').selectAll()
        const { rows, nextPageToken } = lists.page(store.read, query, request, spec)
        return { quotas: rows.map(row => quotaMessage(store.read, row)), nextPageToken }
      }
    }),
    updateQuota: unary({
      check: fields => {
        const mask = fields.fieldMask('updateMask', maskPaths)
        const content = fields.message('quota', it => ({
          ...{ id: it.uuid('quotaId'), etag: readEtag(it), mask: [...mask] },
          change: {
            ...(mask.has('name') && { name: readObjectName(it) }),
            ...(mask.has('description') && { description: readDescription(it) }),
            ...(mask.has('threshold_percent') && { thresholdPercent: readThreshold(it) }),
            ...(mask.has('grace_percent') && { gracePercent: readGrace(it) })
          },
          limits: mask.has('limits') ? readLimits(it) : null,
          consumers: mask.has('consumers') ? readConsumers(it) : null
        }))
        return { requestId: fields.uuid('requestId'), content }
      },
      method: async (request, context) => {
        const { id, etag, change, limits, consumers } = request.content
        mutations.perform('UpdateQuota', request, context, (tx, actor) => {
          const before = quota(tx, id)
          throwIfStaleEtag(etag, before, `quota ${before.name}`)
          if (change.name !== undefined) throwIfNameTaken(tx, 'quota', change.name, id)
          updateQuota(tx, id, change)
          if (limits) putLimits(tx, id, limits)
          if (consumers) replaceConsumers(tx, id, consumers)
          addEvent(tx, { ...info('updated', before.name), actor }, clock.wall())
          return {}
        })
        return shown(id)
      }
    }),
    deleteQuota: unary({
      check: fields => ({
        requestId: fields.uuid('requestId'),
        content: { name: fields.name('quotaId', 64) }
      }),
      method: async (request, context) =>
        mutations.perform('DeleteQuota', request, context, (tx, actor) => {
          const row = quota(tx, resolveId(tx, 'quota', request.content.name))
          deleteQuota(tx, row.id)
          addEvent(tx, { ...info('deleted', row.name), actor }, clock.wall())
          return {}
        })
    }),
    assignQuota: unary({
      check: fields => {
        const content = {
          quota: fields.optionalName('quotaId', 64),
          vm: fields.optionalName('vmId', 64),
          disk: fields.optionalName('diskId')
        }
        if ((content.vm === null) === (content.disk === null)) {
          fields.refuse('vmId', 'must be given, or disk_id, and not both', null)
        }
        return { requestId: fields.uuid('requestId'), content }
      },
      method: async (request, context) =>
        mutations.perform('AssignQuota', request, context, (tx, actor) => {
          const { quota, vm, disk } = request.content
          const quotaId = quota === null ? null : resolveId(tx, 'quota', quota)
          const vmId = vm === null ? null : resolveId(tx, 'vm', vm)
          const own = vmId === null ? [] : vmDisks(tx, vmId).filter(({ isReadOnly }) => !isReadOnly)
          const diskIds = disk === null ? own.map(each => each.diskId) : [resolveId(tx, 'disk', disk)]
          if (vmId !== null) putVmUnder(tx, vmId, quotaId)
          for (const diskId of diskIds) putDiskUnder(tx, diskId, quotaId)
          if (vmId !== null) chargeStart(tx, vmId, actor, clock.wall())
          chargeDisks(tx, diskIds, actor, clock.wall())
          return {}
        })
    }),
    getQuotaMode: unary({
      check: () => ({}),
      method: async () => ({ mode: enumOf('QUOTA_MODE', quotaMode(store.read)) })
    }),
    setQuotaMode: unary({
      check: fields => ({
        requestId: fields.uuid('requestId'),
        content: {
          mode: modes[
            fields.choice('mode', ['QUOTA_MODE_DISABLED', 'QUOTA_MODE_AUDIT', 'QUOTA_MODE_ENFORCED'])
          ]
        }
      }),
      method: async (request, context) => {
        const { mode } = request.content
        mutations.perform('SetQuotaMode', request, context, (tx, actor) => {
          setQuotaMode(tx, mode)
          const text = `quotas are ${mode} from now on`
          addEvent(tx, { severity: 'info', kind: 'quota.mode', text, actor }, clock.wall())
          return {}
        })
        return { mode: enumOf('QUOTA_MODE', mode) }
      }
    })
  }
}

const modes = {
  QUOTA_MODE_DISABLED: 'disabled',
  QUOTA_MODE_AUDIT: 'audit',
  QUOTA_MODE_ENFORCED: 'enforced'
} as const satisfies Record<string, QuotaMode>

const info = (what: string, name: string) =>
  ({ severity: 'info', kind: `quota.${what}`, text: `quota ${name} was ${what}` }) as const

const readThreshold = (fields: Fields) => fields.integerOr('thresholdPercent', 80, 1, 100)
const readGrace = (fields: Fields) => fields.integer('gracePercent', 0, 100)
const consumerRule = matchingRule(
  /^(local|(admin|viewer)\/(\*|[A-Za-z0-9._@-]{1,64}))$/,
  'must be "local", "admin/NAME" or "admin/*"'
) as Rule<string>
const readConsumers = (fields: Fields) => fields.each('consumers', 100, consumerRule)

type WantedLimit = Omit<QuotaLimit, 'quotaId'>
const most = bytes(2 ** 53 - 1)

const readLimits = (fields: Fields) => fields.list('limits', 100, readLimit)

function readLimit(fields: Fields): WantedLimit {
  const idOf = (field: string) =>
    fields.optionalMatching(field, /^(\*|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/, 'must be an id or "*"')
  const [clusterId, storageDomainId] = [idOf('clusterId'), idOf('storageDomainId')]
  const size = (field: string) => (fields.has(field) ? fields.size(field, most, bytes(0)) : null)
  if ((clusterId === null) === (storageDomainId === null)) {
    fields.refuse('clusterId', 'must be given, or storage_domain_id, and not both', null)
  }
  const objectId = (clusterId ?? storageDomainId ?? '').replace('*', '')
  if (clusterId === null) {
    for (const field of ['vcpus', 'memoryBytes'].filter(name => fields.has(name))) {
      fields.refuse(field, 'belongs to a limit of a cluster', null)
    }
    return {
      kind: 'storageDomain',
      objectId,
      vcpus: null,
      memoryBytes: null,
      storageBytes: size('storageBytes')
    }
  }
  if (fields.has('storageBytes'))
    fields.refuse('storageBytes', 'belongs to a limit of a storage domain', null)
  const vcpus = fields.has('vcpus') ? fields.integer('vcpus', 0, 1_000_000) : null
  return { kind: 'cluster', objectId, vcpus, memoryBytes: size('memoryBytes'), storageBytes: null }
}

/** One limit for each cluster and storage domain, which must exist. */
function putLimits(tx: Tx, quotaId: string, limits: readonly WantedLimit[]): void {
  for (const { kind, objectId } of limits) {
    if (objectId === '') continue
    if (kind === 'cluster') cluster(tx, objectId)
    else storageDomain(tx, objectId)
  }
  const known = new Map(limits.map(limit => [`${limit.kind}/${limit.objectId}`, limit]))
  replaceLimits(tx, quotaId, [...known.values()])
}
