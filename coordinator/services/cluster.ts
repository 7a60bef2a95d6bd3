import type { Fields } from '../../common/fields.js'
import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import type { ClusterServiceDefinition } from '../../proto/generated/types/drover/v1/ClusterService.js'
import { throwIfClaimed } from '../store/claims.js'
import type { Agents } from '../agents.js'
import type { ReservationState } from '../cluster-loop.js'
import type { Loads } from '../jobs/world.js'
import type { PolicySchedule } from '../power-saver/schedule.js'
import {
  cluster,
  deleteCluster,
  insertCluster,
  noteCluster,
  updateCluster,
  type Cluster
} from '../store/clusters.js'
import { etagOf, throwIfStaleEtag } from '../store/etag.js'
import { addEvent } from '../store/events.js'
import { resolveId, throwIfIdTaken, throwIfNameTaken } from '../store/names.js'
import { policyOf } from '../store/policies.js'
import { parsed, parsedOrNull, sql } from '../store/query.js'
import { wireTime } from '../wire.js'
import {
  readClusterCpuModel,
  readDescription,
  readEtag,
  readHaPolicy,
  readHaReservedHosts,
  readObjectName,
  readOwnId,
  readPolicyId,
  readSchedules,
  readScheduling,
  standardHa,
  standardScheduling
} from './cluster-fields.js'
import type { Lists, ListSpec } from './list.js'
import { clusterPlans } from './cluster-plan.js'
import { clusterUpgrades } from './cluster-upgrade.js'
import type { Workshop } from './ordered-job.js'

export const clusterMessage = (row: Cluster) => ({
  clusterId: row.id,
  name: row.name,
  description: row.description,
  cpuModel: row.cpuModel,
  scheduling: {
    cpuWeight: row.cpuWeight,
    memoryWeight: row.memoryWeight,
    memoryOvercommitPercent: row.memoryOvercommitPercent,
    cpuOvercommitPercent: row.cpuOvercommitPercent
  },
  ha: {
    silenceSeconds: row.silenceSeconds,
    fencingEnabled: row.fencingEnabled === 1,
    statusGapSeconds: row.statusGapSeconds,
    skipFencingWhileLeaseLives: row.skipFencingWhileLeaseLives === 1,
    startGraceSeconds: row.startGraceSeconds
  },
  ...{ policyId: row.policyId, haReservedHosts: row.haReservedHosts },
  haReservation: reservationMessage(row),
  schedules: parsed<PolicySchedule[]>(row.schedulesJson).map(({ weekdays, ...schedule }) => {
    return { ...schedule, weekdays: [...weekdays] }
  }),
  etag: etagOf(row),
  created: wireTime(row.created)
})

function reservationMessage({ haReservedHosts, reservationJson }: Cluster) {
  const state = parsedOrNull<ReservationState>(reservationJson)
  if (haReservedHosts === 0 || !state) return null
  return { ok: state.isKept, reason: state.reason, checked: wireTime(state.checked) }
}

const spec: ListSpec = {
  filters: { name: { column: 'name', kind: 'text' } },
  orders: { name: 'name', created: 'created' },
  standardOrder: 'name',
  id: 'id'
}

const maskPaths = [
  'name',
  'description',
  'cpu_model',
  'scheduling',
  'scheduling.cpu_weight',
  'scheduling.memory_weight',
  'scheduling.memory_overcommit_percent',
  'scheduling.cpu_overcommit_percent',
  'ha',
  'ha.silence_seconds',
  'ha.fencing_enabled',
  'ha.status_gap_seconds',
  'ha.skip_fencing_while_lease_lives',
  'ha.start_grace_seconds',
  'policy_id',
  'ha_reserved_hosts',
  'schedules'
] as const
type MaskPath = (typeof maskPaths)[number]

export function clusterService(
  lists: Lists,
  workshop: Workshop,
  loads: Loads,
  agents: Pick<Agents, 'runTask' | 'isReady'>
): Handlers<ClusterServiceDefinition> {
  const { mutations } = workshop
  const { store, clock } = mutations
  return {
    ...clusterPlans(workshop, loads),
    ...clusterUpgrades(workshop, agents),
    createCluster: unary({
      check: fields => ({
        requestId: fields.uuid('requestId'),
        content: fields.message('cluster', it => ({
          ...{ id: readOwnId(it, 'clusterId'), name: readObjectName(it), description: readDescription(it) },
          ...{ cpuModel: readClusterCpuModel(it), policyId: readPolicyId(it) },
          ...{ haReservedHosts: readHaReservedHosts(it), schedulesJson: JSON.stringify(readSchedules(it)) },
          ...(it.optionalMessage('scheduling', readScheduling) ?? standardScheduling),
          ...(it.optionalMessage('ha', readHaPolicy) ?? standardHa)
        }))
      }),
      method: async (request, context) => {
        const { id } = mutations.perform('CreateCluster', request, context, (tx, actor) => {
          const { id: given, ...wanted } = request.content
          const id = given ?? clock.newId()
          throwIfNameTaken(tx, 'cluster', wanted.name)
          throwIfIdTaken(tx, 'cluster', id)
          policyOf(tx, wanted.policyId)
          insertCluster(tx, { ...wanted, id, created: clock.wall() })
          const text = `cluster ${wanted.name} was created`
          addEvent(tx, { ...info('cluster.created', text, id), actor }, clock.wall())
          return { id }
        })
        return clusterMessage(cluster(store.read, id))
      }
    }),
    getCluster: unary({
      check: fields => fields.idOrName('clusterId', 64),
      method: async name => clusterMessage(cluster(store.read, resolveId(store.read, 'cluster', name)))
    }),
    listClusters: unary({
      check: fields => lists.read(fields, spec),
      method: async request => {
        const query = sql.selectFrom('cluster').selectAll()
        const { rows, nextPageToken } = lists.page(store.read, query, request, spec)
        return { clusters: rows.map(clusterMessage), nextPageToken }
      }
    }),
    updateCluster: unary({
      check: fields => {
        const mask = fields.fieldMask('updateMask', maskPaths)
        const content = fields.message('cluster', it => ({
          ...{ id: it.uuid('clusterId'), etag: readEtag(it), mask: [...mask] },
          change: readChange(it, mask)
        }))
        return { requestId: fields.uuid('requestId'), content }
      },
      method: async (request, context) => {
        const { id, etag, change } = request.content
        mutations.perform('UpdateCluster', request, context, (tx, actor) => {
          const before = cluster(tx, id)
          throwIfStaleEtag(etag, before, `cluster ${before.name}`)
          throwIfClaimed(tx, { type: 'cluster', id, mode: 'change' })
          if (change.name !== undefined) throwIfNameTaken(tx, 'cluster', change.name, id)
          if (change.policyId !== undefined) policyOf(tx, change.policyId)
          updateCluster(tx, id, change)
          // What was said about another reservation says nothing about this one.
          if (change.haReservedHosts !== undefined) noteCluster(tx, id, { reservationJson: null })
          const text = `cluster ${before.name} was changed`
          addEvent(tx, { ...info('cluster.updated', text, id), actor }, clock.wall())
          return {}
        })
        return clusterMessage(cluster(store.read, id))
      }
    }),
    deleteCluster: unary({
      check: fields => ({
        requestId: fields.uuid('requestId'),
        content: { name: fields.idOrName('clusterId', 64) }
      }),
      method: async (request, context) =>
        mutations.perform('DeleteCluster', request, context, (tx, actor) => {
          const { id, name } = cluster(tx, resolveId(tx, 'cluster', request.content.name))
          throwIfClaimed(tx, { type: 'cluster', id, mode: 'remove' })
          deleteCluster(tx, id)
          const text = `cluster ${name} was deleted`
          addEvent(tx, { ...info('cluster.deleted', text, id), actor }, clock.wall())
          return {}
        })
    })
  }
}

const info = (kind: string, text: string, id: string) => {
  return { severity: 'info', kind, text, objects: { cluster: id } } as const
}

/** The fields that the mask names, and no others: absent ones are not even looked at. */
function readChange(fields: Fields, mask: ReadonlySet<MaskPath>): Partial<Cluster> {
  const change: Partial<Cluster> = {}
  if (mask.has('name')) change.name = readObjectName(fields)
  if (mask.has('description')) change.description = readDescription(fields)
  if (mask.has('cpu_model')) change.cpuModel = readClusterCpuModel(fields)
  if (mask.has('policy_id')) change.policyId = readPolicyId(fields)
  if (mask.has('ha_reserved_hosts')) change.haReservedHosts = readHaReservedHosts(fields)
  if (mask.has('schedules')) change.schedulesJson = JSON.stringify(readSchedules(fields))
  const pick = <T extends Partial<Cluster>>(group: string, all: T | null) => {
    for (const [name, value] of Object.entries(all ?? {})) {
      const path = `${group}.${name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)}` as MaskPath
      if (mask.has(group as MaskPath) || mask.has(path)) Object.assign(change, { [name]: value })
    }
  }
  const names = (group: string) => [...mask].some(path => path === group || path.startsWith(`${group}.`))
  if (names('scheduling'))
    pick('scheduling', fields.optionalMessage('scheduling', readScheduling) ?? standardScheduling)
  if (names('ha')) pick('ha', fields.optionalMessage('ha', readHaPolicy) ?? standardHa)
  return change
}
