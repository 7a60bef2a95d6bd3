import { Fault } from '../../common/fault.js'
import type { Fields } from '../../common/fields.js'
import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import { bytes } from '../../common/units.js'
import type { StorageDomainServiceDefinition } from '../../proto/generated/types/drover/v1/StorageDomainService.js'
import type { Hosts } from '../jobs/hosts.js'
import { throwIfClaimed } from '../store/claims.js'
import { throwIfStaleEtag } from '../store/etag.js'
import { resolveId, throwIfIdTaken, throwIfNameTaken } from '../store/names.js'
import { sql, type Tx } from '../store/query.js'
import {
  insertStorageDomain,
  storageDomain,
  updateStorageDomain,
  type StorageDomain
} from '../store/storage-domains.js'
import { adoptStorageDomain, readAdoption } from './adopt-storage-domain.js'
import { changeDevice, readChange } from './change-device.js'
import { readEtag, readObjectName } from './cluster-fields.js'
import type { Lists, ListSpec } from './list.js'
import { storageDomainMessage } from './messages.js'
import { orderedJob, type Workshop } from './ordered-job.js'
import { storageDoctor } from './storage-doctor.js'
import {
  ownerIn,
  runningUsers,
  someHost,
  throwIfNobody,
  throwIfPlaceTaken,
  throwUnless
} from './storage-domain-orders.js'
import { readConnection } from './storage-fields.js'
import { unregisteredVms } from './unregistered-vms.js'
import type { Who } from './vm-orders.js'

const spec: ListSpec = {
  filters: {
    name: { column: 'name', kind: 'text' },
    status: {
      ...{ column: 'status', kind: 'enum' },
      values: ['unattached', 'creating', 'activating', 'active', 'problem', 'inactive', 'maintenance']
    }
  },
  orders: { name: 'name', status: 'status', created: 'created' },
  standardOrder: 'name',
  id: 'id'
}

const largestCritical = bytes(2 ** 50)
const asked = <T>(fields: Fields, content: T) => ({ requestId: fields.uuid('requestId'), content })

const readCritical = (fields: Fields) => fields.optionalSize('criticalBytes', largestCritical) ?? 0

function readBlockSize(fields: Fields): number {
  const size = fields.integerOr('blockSize', 0, 512, 4096)
  return size === 0 || size === 512 || size === 4096
    ? size
    : fields.refuse('blockSize', 'must be 512, 4096, or 0 for what the storage has', 0)
}

function readCreate(fields: Fields) {
  const wanted = fields.message('storageDomain', it => ({
    ...{ id: it.optionalUuid('storageDomainId'), name: readObjectName(it) },
    connection: it.message('connection', readConnection),
    ...{ ioTimeoutSeconds: it.integerOr('ioTimeoutSeconds', 10, 1, 40), blockSize: readBlockSize(it) },
    criticalBytes: readCritical(it)
  }))
  return { ...wanted, hostId: fields.optionalUuid('hostId') }
}

export function storageDomainService(
  workshop: Workshop,
  lists: Lists,
  hosts: Hosts
): Handlers<StorageDomainServiceDefinition> {
  const { mutations, jobs } = workshop
  const { store } = mutations
  const message = (id: string) => storageDomainMessage(store.read, storageDomain(store.read, id))
  const readId = (fields: Fields) => asked(fields, { id: fields.uuid('storageDomainId') })

  return {
    createStorageDomain: unary({
      check: fields => asked(fields, readCreate(fields)),
      method: async (request, context) =>
        orderedJob(workshop, 'CreateStorageDomain', request, context, (tx, who) =>
          orderCreate(workshop, tx, request.content, who)
        )
    }),
    adoptStorageDomain: unary({
      check: fields => ({ ...asked(fields, readAdoption(fields)), isDryRun: fields.bool('dryRun') }),
      method: async (request, context) => adoptStorageDomain(workshop, hosts, request, context)
    }),
    changeStorageDomainDevice: unary({
      check: fields => ({ ...asked(fields, readChange(fields)), isDryRun: fields.bool('dryRun') }),
      method: async (request, context) => changeDevice(workshop, hosts, request, context)
    }),
    ...storageDoctor(workshop, hosts),
    ...unregisteredVms(store, hosts),
    getStorageDomain: unary({
      check: fields => fields.idOrName('storageDomainId', 64),
      method: async name => message(resolveId(store.read, 'storageDomain', name))
    }),
    listStorageDomains: unary({
      check: fields => lists.read(fields, spec),
      method: async request => {
        const query = sql.selectFrom('storageDomain').selectAll()
        const { rows, nextPageToken } = lists.page(store.read, query, request, spec)
        return { storageDomains: rows.map(row => message(row.id)), nextPageToken }
      }
    }),
    updateStorageDomain: unary({
      check: fields => {
        const mask = fields.fieldMask('updateMask', ['name', 'critical_bytes'])
        const content = fields.message('storageDomain', it => ({
          ...{ id: it.uuid('storageDomainId'), etag: readEtag(it), mask: [...mask] },
          ...(mask.has('name') && { name: readObjectName(it) }),
          ...(mask.has('critical_bytes') && { criticalBytes: readCritical(it) })
        }))
        return asked(fields, content)
      },
      method: async (request, context) => {
        const { id, etag, mask: _, ...change } = request.content
        mutations.perform('UpdateStorageDomain', request, context, tx => {
          const before = storageDomain(tx, id)
          throwIfStaleEtag(etag, before, `storage domain ${before.name}`)
          throwIfClaimed(tx, { type: 'storageDomain', id, mode: 'read' })
          if (change.name !== undefined) throwIfNameTaken(tx, 'storageDomain', change.name, id)
          updateStorageDomain(tx, id, change)
          return {}
        })
        return message(id)
      }
    }),
    activateStorageDomain: unary({
      check: readId,
      method: async (request, context) =>
        orderedJob(workshop, 'ActivateStorageDomain', request, context, (tx, who) => {
          const domain = storageDomain(tx, request.content.id)
          if (domain.phase === 'active') return over(workshop, tx, 'storage_domain.activate', domain, who)
          throwUnless(domain, ['maintenance'], 'be activated')
          throwIfNobody(tx)
          return serve(workshop, tx, 'storage_domain.activate', domain, who)
        })
    }),
    deactivateStorageDomain: unary({
      check: readId,
      method: async (request, context) =>
        orderedJob(workshop, 'DeactivateStorageDomain', request, context, (tx, who) => {
          const domain = storageDomain(tx, request.content.id)
          if (domain.phase === 'maintenance')
            return over(workshop, tx, 'storage_domain.deactivate', domain, who)
          throwUnless(domain, ['active'], 'be deactivated')
          const [user] = runningUsers(tx, domain.id)
          if (user) {
            throw new Fault('WRONG_STATE', `VM ${user.name} runs and uses storage domain ${domain.name}`, {
              facts: { vm: user.id }
            })
          }
          return serve(workshop, tx, 'storage_domain.deactivate', domain, who)
        })
    }),
    deleteStorageDomain: unary({
      check: fields =>
        asked(fields, { id: fields.uuid('storageDomainId'), isFormatted: fields.bool('format') }),
      method: async (request, context) =>
        orderedJob(workshop, 'DeleteStorageDomain', request, context, (tx, who) => {
          const { id, isFormatted } = request.content
          const domain = storageDomain(tx, id)
          throwUnless(domain, ['maintenance', 'unattached'], 'be deleted')
          const user = ownerIn(tx, id)
          if (user) throw new Fault('WRONG_STATE', `${user} still uses storage domain ${domain.name}`)
          return jobs.create(tx, 'storage_domain.delete', {
            context: { storageDomainId: id, hostId: someHost(tx, null, who.requestId), isFormatted },
            objects: { storageDomain: id },
            claims: [{ type: 'storageDomain', id, mode: 'remove' }],
            ...who
          })
        })
    })
  }
}

function orderCreate(
  { jobs, mutations: { clock } }: Workshop,
  tx: Tx,
  { id, hostId, name, connection, ...wanted }: ReturnType<typeof readCreate>,
  who: Who
): string {
  throwIfNameTaken(tx, 'storageDomain', name)
  const storageDomainId = id ?? clock.newId()
  throwIfIdTaken(tx, 'storageDomain', storageDomainId)
  const connectionJson = JSON.stringify(connection)
  throwIfPlaceTaken(tx, connectionJson)
  const chosen = someHost(tx, hostId, who.requestId)
  insertStorageDomain(tx, {
    ...{ ...wanted, id: storageDomainId, name, connectionJson, phase: 'creating', metadataJson: null },
    created: clock.wall()
  })
  return jobs.create(tx, 'storage_domain.create', {
    context: { storageDomainId, hostId: chosen, hostIds: [] },
    objects: { storageDomain: storageDomainId, host: chosen },
    claims: [{ type: 'storageDomain', id: storageDomainId, mode: 'change' }],
    ...who
  })
}

type Kind = 'storage_domain.activate' | 'storage_domain.deactivate'

const over = ({ jobs }: Workshop, tx: Tx, kind: Kind, { id }: StorageDomain, who: Who) =>
  jobs.createOver(tx, kind, { objects: { storageDomain: id }, ...who }, { note: 'is so already' })

function serve({ jobs }: Workshop, tx: Tx, kind: Kind, { id }: StorageDomain, who: Who): string {
  return jobs.create(tx, kind, {
    context: { storageDomainId: id, hostIds: [] },
    objects: { storageDomain: id },
    claims: [{ type: 'storageDomain', id, mode: 'change' }],
    ...who
  })
}
