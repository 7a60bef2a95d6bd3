import type { Fields } from '../../common/fields.js'
import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import type { AffinityGroupServiceDefinition } from '../../proto/generated/types/drover/v1/AffinityGroupService.js'
import { brokenIn } from '../jobs/affinity-state.js'
import {
  affinityGroup,
  deleteAffinityGroup,
  hostLabels,
  insertAffinityGroup,
  replaceHostLabels,
  replaceMembers,
  replaceVmLabels,
  updateAffinityGroup,
  vmLabels,
  withMembers,
  type AffinityGroup
} from '../store/affinity.js'
import { cluster } from '../store/clusters.js'
import { etagOf, throwIfStaleEtag } from '../store/etag.js'
import { addEvent } from '../store/events.js'
import { resolveId, throwIfIdTaken, throwIfNameTaken } from '../store/names.js'
import { bit, sql, type Reader, type Tx } from '../store/query.js'
import type { AffinityRule } from '../store/tables.js'
import { enumOf, wireTime } from '../wire.js'
import { readDescription, readEtag, readObjectName, readOwnId } from './cluster-fields.js'
import type { Lists, ListSpec } from './list.js'
import type { Mutations } from './mutation.js'
import { labelRule } from './policy-fields.js'
import { hostOfCluster, ownVm } from './vm-checks.js'
import { Fault } from '../../common/fault.js'

const spec: ListSpec = {
  filters: { name: { column: 'name', kind: 'text' }, cluster_id: { column: 'clusterId', kind: 'id' } },
  orders: { name: 'name', created: 'created' },
  standardOrder: 'name',
  id: 'id'
}
const maskPaths = [
  ...(['name', 'description', 'priority', 'vm_rule', 'vm_enforcing', 'host_rule', 'host_enforcing'] as const),
  ...(['vm_ids', 'host_ids', 'vm_labels', 'host_labels'] as const)
] as const
type Path = (typeof maskPaths)[number]

const rules = {
  AFFINITY_RULE_UNSPECIFIED: 'none',
  AFFINITY_RULE_NONE: 'none',
  AFFINITY_RULE_POSITIVE: 'positive',
  AFFINITY_RULE_NEGATIVE: 'negative'
} as const satisfies Record<string, AffinityRule>

const readRule = (fields: Fields, field: string): AffinityRule =>
  rules[
    fields.choiceOr(field, 'AFFINITY_RULE_UNSPECIFIED', 'AFFINITY_RULE_NONE', [
      'AFFINITY_RULE_NONE',
      'AFFINITY_RULE_POSITIVE',
      'AFFINITY_RULE_NEGATIVE'
    ])
  ]
const readPriority = (fields: Fields) => fields.integer('priority', 0, 1000)
const readLabels = (fields: Fields, field: string) => fields.each(field, 16, labelRule)

function message(reader: Reader, { members, ...row }: AffinityGroup, broken: readonly string[]) {
  return {
    ...{ affinityGroupId: row.id, name: row.name, description: row.description, clusterId: row.clusterId },
    ...{ priority: row.priority, vmEnforcing: row.vmIsHard === 1, hostEnforcing: row.hostIsHard === 1 },
    ...{ vmRule: enumOf('AFFINITY_RULE', row.vmRule), hostRule: enumOf('AFFINITY_RULE', row.hostRule) },
    ...{ vmIds: members.vm, hostIds: members.host, vmLabels: members.vmLabel, hostLabels: members.hostLabel },
    ...{ broken: [...broken], etag: etagOf(row), created: wireTime(row.created) }
  }
}

/** Affinity groups, and the labels that make VMs and hosts belong to them. */
export function affinityGroupService(
  lists: Lists,
  mutations: Mutations
): Handlers<AffinityGroupServiceDefinition> {
  const { store, clock } = mutations
  const shown = (id: string) => {
    const group = affinityGroup(store.read, id)
    return message(store.read, group, brokenIn(store.read, group.clusterId).get(id) ?? [])
  }
  return {
    createAffinityGroup: unary({
      check: fields => ({
        requestId: fields.uuid('requestId'),
        content: fields.message('affinityGroup', it => ({
          ...{
            id: readOwnId(it, 'affinityGroupId'),
            name: readObjectName(it),
            description: readDescription(it)
          },
          ...{ clusterId: it.uuid('clusterId'), ...readRules(it), ...readMembers(it) }
        }))
      }),
      method: async (request, context) => {
        const { id } = mutations.perform('CreateAffinityGroup', request, context, (tx, actor) => {
          const { id: given, vmIds, hostIds, vmLabels, hostLabels, ...row } = request.content
          const id = given ?? clock.newId()
          cluster(tx, row.clusterId)
          throwIfNameTaken(tx, 'affinityGroup', row.name)
          throwIfIdTaken(tx, 'affinityGroup', id)
          insertAffinityGroup(tx, { ...row, id, created: clock.wall() })
          putMembers(tx, id, row.clusterId, { vmIds, hostIds, vmLabels, hostLabels })
          addEvent(tx, { ...info('created', row.name, row.clusterId), actor }, clock.wall())
          return { id }
        })
        return shown(id)
      }
    }),
    getAffinityGroup: unary({
      check: fields => fields.name('affinityGroupId', 64),
      method: async name => shown(resolveId(store.read, 'affinityGroup', name))
    }),
    listAffinityGroups: unary({
      check: fields => lists.read(fields, spec),
      method: async request => {
        const query = sql.selectFrom('affinityGroup').selectAll()
        const { rows, nextPageToken } = lists.page(store.read, query, request, spec)
        const broken = new Map(
          [...new Set(rows.map(({ clusterId }) => clusterId))].flatMap(id => [...brokenIn(store.read, id)])
        )
        const groups = rows.map(row =>
          message(store.read, withMembers(store.read, row), broken.get(row.id) ?? [])
        )
        return { affinityGroups: groups, nextPageToken }
      }
    }),
    updateAffinityGroup: unary({
      check: fields => {
        const mask = fields.fieldMask('updateMask', maskPaths)
        const content = fields.message('affinityGroup', it => ({
          ...{ id: it.uuid('affinityGroupId'), etag: readEtag(it), mask: [...mask] },
          name: mask.has('name') ? readObjectName(it) : null,
          description: mask.has('description') ? readDescription(it) : null,
          rules: readRules(it, mask),
          members: readMembers(it, mask)
        }))
        return { requestId: fields.uuid('requestId'), content }
      },
      method: async (request, context) => {
        const { id, etag, name, description, rules, members } = request.content
        mutations.perform('UpdateAffinityGroup', request, context, (tx, actor) => {
          const before = affinityGroup(tx, id)
          throwIfStaleEtag(etag, before, `affinity group ${before.name}`)
          if (name !== null) throwIfNameTaken(tx, 'affinityGroup', name, id)
          updateAffinityGroup(tx, id, {
            ...(name !== null && { name }),
            ...(description !== null && { description }),
            ...rules
          })
          putMembers(tx, id, before.clusterId, members)
          addEvent(tx, { ...info('updated', before.name, before.clusterId), actor }, clock.wall())
          return {}
        })
        return shown(id)
      }
    }),
    deleteAffinityGroup: unary({
      check: fields => ({
        requestId: fields.uuid('requestId'),
        content: { name: fields.name('affinityGroupId', 64) }
      }),
      method: async (request, context) =>
        mutations.perform('DeleteAffinityGroup', request, context, (tx, actor) => {
          const row = affinityGroup(tx, resolveId(tx, 'affinityGroup', request.content.name))
          deleteAffinityGroup(tx, row.id)
          addEvent(tx, { ...info('deleted', row.name, row.clusterId), actor }, clock.wall())
          return {}
        })
    }),
    setLabels: unary({
      check: fields => ({
        requestId: fields.uuid('requestId'),
        content: { ...readLabelled(fields), labels: fields.each('labels', 32, labelRule) }
      }),
      method: async (request, context) =>
        mutations.perform('SetLabels', request, context, tx => {
          const { vm, host, labels } = request.content
          const sorted = [...new Set(labels)].toSorted()
          if (vm !== null) replaceVmLabels(tx, resolveId(tx, 'vm', vm), sorted)
          else replaceHostLabels(tx, resolveId(tx, 'host', host ?? ''), sorted)
          return { labels: sorted }
        })
    }),
    getLabels: unary({
      check: readLabelled,
      method: async ({ vm, host }) => ({
        labels:
          vm !== null
            ? vmLabels(store.read, resolveId(store.read, 'vm', vm))
            : hostLabels(store.read, resolveId(store.read, 'host', host ?? ''))
      })
    })
  }
}

const info = (what: string, name: string, clusterId: string) => {
  const text = `affinity group ${name} was ${what}`
  return { severity: 'info', kind: `affinity_group.${what}`, text, objects: { cluster: clusterId } } as const
}

function readLabelled(fields: Fields): { vm: string | null; host: string | null } {
  const [vm, host] = [fields.optionalName('vmId', 64), fields.optionalName('hostId', 64)]
  if ((vm === null) === (host === null))
    fields.refuse('vmId', 'must be given, or host_id, and not both', null)
  return { vm, host }
}

const everything: ReadonlySet<Path> = new Set(maskPaths)

type WantedRules = {
  priority: number
  vmRule: AffinityRule
  vmIsHard: 0 | 1
  hostRule: AffinityRule
  hostIsHard: 0 | 1
}
function readRules(fields: Fields): WantedRules
function readRules(fields: Fields, mask: ReadonlySet<Path>): Partial<WantedRules>
function readRules(fields: Fields, mask: ReadonlySet<Path> = everything) {
  return {
    ...(mask.has('priority') && { priority: readPriority(fields) }),
    ...(mask.has('vm_rule') && { vmRule: readRule(fields, 'vmRule') }),
    ...(mask.has('vm_enforcing') && { vmIsHard: bit(fields.bool('vmEnforcing')) }),
    ...(mask.has('host_rule') && { hostRule: readRule(fields, 'hostRule') }),
    ...(mask.has('host_enforcing') && { hostIsHard: bit(fields.bool('hostEnforcing')) })
  }
}

type WantedMembers = { vmIds: string[]; hostIds: string[]; vmLabels: string[]; hostLabels: string[] }
function readMembers(fields: Fields): WantedMembers
function readMembers(fields: Fields, mask: ReadonlySet<Path>): Partial<WantedMembers>
function readMembers(fields: Fields, mask: ReadonlySet<Path> = everything) {
  return {
    ...(mask.has('vm_ids') && { vmIds: fields.uuids('vmIds', 1000) }),
    ...(mask.has('host_ids') && { hostIds: fields.uuids('hostIds', 250) }),
    ...(mask.has('vm_labels') && { vmLabels: readLabels(fields, 'vmLabels') }),
    ...(mask.has('host_labels') && { hostLabels: readLabels(fields, 'hostLabels') })
  }
}

/** Members are of the group's cluster. */
function putMembers(tx: Tx, groupId: string, clusterId: string, wanted: Partial<WantedMembers>): void {
  for (const vmId of wanted.vmIds ?? []) {
    const vm = ownVm(tx, vmId)
    if (vm.clusterId !== clusterId) throw new Fault('WRONG_STATE', `VM ${vm.name} is in another cluster`)
  }
  for (const hostId of wanted.hostIds ?? []) hostOfCluster(tx, hostId, clusterId)
  const lists = [
    ['vm', wanted.vmIds],
    ['host', wanted.hostIds],
    ['vmLabel', wanted.vmLabels],
    ['hostLabel', wanted.hostLabels]
  ] as const
  for (const [kind, members] of lists) if (members) replaceMembers(tx, groupId, kind, members)
}
