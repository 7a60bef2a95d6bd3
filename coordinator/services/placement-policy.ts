import type { Fields } from '../../common/fields.js'
import { Fault } from '../../common/fault.js'
import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import type { PlacementPolicyServiceDefinition } from '../../proto/generated/types/drover/v1/PlacementPolicyService.js'
import { alwaysFilters } from '../scheduler/filters.js'
import { builtInPolicies, filterNames, isBuiltIn, weightNames, type Policy } from '../scheduler/policy.js'
import { etagOf, throwIfStaleEtag } from '../store/etag.js'
import { addEvent } from '../store/events.js'
import { resolveId, throwIfIdTaken, throwIfNameTaken } from '../store/names.js'
import {
  deletePolicy,
  insertPolicy,
  placementPolicy,
  policiesFrom,
  updatePolicy,
  type PlacementPolicy,
  type PolicyRules
} from '../store/policies.js'
import { sql } from '../store/query.js'
import { wireTime } from '../wire.js'
import { readDescription, readEtag, readObjectName, readOwnId } from './cluster-fields.js'
import type { Lists, ListSpec } from './list.js'
import type { Mutations } from './mutation.js'
import {
  parameterMessages,
  parametersMessage,
  readBalancer,
  readFilters,
  readParameters,
  readRules,
  readSelector,
  readWeights
} from './policy-fields.js'

const spec: ListSpec = {
  filters: { name: { column: 'name', kind: 'text' } },
  orders: { name: 'name', created: 'created' },
  standardOrder: 'name',
  id: 'id'
}
const maskPaths = [
  ...(['name', 'description', 'filters', 'weights', 'selector', 'balancer', 'parameters'] as const)
] as const

const rulesMessage = ({ filters, weights, selector, balancer, parameters }: PolicyRules) => ({
  ...{ filters: [...filters], weights: { ...weights }, selector, balancer },
  parameters: parametersMessage(parameters)
})
const ownMessage = ({ id, name, description, rules, ...row }: PlacementPolicy) => ({
  ...{ placementPolicyId: id, name, description, builtIn: false, ...rulesMessage(rules) },
  ...{ etag: etagOf(row), created: wireTime(row.created) }
})
const builtInMessage = (policy: Policy) => ({
  ...{ placementPolicyId: policy.name, name: policy.name, description: '', builtIn: true },
  ...{ ...rulesMessage(policy), etag: '', created: null }
})

/** Policies of the scheduler: the built-in ones are shown, the others are made and changed. */
export function placementPolicyService(
  lists: Lists,
  mutations: Mutations
): Handlers<PlacementPolicyServiceDefinition> {
  const { store, clock } = mutations
  const message = (id: string) => ownMessage(placementPolicy(store.read, id))
  return {
    createPlacementPolicy: unary({
      check: fields => ({
        requestId: fields.uuid('requestId'),
        content: fields.message('placementPolicy', it => ({
          ...{ id: readOwnId(it, 'placementPolicyId'), name: readFreeName(it) },
          ...{ description: readDescription(it), rules: readRules(it) }
        }))
      }),
      method: async (request, context) => {
        const { id } = mutations.perform('CreatePlacementPolicy', request, context, (tx, actor) => {
          const { name, description, rules } = request.content
          const id = request.content.id ?? clock.newId()
          throwIfNameTaken(tx, 'placementPolicy', name)
          throwIfIdTaken(tx, 'placementPolicy', id)
          insertPolicy(tx, { id, name, description, rulesJson: JSON.stringify(rules), created: clock.wall() })
          addEvent(tx, { ...info('created', name), actor }, clock.wall())
          return { id }
        })
        return message(id)
      }
    }),
    getPlacementPolicy: unary({
      check: fields => fields.name('placementPolicyId', 64),
      method: async name =>
        isBuiltIn(name)
          ? builtInMessage(builtInPolicies[name])
          : message(resolveId(store.read, 'placementPolicy', name))
    }),
    listPlacementPolicies: unary({
      check: fields => ({
        isFirst: !fields.has('pageToken') && !fields.has('filter'),
        ...lists.read(fields, spec)
      }),
      method: async ({ isFirst, ...request }) => {
        const query = sql.selectFrom('placementPolicy').selectAll()
        const { rows, nextPageToken } = lists.page(store.read, query, request, spec)
        const builtIn = isFirst ? Object.values(builtInPolicies).map(builtInMessage) : []
        return { placementPolicies: [...builtIn, ...policiesFrom(rows).map(ownMessage)], nextPageToken }
      }
    }),
    updatePlacementPolicy: unary({
      check: fields => {
        const mask = fields.fieldMask('updateMask', maskPaths)
        const content = fields.message('placementPolicy', it => ({
          ...{ id: it.uuid('placementPolicyId'), etag: readEtag(it), mask: [...mask] },
          name: mask.has('name') ? readFreeName(it) : null,
          description: mask.has('description') ? readDescription(it) : null,
          rules: {
            ...(mask.has('filters') && { filters: readFilters(it) }),
            ...(mask.has('weights') && { weights: readWeights(it) }),
            ...(mask.has('selector') && { selector: readSelector(it) }),
            ...(mask.has('balancer') && { balancer: readBalancer(it) }),
            ...(mask.has('parameters') && { parameters: readParameters(it) })
          }
        }))
        return { requestId: fields.uuid('requestId'), content }
      },
      method: async (request, context) => {
        const { id, etag, name, description, rules } = request.content
        mutations.perform('UpdatePlacementPolicy', request, context, (tx, actor) => {
          const before = placementPolicy(tx, id)
          throwIfStaleEtag(etag, before, `placement policy ${before.name}`)
          if (name !== null) throwIfNameTaken(tx, 'placementPolicy', name, id)
          updatePolicy(tx, id, {
            ...(name !== null && { name }),
            ...(description !== null && { description }),
            rulesJson: JSON.stringify({ ...before.rules, ...rules })
          })
          addEvent(tx, { ...info('updated', before.name), actor }, clock.wall())
          return {}
        })
        return message(id)
      }
    }),
    deletePlacementPolicy: unary({
      check: fields => ({
        requestId: fields.uuid('requestId'),
        content: { name: fields.name('placementPolicyId', 64) }
      }),
      method: async (request, context) =>
        mutations.perform('DeletePlacementPolicy', request, context, (tx, actor) => {
          const { name } = request.content
          if (isBuiltIn(name)) throw new Fault('WRONG_STATE', `policy ${name} is built in`)
          const row = placementPolicy(tx, resolveId(tx, 'placementPolicy', name))
          deletePolicy(tx, row.id)
          addEvent(tx, { ...info('deleted', row.name), actor }, clock.wall())
          return {}
        })
    }),
    listPlacementUnits: unary({
      check: () => ({}),
      method: async () => ({
        ...{ filters: [...filterNames], weights: [...weightNames] },
        ...{ alwaysFilters: alwaysFilters.map(([name]) => name), parameters: parameterMessages() }
      })
    })
  }
}

const info = (what: string, name: string) =>
  ({
    severity: 'info',
    kind: `placement_policy.${what}`,
    text: `placement policy ${name} was ${what}`
  }) as const

/** No name of a built-in one: clusters name those by it. */
function readFreeName(fields: Fields): string {
  const name = readObjectName(fields)
  return isBuiltIn(name) ? fields.refuse('name', 'is that of a built-in policy', name) : name
}
