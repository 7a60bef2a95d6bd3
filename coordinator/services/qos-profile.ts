import { Fault } from '../../common/fault.js'
import type { Fields } from '../../common/fields.js'
import { readCpuLimits, readDiskLimits, readNetworkLimits, wireDiskLimits } from '../../common/limits.js'
import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import type { QosProfileServiceDefinition } from '../../proto/generated/types/drover/v1/QosProfileService.js'
import { etagOf, throwIfStaleEtag } from '../store/etag.js'
import { addEvent } from '../store/events.js'
import { resolveId, throwIfIdTaken, throwIfNameTaken } from '../store/names.js'
import {
  deleteQosProfile,
  insertQosProfile,
  profileFrom,
  putCpuProfile,
  putDiskProfile,
  putNicProfile,
  qosProfile,
  updateQosProfile,
  vmsWithProfile,
  type Limits,
  type QosProfile
} from '../store/qos.js'
import { sql, type Reader, type Tx } from '../store/query.js'
import { vm as vmRow } from '../store/vms.js'
import { wireTime } from '../wire.js'
import { readDescription, readEtag, readObjectName, readOwnId } from './cluster-fields.js'
import type { Lists, ListSpec } from './list.js'
import type { Mutations } from './mutation.js'
import { ownVm } from './vm-checks.js'

const spec: ListSpec = {
  filters: {
    name: { column: 'name', kind: 'text' },
    kind: { column: 'kind', kind: 'enum', values: ['cpu', 'disk', 'network'] }
  },
  orders: { name: 'name', created: 'created' },
  standardOrder: 'name',
  id: 'id'
}
const maskPaths = ['name', 'description', 'limits'] as const

/** Limits by name, and who has them. */
export function qosProfileService(lists: Lists, mutations: Mutations): Handlers<QosProfileServiceDefinition> {
  const { store, clock } = mutations
  const shown = (id: string) => message(store.read, qosProfile(store.read, id))
  return {
    createQosProfile: unary({
      check: fields => ({
        requestId: fields.uuid('requestId'),
        content: fields.message('qosProfile', it => ({
          ...{
            id: readOwnId(it, 'qosProfileId'),
            name: readObjectName(it),
            description: readDescription(it)
          },
          limits: readLimits(it)
        }))
      }),
      method: async (request, context) => {
        const { id } = mutations.perform('CreateQosProfile', request, context, (tx, actor) => {
          const { name, description, limits } = request.content
          const id = request.content.id ?? clock.newId()
          throwIfNameTaken(tx, 'qosProfile', name)
          throwIfIdTaken(tx, 'qosProfile', id)
          const limitsJson = JSON.stringify(limits.limits)
          insertQosProfile(tx, {
            id,
            name,
            description,
            kind: limits.kind,
            limitsJson,
            created: clock.wall()
          })
          addEvent(tx, { ...info('created', name), actor }, clock.wall())
          return { id }
        })
        return shown(id)
      }
    }),
    getQosProfile: unary({
      check: fields => fields.idOrName('qosProfileId', 64),
      method: async name => shown(resolveId(store.read, 'qosProfile', name))
    }),
    listQosProfiles: unary({
      check: fields => lists.read(fields, spec),
      method: async request => {
        const query = sql.selectFrom('qosProfile').selectAll()
        const { rows, nextPageToken } = lists.page(store.read, query, request, spec)
        return { qosProfiles: rows.map(row => message(store.read, profileFrom(row))), nextPageToken }
      }
    }),
    updateQosProfile: unary({
      check: fields => {
        const mask = fields.fieldMask('updateMask', maskPaths)
        const content = fields.message('qosProfile', it => ({
          ...{ id: it.uuid('qosProfileId'), etag: readEtag(it), mask: [...mask] },
          name: mask.has('name') ? readObjectName(it) : null,
          description: mask.has('description') ? readDescription(it) : null,
          limits: mask.has('limits') ? readLimits(it) : null
        }))
        return { requestId: fields.uuid('requestId'), content }
      },
      method: async (request, context) => {
        const { id, etag, name, description, limits } = request.content
        mutations.perform('UpdateQosProfile', request, context, (tx, actor) => {
          const before = qosProfile(tx, id)
          throwIfStaleEtag(etag, before, `QoS profile ${before.name}`)
          if (name !== null) throwIfNameTaken(tx, 'qosProfile', name, id)
          if (limits !== null && limits.kind !== before.kind) throw otherKind(before, limits.kind, 'limits')
          updateQosProfile(tx, id, {
            ...(name !== null && { name }),
            ...(description !== null && { description }),
            ...(limits !== null && { limitsJson: JSON.stringify(limits.limits) })
          })
          addEvent(tx, { ...info('changed', before.name), actor }, clock.wall())
          return {}
        })
        return shown(id)
      }
    }),
    deleteQosProfile: unary({
      check: fields => ({
        requestId: fields.uuid('requestId'),
        content: { name: fields.idOrName('qosProfileId', 64) }
      }),
      method: async (request, context) =>
        mutations.perform('DeleteQosProfile', request, context, (tx, actor) => {
          const { id, name } = qosProfile(tx, resolveId(tx, 'qosProfile', request.content.name))
          const vms = vmsWithProfile(tx, id).map(vmId => vmRow(tx, vmId).name)
          if (vms.length > 0) {
            const some = vms.slice(0, 5).join(', ')
            throw new Fault('WRONG_STATE', `QoS profile ${name} is given to ${vms.length} VMs: ${some}`)
          }
          deleteQosProfile(tx, id)
          addEvent(tx, { ...info('deleted', name), actor }, clock.wall())
          return {}
        })
    }),
    assignQosProfile: unary({
      check: readAssignment,
      method: async (request, context) =>
        mutations.perform('AssignQosProfile', request, context, tx => {
          assign(tx, request.content)
          return {}
        })
    })
  }
}

const info = (what: string, name: string) =>
  ({ severity: 'info', kind: `qos_profile.${what}`, text: `QoS profile ${name} was ${what}` }) as const

/** Exactly one; protobuf keeps the last of several. */
function readLimits(fields: Fields): Limits {
  if (fields.has('cpu')) return { kind: 'cpu', limits: fields.message('cpu', readCpuLimits) }
  if (fields.has('network')) return { kind: 'network', limits: fields.message('network', readNetworkLimits) }
  return { kind: 'disk', limits: fields.message('disk', readDiskLimits) }
}

function readAssignment(fields: Fields) {
  const diskId = fields.optionalUuid('diskId')
  const mac = fields.has('mac') ? fields.mac('mac') : null
  if (diskId !== null && mac !== null) fields.refuse('mac', 'must not be given beside disk_id', null)
  const content = {
    vm: fields.idOrName('vmId', 64),
    diskId,
    mac,
    profile: fields.optionalName('qosProfileId', 64)
  }
  return { requestId: fields.uuid('requestId'), content }
}

type Assignment = ReturnType<typeof readAssignment>['content']

function assign(tx: Tx, { vm: name, diskId, mac, profile: wanted }: Assignment): void {
  const vm = ownVm(tx, resolveId(tx, 'vm', name))
  const kind = diskId !== null ? 'disk' : mac !== null ? 'network' : 'cpu'
  const profile = wanted === null ? null : qosProfile(tx, resolveId(tx, 'qosProfile', wanted))
  if (profile && profile.kind !== kind) throw otherKind(profile, kind, 'qos_profile_id')
  const profileId = profile?.id ?? null
  if (kind === 'cpu') return putCpuProfile(tx, vm.id, profileId)
  const found =
    diskId !== null
      ? putDiskProfile(tx, vm.id, diskId, profileId)
      : putNicProfile(tx, vm.id, mac ?? '', profileId)
  if (found > 0) return
  const what = diskId !== null ? `disk ${diskId}` : `nic ${mac}`
  throw new Fault('NOT_FOUND', `VM ${vm.name} has no ${what}`, { facts: { vm: vm.id } })
}

const otherKind = ({ name, kind }: QosProfile, wanted: string, field: string) =>
  new Fault('INVALID_REQUEST', `QoS profile ${name} is a ${kind} profile and no ${wanted} profile`, {
    violations: [{ field, description: `must be of kind ${wanted}, and ${name} is of kind ${kind}` }]
  })

function message(reader: Reader, profile: QosProfile) {
  const { id, name, description, created } = profile
  const limits =
    profile.kind === 'cpu'
      ? { cpu: profile.limits, limits: 'cpu' as const }
      : profile.kind === 'disk'
        ? { disk: wireDiskLimits(profile.limits), limits: 'disk' as const }
        : { network: profile.limits, limits: 'network' as const }
  return {
    ...{ qosProfileId: id, name, description, ...limits },
    ...{ vmCount: vmsWithProfile(reader, id).length, etag: etagOf(profile), created: wireTime(created) }
  }
}
