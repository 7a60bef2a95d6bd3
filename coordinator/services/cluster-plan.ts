import { Fault } from '../../common/fault.js'
import type { Fields } from '../../common/fields.js'
import { derivedId } from '../../common/ids.js'
import { nameRule } from '../../common/rules.js'
import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import type { ClusterServiceDefinition } from '../../proto/generated/types/drover/v1/ClusterService.js'
import { planBalance, type BalancePlan, type Move } from '../balance/plan.js'
import { trendOf, type Trend } from '../forecast/trend.js'
import { haVmsOf, migrationsIn, movablesOf, runningVmsOf, type RunningVm } from '../jobs/cluster-vms.js'
import { snapshotOf, wantedVm } from '../jobs/cluster-snapshot.js'
import type { Loads } from '../jobs/world.js'
import { placeAll } from '../scheduler/batch.js'
import type { ClusterSnapshot, PlacementRequest } from '../scheduler/cluster.js'
import { summarize } from '../scheduler/explain.js'
import { place } from '../scheduler/place.js'
import { capacitySamples } from '../store/capacity.js'
import { addClusterDecision, clusterDecisions } from '../store/decision-records.js'
import { cluster as clusterRow } from '../store/clusters.js'
import { resolveId } from '../store/names.js'
import type { Reader } from '../store/query.js'
import { storageDomains } from '../store/storage-domains.js'
import type { CapacityKind } from '../store/tables.js'
import { wireTime } from '../wire.js'
import { orderMoves } from './move-orders.js'
import type { Workshop } from './ordered-job.js'
import { hostOfCluster, ownVm } from './vm-checks.js'

type Plans = Pick<
  Handlers<ClusterServiceDefinition>,
  'planCluster' | 'planRebalance' | 'rebalanceCluster' | 'explainCluster' | 'forecastCluster'
>

const readNames = (fields: Fields, field: string, most: number) => fields.each(field, most, nameRule(64))
const day = 86_400_000

/** What would happen in a cluster, what evens it out, what was decided about it, and when it will be full. */
export function clusterPlans(workshop: Workshop, loads: Loads): Plans {
  const { store, clock } = workshop.mutations
  const idOf = (name: string) => resolveId(store.read, 'cluster', name)
  const balanceOf = (reader: Reader, clusterId: string, mostMoves: number) => {
    const snapshot = snapshotOf(reader, loads, clusterId)
    const movables = movablesOf(reader, runningVmsOf(reader, loads, clusterId), clock.wall())
    const countsGuests = snapshot.policy.balancer === 'even-guests'
    const busyHostIds = migrationsIn(reader, clusterId).hostIds
    return planBalance(snapshot, movables, { mostMoves, busyHostIds, countsGuests })
  }
  return {
    planCluster: unary({
      check: fields => ({
        cluster: fields.name('clusterId', 64),
        starts: readNames(fields, 'startVmIds', 1000),
        evacuated: readNames(fields, 'evacuateHostIds', 250),
        lost: readNames(fields, 'loseHostIds', 250)
      }),
      method: async asked => planCluster(store.read, loads, idOf(asked.cluster), asked)
    }),
    planRebalance: unary({
      check: fields => ({
        cluster: fields.name('clusterId', 64),
        mostMoves: fields.integerOr('maxMoves', 20_000, 1, 20_000)
      }),
      method: async ({ cluster, mostMoves }) => planMessage(balanceOf(store.read, idOf(cluster), mostMoves))
    }),
    rebalanceCluster: unary({
      check: fields => ({
        requestId: fields.uuid('requestId'),
        content: {
          cluster: fields.name('clusterId', 64),
          mostMoves: fields.integerOr('maxMoves', 16, 1, 1000)
        }
      }),
      method: async (request, context) => {
        const { cluster, mostMoves } = request.content
        return workshop.mutations.perform('RebalanceCluster', request, context, (tx, actor) => {
          const clusterId = resolveId(tx, 'cluster', cluster)
          const plan = balanceOf(tx, clusterId, mostMoves)
          const who = { actor, requestId: request.requestId }
          const idOf = ({ vmId }: Move) => derivedId(request.requestId, vmId)
          const ordered = orderMoves(workshop, tx, loads, plan.moves, who, idOf)
          const summary = `${actor} asked for balance: ${plan.summary}`
          addClusterDecision(tx, { clusterId, time: clock.wall(), kind: 'balance', summary, inputs: plan })
          const moves = ordered.map(({ move, jobId }) => moveMessage(move, jobId))
          return { ...planMessage(plan), moves }
        })
      }
    }),
    explainCluster: unary({
      check: fields => fields.name('clusterId', 64),
      method: async name => ({
        decisions: clusterDecisions(store.read, idOf(name)).map(({ time, kind, summary }) => {
          return { time: wireTime(time), kind, summary }
        })
      })
    }),
    forecastCluster: unary({
      check: fields => fields.name('clusterId', 64),
      method: async name => ({ forecasts: forecastsOf(store.read, idOf(name), clock.wall()) })
    })
  }
}

const moveMessage = (move: Move, jobId = '') => ({ ...move, jobId })

const planMessage = (plan: BalancePlan) => ({
  moves: plan.moves.map(move => moveMessage(move)),
  ...{ scoreBefore: plan.scoreBefore, scoreAfter: plan.scoreAfter },
  ...{ bytesMoved: String(plan.bytesMoved), summary: plan.summary }
})

type WantedPlan = { starts: string[]; evacuated: string[]; lost: string[] }

/** All of it together: what is emptied or lost takes nothing, and what leaves it looks for room with the rest. */
function planCluster(reader: Reader, loads: Loads, clusterId: string, wanted: WantedPlan) {
  const hostIds = (names: readonly string[]) =>
    new Set(
      names.map(name => {
        const id = resolveId(reader, 'host', name)
        hostOfCluster(reader, id, clusterId)
        return id
      })
    )
  const [evacuated, lost] = [hostIds(wanted.evacuated), hostIds(wanted.lost)]
  const snapshot = snapshotOf(reader, loads, clusterId)
  const running = runningVmsOf(reader, loads, clusterId)
  const leaving = running.filter(
    ({ hostId, wanted: vm }) => evacuated.has(hostId) || (lost.has(hostId) && vm.isHa)
  )
  const requests: PlacementRequest[] = [
    ...haVmsOf(leaving.filter(({ hostId }) => lost.has(hostId))).map(({ request }) => request),
    ...leaving.filter(({ hostId }) => !lost.has(hostId)).map(evacuation),
    ...wanted.starts.map(name => startOf(reader, loads, clusterId, resolveId(reader, 'vm', name)))
  ]
  const from = new Map(leaving.map(({ hostId, wanted: vm }) => [vm.vmId, hostId]))
  const after = withoutHosts(snapshot, evacuated, lost)
  const { placements } = placeAll(after, requests)
  const moves = placements.map(({ vmId, hostId }, index) => {
    const request = requests[index]
    const reason = hostId !== null || !request ? '' : summarize(request, place(after, request))
    const vmName = request?.vm.name ?? ''
    return {
      ...{ vmId, vmName, fromHostId: from.get(vmId) ?? '' },
      ...{ toHostId: hostId ?? '', reason, jobId: '' }
    }
  })
  const missing = moves.filter(({ toHostId }) => toHostId === '').length
  const summary =
    missing === 0
      ? `all of ${moves.length} VMs find a host`
      : `${missing} of ${moves.length} VMs find no host`
  return { moves, summary }
}

const evacuation = ({ wanted, hostId }: RunningVm): PlacementRequest => ({
  ...{ purpose: 'migrate', vm: wanted, currentHostId: hostId, preferredHostId: null, onlyHostId: null },
  ...{ excluded: new Map(), isRelaxed: false }
})

function startOf(reader: Reader, loads: Loads, clusterId: string, vmId: string): PlacementRequest {
  const row = ownVm(reader, vmId)
  if (row.clusterId !== clusterId) throw new Fault('WRONG_STATE', `VM ${row.name} is in another cluster`)
  return {
    ...{ purpose: 'start', vm: wantedVm(reader, loads, row), currentHostId: null, preferredHostId: null },
    ...{ onlyHostId: null, excluded: new Map(), isRelaxed: false }
  }
}

function withoutHosts(
  snapshot: ClusterSnapshot,
  evacuated: ReadonlySet<string>,
  lost: ReadonlySet<string>
): ClusterSnapshot {
  const hosts = snapshot.hosts.map(host => {
    if (lost.has(host.hostId)) return { ...host, status: 'down', running: [], pending: [] }
    return evacuated.has(host.hostId) ? { ...host, status: 'maintenance' } : host
  })
  return { ...snapshot, hosts }
}

function forecastsOf(reader: Reader, clusterId: string, now: number) {
  const { name } = clusterRow(reader, clusterId)
  const wanted: Array<[CapacityKind, string, string]> = [
    ['memory', clusterId, name],
    ['cpu', clusterId, name],
    ...storageDomains(reader).map(({ id, name }) => ['storage', id, name] as [CapacityKind, string, string])
  ]
  return wanted.flatMap(([kind, objectId, name]) => {
    const trend = trendOf(capacitySamples(reader, kind, objectId, now - 90 * day))
    if (!trend) return []
    const { used, total, growthPerDay, daysLeft, historyDays } = trend
    const numbers = { used, total, growthPerDay, daysLeft: daysLeft ?? 0, historyDays }
    return [{ kind, objectId, name, ...numbers, summary: trendInWords(kind, name, trend) }]
  })
}

function trendInWords(
  kind: CapacityKind,
  name: string,
  { used, total, daysLeft, historyDays }: Trend
): string {
  const percent = total > 0 ? `${((100 * used) / total).toFixed(0)} % used` : 'nothing there'
  const history = `from ${historyDays.toFixed(1)} days of history`
  const when = daysLeft === null ? 'not used up within ten years' : `used up in ${daysLeft.toFixed(0)} days`
  return historyDays < 0.5
    ? `${kind} of ${name}: ${percent}; half a day of history is needed for a forecast`
    : `${kind} of ${name}: ${percent}, ${when} (${history})`
}
