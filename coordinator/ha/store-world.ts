import type { Clock } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import { seconds, type Seconds } from '../../common/units.js'
import type { AllJobs } from '../jobs/kinds.js'
import { enqueueRestart } from '../jobs/restart-order.js'
import { placeTogether } from '../jobs/place-together.js'
import type { Loads } from '../jobs/world.js'
import { holdersOf } from '../store/claims.js'
import { clusters, type Cluster } from '../store/clusters.js'
import { addHostDecision } from '../store/decisions.js'
import { addEvent } from '../store/events.js'
import {
  host,
  hosts,
  hostsOfCluster,
  nextHostGeneration,
  noteHost,
  vmsOn,
  type Host
} from '../store/hosts.js'
import { neededOf } from '../store/dependencies.js'
import { jobOrNull } from '../store/jobs.js'
import type { Reader, Tx } from '../store/query.js'
import { isKnownVm } from '../known-vms.js'
import type { StaleStore } from '../stale-store.js'
import { managedCounts } from '../store/storage-domains.js'
import type { Store } from '../store/store.js'
import { leaseOf, noteVm, vm, vms, vmsOfHost, type Vm } from '../store/vms.js'
import type { Action, HaPolicy } from './decide.js'
import type { HostPower } from './fencing/host-power.js'
import { Healths } from './host-health.js'
import type { LeaseReports } from './lease-reports.js'
import { OrphanWatch } from './orphan-watch.js'
import { readLease } from './lease-reading.js'
import type { HaWorld, HostDecision, WatchedCluster, WatchedHost } from './loop.js'
import { markLost, markUnknown, noteOf } from './lost-vms.js'
import type { FailedVm } from './restart-policy.js'
import { Rooms } from './rooms.js'
import type { StorageFencing } from './storage-fencing.js'

export type StoreWorldOptions = {
  loads: Loads
  store: Store
  clock: Clock
  jobs: AllJobs
  /** Whether the host's stream is up and its last heartbeat is fresh. */
  isHeard(hostId: string): boolean
  power: Pick<HostPower, 'read' | 'switch' | 'has' | 'awaitKdump' | 'restartAgent'>
  storageFencing: StorageFencing
  leases: LeaseReports
  stale: StaleStore
  /** Whether more hosts obey this coordinator than another one. */
  mayActUnasked(): boolean
}

/** Restarts of one VM in this life of the coordinator: when it started again, and what became of the last try. */
type Restarts = {
  at: Seconds[]
  lastAttempt: Seconds | null
  lastJob: string | null
  failed: number
  foundNoHost: boolean
  /** Since when it is down, or its host silent; null while it runs. */
  failedSince: Seconds | null
}

const mostPlanned = 1000
const startsAtOnce = 20
/** Whoever stops a VM says first that it need not run: what was destroyed and should run was a start taken back. */
const failures: ReadonlySet<string> = new Set(['crashed', 'failed', 'lost', 'destroyed'])
/** Streams need a moment after the coordinator's start; until then nobody is called silent. */
const firstContact = seconds(5)
const hour = seconds(3600)

/** The HA loop's world in production: the store, the watch streams, and fence agents on other hosts. */
export class StoreWorld implements HaWorld {
  readonly #options: StoreWorldOptions
  readonly #healths = new Healths()
  readonly #restarts = new Map<string, Restarts>()
  readonly #started: Seconds
  readonly #orphans: OrphanWatch
  readonly #rooms: Rooms

  constructor(options: StoreWorldOptions) {
    this.#options = options
    this.#started = options.clock.monotonic()
    this.#orphans = new OrphanWatch(options)
    this.#rooms = new Rooms(options)
  }

  uptime(): Seconds {
    return seconds(this.#options.clock.monotonic() - this.#started)
  }

  mayActUnasked(): boolean {
    return this.#options.mayActUnasked()
  }

  clusters(): WatchedCluster[] {
    const { read } = this.#options.store
    const managed = managedCounts(read)
    return clusters(read).map(row => ({
      clusterId: row.id,
      policy: policyOf(row),
      hosts: hostsOfCluster(read, row.id)
        .filter(host => this.#isWatched(host))
        .map(host => this.#watched(host, managed.has(host.id)))
    }))
  }

  /** A host in maintenance runs nothing; one that never enrolled has no agent. */
  #isWatched({ id, mode, health }: Host): boolean {
    if (mode === 'pending' || mode === 'maintenance') return false
    if (this.#options.isHeard(id)) return true
    return health !== 'initializing' && this.uptime() > firstContact
  }

  #watched(row: Host, managesStorageDomain: boolean): WatchedHost {
    const { store, clock, isHeard, leases, power, storageFencing } = this.#options
    const now = clock.monotonic()
    const reports = leases.about(row, now)
    const lease = readLease(reports)
    return {
      hostId: row.id,
      name: row.name,
      health: this.#healths.of(row, now),
      hasPowerDevices: power.has(row, 'power'),
      canBeShutOut: storageFencing.isPossible(row.id),
      seen: {
        isHeard: isHeard(row.id),
        hasNewBoot: row.lostBootId !== '' && row.bootId !== row.lostBootId,
        lease,
        lastRenewal: leases.lastRenewal(row),
        renewEvery: seconds(2 * Math.max(10, ...reports.map(({ ioTimeout }) => ioTimeout))),
        managesStorageDomain,
        vmCount: vmsOn(store.read, row.id),
        isConfirmedByOperator: row.proof === 'operator',
        hasKdump: power.has(row, 'kdump'),
        canSoftFence: power.has(row, 'agent')
      }
    }
  }

  commit(decisions: HostDecision[]): void {
    this.#options.store.transaction(tx => {
      for (const decision of decisions) this.#commitOne(tx, decision)
    })
    for (const { host, decision } of decisions) this.#healths.set(host.hostId, decision.health)
  }

  #commitOne(tx: Tx, { host: { hostId, health: before }, decision, inputs }: HostDecision): void {
    const now = this.#options.clock.wall()
    const row = host(tx, hostId)
    const { health, actions, missing } = decision
    const isNew = health.kind !== before.kind || row.health !== health.kind
    noteHost(tx, hostId, {
      missing,
      ...(isNew && { health: health.kind, healthSince: now }),
      ...(isNew && health.kind === 'connecting' && { lostBootId: row.bootId }),
      ...(health.kind === 'non_responsive' && { fences: health.fences }),
      ...(health.kind === 'proven_stopped' && { proof: health.proof }),
      ...(health.kind === 'up' && { proof: '', fences: 0, lostBootId: '' }),
      ...(actions.includes('powerOff') && { lastFence: now })
    })
    if (isNew) this.#tell(tx, row, decision, now)
    addHostDecision(tx, { hostId, time: now, health: health.kind, missing, inputs })
    if (actions.includes('markVmsUnknown')) markUnknown(tx, hostId)
    if (actions.includes('restartAllVms')) {
      // A host that is back has told what it runs: only of the others nobody knows, and they are gone.
      const isBack = health.kind === 'up'
      const gone = vmsOfHost(tx, hostId).filter(
        ({ id, status }) => (!isBack || status === 'unknown') && this.#isKnown(tx, id)
      )
      markLost(
        tx,
        row,
        proofOf(decision),
        now,
        gone.map(({ id }) => id)
      )
    }
    if (actions.includes('restartFencedVms')) this.#markFenced(tx, row, now)
    if (isNew && health.kind === 'proven_stopped') nextHostGeneration(tx, hostId)
    for (const action of actions) {
      const news = newsOf(action, row.name)
      if (news) addEvent(tx, { severity: 'alert', ...news, objects: { host: hostId } }, now)
    }
  }

  #markFenced(tx: Tx, row: Host, now: number): void {
    const ids = vmsOfHost(tx, row.id).flatMap(({ id }) => (this.#isKnown(tx, id) ? [id] : []))
    markLost(tx, row, 'storage_fence', now, this.#options.storageFencing.covers(row.id, ids))
  }

  #isKnown(reader: Reader, vmId: string): boolean {
    return isKnownVm(reader, vmId, this.#options.stale)
  }

  #tell(tx: Tx, { id, name }: Host, { health, missing }: HostDecision['decision'], now: number): void {
    const [severity, text] = wordsFor(
      health.kind,
      name,
      health.kind === 'proven_stopped' ? health.proof : missing
    )
    addEvent(tx, { severity, kind: `host.${health.kind}`, text, objects: { host: id } }, now)
  }

  noteOrphans(): void {
    const { store, isHeard } = this.#options
    const all = hosts(store.read).filter(({ mode }) => mode !== 'pending')
    this.#orphans.note(all.map(row => ({ row, isHeard: isHeard(row.id), isWatched: this.#isWatched(row) })))
  }

  failedVms(): FailedVm[] {
    const { store } = this.#options
    const failed = vms(store.read).flatMap(row => {
      if (this.#isFailed(row) || this.#isStarting(row)) return [this.#failed(row)]
      const known = this.#restarts.get(row.id)
      if (known) known.failedSince = null
      return []
    })
    const homeless = failed.filter(({ foundNoHost, hasJob }) => foundNoHost && !hasJob)
    const rooms = this.#rooms.among(homeless.map(({ vmId }) => vmId))
    return failed.map(vm => ({ ...vm, hasRoomNow: vm.foundNoHost && rooms.has(vm.vmId) }))
  }

  /** Its restart has begun and is not over: others may have to wait for it. */
  #isStarting({ id, isHa, status }: Vm): boolean {
    const job = this.#restarts.get(id)?.lastJob ?? null
    if (!isHa || job === null || status === 'up' || status === 'powering_up') return false
    return jobOrNull(this.#options.store.read, job)?.ended === null
  }

  /** Down by a crash or with its host; or of a silent host, and its lease will tell. */
  #isFailed(row: Vm): boolean {
    if (!row.wantedRunning || row.isExternal || row.phase !== 'ok' || !row.isHa) return false
    if (!this.#isKnown(this.#options.store.read, row.id)) return false
    if (row.status === 'down') return failures.has(row.exitReason)
    if (row.status !== 'unknown' || row.hostId === null || !leaseOf(this.#options.store.read, row.id))
      return false
    return host(this.#options.store.read, row.hostId).health === 'non_responsive'
  }

  #failed(row: Vm): FailedVm {
    const { store, clock } = this.#options
    const restarts = this.#restartsOf(row.id)
    const last = restarts.lastJob === null ? null : jobOrNull(store.read, restarts.lastJob)
    if (last?.ended && restarts.lastJob !== null) {
      if (last.state !== 'undone') restarts.at.push(restarts.lastAttempt ?? clock.monotonic())
      restarts.failed = last.state === 'undone' ? restarts.failed + 1 : 0
      restarts.foundNoHost = last.turnedBack?.reason === 'NO_HOST'
      restarts.lastJob = null
    }
    return {
      vmId: row.id,
      name: row.name,
      priority: row.priority,
      isHa: row.isHa,
      hasLease: leaseOf(store.read, row.id) !== null,
      failedSince: (restarts.failedSince ??= clock.monotonic()),
      dependsOn: neededOf(store.read, row.id),
      recentRestarts: restarts.at.filter(at => clock.monotonic() - at < hour).length,
      lastAttempt: restarts.lastAttempt,
      lastAttemptFailed: restarts.failed > 0,
      failedAttempts: restarts.failed,
      foundNoHost: restarts.foundNoHost,
      hasRoomNow: false,
      hasJob: holdersOf(store.read, 'vm', row.id).length > 0
    }
  }

  freeStarts(): number {
    const { store } = this.#options
    const starting = vms(store.read).filter(({ status }) => status === 'wait_for_launch').length
    return Math.max(0, startsAtOnce - starting)
  }

  restart(vmIds: string[]): void {
    const plan = this.#plan(vmIds)
    for (const vmId of vmIds) {
      try {
        this.#restartOne(vmId, plan.get(vmId) ?? null)
      } catch (error) {
        // A job took the VM meanwhile; the next tick looks again.
        if (!Fault.is(error, 'BUSY')) throw error
      }
    }
  }

  /** All that have failed are looked at together: those that start later need room too. */
  #plan(vmIds: readonly string[]): Map<string, string> {
    const { read } = this.#options.store
    const failed = vms(read).filter(row => this.#isFailed(row))
    const all = [...new Set([...vmIds, ...failed.slice(0, mostPlanned).map(({ id }) => id)])]
    return placeTogether(read, this.#options.loads, 'restart', all)
  }

  #restartOne(vmId: string, planned: string | null): void {
    const { store, jobs, clock } = this.#options
    const jobId = store.transaction(tx => {
      const row = vm(tx, vmId)
      const proof = row.status === 'unknown' ? 'lease_free' : (noteOf(row)?.proof ?? 'down')
      const text = `VM ${row.name} is restarted (proof: ${proof.replaceAll('_', ' ')})`
      addEvent(tx, { severity: 'warning', kind: 'vm.restarting', text, objects: { vm: vmId } }, clock.wall())
      noteVm(tx, vmId, { restartsJson: null })
      const preferredHostId = (row.status === 'unknown' ? null : row.hostId) ?? planned
      return enqueueRestart(jobs, tx, { vmId, proof, preferredHostId })
    })
    const now = clock.monotonic()
    const restarts = this.#restartsOf(vmId)
    Object.assign(restarts, { lastAttempt: now, lastJob: jobId })
    restarts.at = restarts.at.filter(at => now - at < hour)
  }

  #restartsOf(vmId: string): Restarts {
    const known = this.#restarts.get(vmId)
    if (known) return known
    const fresh: Restarts = {
      at: [],
      lastAttempt: null,
      lastJob: null,
      failed: 0,
      foundNoHost: false,
      failedSince: null
    }
    this.#restarts.set(vmId, fresh)
    return fresh
  }

  readPower(hostId: string, signal: AbortSignal) {
    return this.#options.power.read(hostId, signal)
  }

  powerOff(hostId: string, signal: AbortSignal) {
    return this.#options.power.switch(hostId, 'off', signal)
  }

  awaitKdump(hostId: string, signal: AbortSignal) {
    return this.#options.power.awaitKdump(hostId, signal)
  }

  softFence(hostId: string, signal: AbortSignal) {
    return this.#options.power.restartAgent(hostId, signal)
  }

  shutOut(hostId: string, signal: AbortSignal) {
    return this.#options.storageFencing.shutOut(hostId, signal)
  }
}

const proofOf = ({ health }: HostDecision['decision']) =>
  health.kind === 'proven_stopped' ? health.proof : 'returned'

function policyOf(row: Cluster): HaPolicy {
  return {
    silence: seconds(row.silenceSeconds),
    isFencingEnabled: row.fencingEnabled === 1,
    statusGap: seconds(row.statusGapSeconds),
    startGrace: seconds(row.startGraceSeconds),
    skipsWhileLeaseLives: row.skipFencingWhileLeaseLives === 1
  }
}

/** What people are told of an act, and of what it has shown. */
function newsOf(action: Action, name: string): { kind: string; text: string } | null {
  switch (action) {
    case 'powerOff':
      return { kind: 'host.fencing', text: `host ${name} is switched off by its power device` }
    case 'softFence':
      return {
        kind: 'host.soft_fencing',
        text: `the agent of host ${name} is restarted over a second channel`
      }
    case 'shutOut':
      return { kind: 'host.shut_out', text: `host ${name} is shut out of its storage` }
    case 'reportFalseProof': {
      const text = `host ${name} was never off, although its power device said so: do not trust the device`
      return { kind: 'host.false_proof', text }
    }
    default:
      return null
  }
}

function wordsFor(kind: string, name: string, why: string): ['info' | 'warning' | 'alert', string] {
  switch (kind) {
    case 'up':
      return ['info', `host ${name} is up`]
    case 'connecting':
      return ['warning', `host ${name} is silent`]
    case 'proven_stopped':
      return ['alert', `host ${name} is proven to run nothing (${why.replaceAll('_', ' ')})`]
    default:
      return ['alert', `host ${name} does not respond: ${why}`]
  }
}
