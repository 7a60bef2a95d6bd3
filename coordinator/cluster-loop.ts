import type { Clock } from '../common/clock.js'
import type { Logger } from '../common/log.js'
import { decideEnforcement } from './affinity/enforce.js'
import { decideBalance } from './balance/decide.js'
import type { Move, Movable } from './balance/plan.js'
import { checkReservation, type HaVm } from './forecast/reservation.js'
import { haVmsOf, migrationsIn, movablesOf, runningVmsOf } from './jobs/cluster-vms.js'
import { snapshotOf } from './jobs/cluster-snapshot.js'
import type { AllJobs } from './jobs/kinds.js'
import type { Loads } from './jobs/world.js'
import { decidePower, demandOf, type PowerSaverDecision } from './power-saver/decide.js'
import { scheduleAt, type PolicySchedule } from './power-saver/schedule.js'
import { Demand } from './power-saver/demand.js'
import { hostPowerOf, restingHosts } from './power-saver/hosts.js'
import { waitingVms } from './power-saver/waiting.js'
import type { ClusterSnapshot } from './scheduler/cluster.js'
import { orderMoves } from './services/move-orders.js'
import { addCapacitySample, thinCapacitySamples } from './store/capacity.js'
import { clusters, noteCluster, type Cluster } from './store/clusters.js'
import { addClusterDecision } from './store/decision-records.js'
import { addEvent } from './store/events.js'
import { host, noteHost, updateHost } from './store/hosts.js'
import { parsed, parsedOrNull, type Tx } from './store/query.js'
import { storageDomains } from './store/storage-domains.js'
import type { Store } from './store/store.js'
import type { ClusterDecisionKind } from './store/tables.js'

export type ClusterLoopOptions = {
  store: Store
  jobs: AllJobs
  loads: Loads
  /** Whether a host is heard now. */
  isHeard(hostId: string): boolean
  /** False while as many hosts obey another coordinator: that one moves VMs and switches hosts. See leadership.ts. */
  mayActUnasked(): boolean
  clock: Clock
  log: Logger
}

/** One look at a cluster, and what follows from it. */
type Round = {
  cluster: Cluster
  snapshot: ClusterSnapshot
  movables: Movable[]
  haVms: HaVm[]
  migrations: { hostIds: Set<string>; count: number }
  now: number
}

export type ReservationState = { isKept: boolean; reason: string; checked: number }

const sampleEvery = 10 * 60_000
/** Looking at every loss again is dear, so it is done at most so often. */
const reservationEvery = 60_000

/**
 * What a cluster does without being asked. A round does one kind of thing: broken rules first, then power, then
 * balance; so each decision sees what the one before has come to. Decision and jobs are one transaction.
 */
export class ClusterLoop {
  readonly #o: ClusterLoopOptions
  readonly #demand = new Map<string, Demand>()
  readonly #isBalancing = new Set<string>()
  readonly #lastReason = new Map<string, string>()
  readonly #sampled = new Map<string, number>()

  constructor(options: ClusterLoopOptions) {
    this.#o = options
  }

  /** One round over all clusters. */
  run(): void {
    const { store, clock, log } = this.#o
    const now = clock.wall()
    for (const cluster of clusters(store.read)) {
      try {
        this.#round(this.#look(cluster, now))
      } catch (error) {
        log.warn({ err: error, cluster: cluster.name }, 'a round of the cluster failed')
      }
    }
  }

  #look(cluster: Cluster, now: number): Round {
    const { store, loads } = this.#o
    const running = runningVmsOf(store.read, loads, cluster.id)
    return {
      ...{ cluster, now, snapshot: snapshotOf(store.read, loads, cluster.id) },
      ...{ movables: movablesOf(store.read, running, now), haVms: haVmsOf(running) },
      migrations: migrationsIn(store.read, cluster.id)
    }
  }

  #round(round: Round): void {
    this.#sample(round)
    this.#reserve(round)
    if (!this.#o.mayActUnasked()) return
    const { cluster } = round
    const demand = this.#demand.get(cluster.id) ?? new Demand()
    this.#demand.set(cluster.id, demand)
    demand.note(demandOf(round.snapshot).cpu, round.now)
    if (this.#enforce(round) || this.#savePower(round, demand)) return
    this.#balance(round)
  }

  /** History for forecasts. */
  #sample({ cluster, snapshot, now }: Round): void {
    const last = this.#sampled.get(cluster.id) ?? 0
    if (now - last < sampleEvery && last <= now) return
    this.#sampled.set(cluster.id, now)
    const { store } = this.#o
    const time = now - (now % sampleEvery)
    const up = snapshot.hosts.filter(({ status }) => status === 'up')
    const { cpu, memory } = demandOf(snapshot)
    store.transaction(tx => {
      const own = { objectId: cluster.id, time }
      const total = up.reduce((sum, host) => sum + host.memory, 0)
      addCapacitySample(tx, { ...own, kind: 'memory', used: memory, total })
      const cpus = up.reduce((sum, host) => sum + host.cpus, 0)
      addCapacitySample(tx, { ...own, kind: 'cpu', used: cpu, total: 100 * cpus })
      for (const { id, totalBytes, freeBytes } of storageDomains(tx)) {
        const used = totalBytes - freeBytes
        addCapacitySample(tx, { kind: 'storage', objectId: id, time, used, total: totalBytes })
      }
      thinCapacitySamples(tx, now)
    })
  }

  /** Says at once, and only then, when the cluster could no longer lose a host, and when it can again. */
  #reserve({ cluster, snapshot, haVms, now }: Round): void {
    if (cluster.haReservedHosts === 0) return
    const before = parsedOrNull<ReservationState>(cluster.reservationJson)
    if (before && now - before.checked < reservationEvery && before.checked <= now) return
    const { isKept, summary: reason, losses } = checkReservation(snapshot, haVms, cluster.haReservedHosts)
    this.#o.store.transaction(tx => {
      const state: ReservationState = { isKept, reason, checked: now }
      noteCluster(tx, cluster.id, { reservationJson: JSON.stringify(state) })
      if (before?.isKept === isKept || (!before && isKept)) return
      const severity = isKept ? 'info' : 'alert'
      const text = `cluster ${cluster.name}: ${reason}`
      addEvent(tx, { severity, kind: 'cluster.reservation', text, objects: { cluster: cluster.id } }, now)
      this.#decided(tx, { cluster, now }, 'reservation', reason, { losses })
    })
  }

  #enforce(round: Round): boolean {
    const { cluster, snapshot, movables, migrations } = round
    if (snapshot.affinity.length === 0 || migrations.count > 0) return false
    const { moves, broken, unsolved } = decideEnforcement(snapshot, movables, 1, migrations.hostIds)
    if (moves.length > 0)
      return this.#move(round, 'affinity', moves, moves[0]?.reason ?? '', { broken: texts(broken) })
    const reason = unsolved.length === 0 ? '' : `cannot be repaired now: ${texts(unsolved).join('; ')}`
    if (reason !== '' && this.#isNews(cluster.id, 'affinity', reason)) {
      this.#o.store.transaction(tx =>
        this.#decided(tx, round, 'affinity', reason, { unsolved: texts(unsolved) })
      )
    }
    return false
  }

  #balance(round: Round): void {
    const { cluster, snapshot, movables, migrations } = round
    const { isAtIt, plan, reason } = decideBalance({
      ...{ snapshot, movables, busyHostIds: migrations.hostIds, migrations: migrations.count },
      isAtIt: this.#isBalancing.has(cluster.id)
    })
    if (isAtIt) this.#isBalancing.add(cluster.id)
    else this.#isBalancing.delete(cluster.id)
    if (plan) this.#move(round, 'balance', plan.moves, reason, { plan })
  }

  #savePower(round: Round, demand: Demand): boolean {
    const { cluster, snapshot, movables, haVms, now } = round
    if (snapshot.policy.balancer !== 'power-saving') return false
    const { store, loads, isHeard } = this.#o
    const { resting, underWay } = restingHosts(store.read, cluster.id, isHeard, now)
    const schedule = scheduleAt(parsed<PolicySchedule[]>(cluster.schedulesJson), now)
    const { hostsInReserve, switchesHosts } = schedule ?? snapshot.policy.parameters
    const decision = decidePower({
      ...{ snapshot, movables, haVms, haReservedHosts: cluster.haReservedHosts, resting, underWay },
      ...{ hostsInReserve, switchesHosts, cpuPerMinute: demand.perMinute() },
      waiting: waitingVms(store.read, loads, cluster.id),
      power: hostPowerOf(store.read, cluster.id)
    })
    return this.#act(round, decision)
  }

  #act(round: Round, decision: PowerSaverDecision): boolean {
    if (decision.kind === 'nothing') return false
    const { store, jobs } = this.#o
    const { reason } = decision
    if (decision.kind === 'empty') {
      const { movesAtOnce } = round.snapshot.policy.parameters
      const room = movesAtOnce - round.migrations.count
      const moves = decision.moves.slice(0, Math.max(0, room))
      return moves.length === 0 || this.#move(round, 'power_saver', moves, reason, { decision })
    }
    const { hostId } = decision
    const order = { objects: { host: hostId }, actor: 'system', requestId: '' }
    store.transaction(tx => {
      const { name } = host(tx, hostId)
      if (decision.kind === 'rest') {
        const claims = [{ type: 'host', id: hostId, mode: 'change' } as const]
        jobs.create(tx, 'host.deactivate', { ...order, context: { hostId, storageDomainIds: [] }, claims })
        updateHost(tx, hostId, { mode: 'preparing' })
        noteHost(tx, hostId, { rested: 1 })
      } else if (decision.kind === 'wake' && decision.how === 'activate') {
        const claims = [{ type: 'host', id: hostId, mode: 'change' } as const]
        jobs.create(tx, 'host.activate', { ...order, context: { hostId }, claims })
        noteHost(tx, hostId, { rested: 0 })
      } else {
        const action = decision.kind === 'powerOff' ? 'off' : 'on'
        const claims = [{ type: 'host', id: hostId, mode: 'copy' } as const]
        jobs.create(tx, 'host.fence', { ...order, context: { hostId, action, states: [] }, claims })
      }
      const words = { rest: 'goes to rest', powerOff: 'is switched off', wake: 'is woken' }[decision.kind]
      const summary = `host ${name} ${words}: ${reason}`
      const objects = { host: hostId, cluster: round.cluster.id }
      addEvent(tx, { severity: 'info', kind: 'host.power_saving', text: summary, objects }, round.now)
      this.#decided(tx, round, 'power_saver', summary, decision)
    })
    return true
  }

  /** Whether anything was ordered. */
  #move(
    round: Round,
    kind: ClusterDecisionKind,
    moves: readonly Move[],
    reason: string,
    inputs: object
  ): boolean {
    const { store, jobs, loads, clock } = this.#o
    return store.transaction(tx => {
      const who = { actor: 'system', requestId: '' }
      const ordered = orderMoves({ jobs }, tx, loads, moves, who, () => clock.newId())
      if (ordered.length === 0) return false
      const names = ordered.map(({ move }) => `${move.vmName} to ${host(tx, move.toHostId).name}`)
      this.#decided(tx, round, kind, `${reason}: ${names.join(', ')}`, inputs)
      return true
    })
  }

  #decided(
    tx: Tx,
    { cluster, now }: Pick<Round, 'cluster' | 'now'>,
    kind: ClusterDecisionKind,
    summary: string,
    inputs: object
  ): void {
    addClusterDecision(tx, { clusterId: cluster.id, time: now, kind, summary, inputs })
    this.#o.log.info({ cluster: cluster.name, kind, summary }, 'decided about a cluster')
  }

  #isNews(clusterId: string, kind: string, reason: string): boolean {
    const key = `${clusterId}/${kind}`
    if (this.#lastReason.get(key) === reason) return false
    this.#lastReason.set(key, reason)
    return true
  }
}

const texts = (rules: ReadonlyArray<{ vmId: string; text: string }>) =>
  rules.map(({ vmId, text }) => `VM ${vmId}: ${text}`)
