import { pino } from 'pino'
import type { Clock } from '../../../common/clock.js'
import { seconds, type Seconds } from '../../../common/units.js'
import type { HaPolicy, LeaseReading } from '../../../coordinator/ha/decide.js'
import { Healths } from '../../../coordinator/ha/host-health.js'
import type { LeaseObservation } from '../../../coordinator/ha/lease-reading.js'
import { HaLoop, type HaWorld, type HostDecision, type WatchedCluster } from '../../../coordinator/ha/loop.js'
import type { FailedVm } from '../../../coordinator/ha/restart-policy.js'
import { StaleStore } from '../../../coordinator/stale-store.js'
import { clearLeases, SimFence } from './fence.js'
import { JobsOfLife } from './jobs.js'
import type { Machine } from './machine.js'
import { hear } from './observer.js'
import { hostRow, isRunning, type HostRow, type Records, type VmRow } from './records.js'
import { SimRestarts } from './restarts.js'
import { isHeard, welcome } from './wire.js'
import { hasLease, type SimWorld } from './world.js'

const silent = pino({ level: 'silent' })
const livesOn = { lease: 'live', lastRenewal: null } as const
const firstContact = 5

/**
 * One life of a coordinator over its records: the production loop, with the simulated hosts around it. What
 * it knows beside the records dies with it.
 */
export class SimCoordinator implements HaWorld {
  readonly name: string
  readonly world: SimWorld
  readonly records: Records
  readonly fence: SimFence
  readonly jobs: JobsOfLife
  readonly #loop: HaLoop
  readonly #healths = new Healths()
  readonly #started: number
  /** Of this life; hosts tell twins by it. */
  readonly incarnation: string
  readonly #stop = new AbortController()
  readonly #restarts: SimRestarts
  readonly stale: StaleStore
  /** Hosts that accepted the greeting, with the generation it named. */
  readonly ready = new Map<string, number>()
  /** Hosts that this life has greeted: it commands no others. */
  readonly greeted = new Set<string>()
  /** Hosts that refuse it: their stream ends with that. */
  readonly #refused = new Set<string>()
  /** Hosts that said what was not believed. */
  readonly #unbelieved = new Set<string>()
  /** What was last heard of a host. */
  readonly heardChanges = new Map<string, number>()
  readonly #renewals = new Map<string, { stamp: number; changed: number | null; since: number }>()
  isCut = false

  constructor(name: string, world: SimWorld, records: Records) {
    this.name = name
    this.world = world
    this.records = records
    this.#started = world.now
    this.incarnation = `${name}@${world.now}`
    if (world.rules.takesEpoch) records.epoch++
    this.fence = new SimFence(this)
    this.jobs = new JobsOfLife(this)
    this.#restarts = new SimRestarts(this)
    this.stale = new StaleStore({
      isSet: () => records.isStale,
      set: () => void (records.isStale = true),
      clear: () => void (records.isStale = false)
    })
    const { rules } = world
    this.#loop = new HaLoop(this, clockOf(world), silent, {
      ...{ decide: rules.decide, noteRound: rules.noteRound, decideRestarts: rules.decideRestarts }
    })
    world.tell(`coordinator ${name} starts with epoch ${records.epoch}`)
  }

  get epoch(): number {
    return this.records.epoch
  }

  kill(): void {
    this.#stop.abort()
    this.world.tell(`coordinator ${this.name} is killed`)
  }

  listen(): void {
    for (const host of this.world.machines.values()) this.#listen(host)
  }

  act(): void {
    this.#loop.tick(this.#stop.signal)
    clearLeases(this)
    this.jobs.tick()
  }

  hears = (host: Machine) => !this.isCut && isHeard(this.world, host) && !this.#refused.has(host.id)

  /** Whether it is heard, and has told what it has. */
  hasTold = (host: Machine) => this.hears(host) && this.world.now >= host.recoversUntil

  stampFor = (host: Machine) => ({
    epoch: this.epoch,
    generation: hostRow(this.records, host.id).generation
  })

  offSince = (hostId: string) => this.#loop.offSince(hostId)

  #listen(host: Machine): void {
    if (this.isCut || !isHeard(this.world, host)) {
      this.ready.delete(host.id)
      this.heardChanges.delete(host.id)
      this.stale.noteSilent(host.id)
      return
    }
    const row = hostRow(this.records, host.id)
    // The first word of a stream names the boot.
    row.bootId = host.boot
    row.generation = this.world.rules.generationOf(row.generation, host.rule.hostGeneration)
    if (this.ready.get(host.id) !== row.generation) this.#greet(host, row)
    if (!this.hears(host) || this.world.now < host.recoversUntil) return
    if (this.heardChanges.get(host.id) !== host.changes) this.#hear(host, row, false)
    else if (this.#unbelieved.has(host.id)) this.#hear(host, row, true)
  }

  #greet(host: Machine, { generation }: HostRow): void {
    const answer = welcome(this.world, host, { ...this.stampFor(host), incarnation: this.incarnation })
    if (answer.kind === 'ok') {
      this.ready.set(host.id, generation)
      this.greeted.add(host.id)
    } else this.ready.delete(host.id)
    if (answer.kind === 'refused') {
      if (!this.#refused.has(host.id) && this.world.rules.suspectsOldStores) this.stale.suspect(host.id)
      this.#refused.add(host.id)
    } else this.#refused.delete(host.id)
  }

  #hear(host: Machine, row: HostRow, isAgain: boolean): void {
    this.heardChanges.set(host.id, host.changes)
    if (hear(this, host, row, isAgain)) this.#unbelieved.delete(host.id)
    else this.#unbelieved.add(host.id)
    if (!isAgain) this.stale.noteTold(host.id)
  }

  // What the HA loop asks.

  uptime(): Seconds {
    return seconds(this.world.now - this.#started)
  }

  #counts = new Map<string, number>()
  #readers: Machine[] = []
  /** Hosts through which power devices can be reached. */
  proxies: string[] = []

  /** What is the same for all hosts of one tick. */
  #count(): void {
    this.#counts = new Map()
    for (const vm of this.records.vms.values())
      if (vm.hostId !== null && isRunning(vm))
        this.#counts.set(vm.hostId, (this.#counts.get(vm.hostId) ?? 0) + 1)
    this.#readers = []
    this.proxies = []
    for (const host of this.world.machines.values()) {
      if (this.#readers.length >= 4 && this.proxies.length >= 4) break
      if (!this.hears(host)) continue
      if (host.storage && host.inLockspace) this.#readers.push(host)
      if (host.netIn && this.ready.has(host.id)) this.proxies.push(host.id)
    }
  }

  mayActUnasked(): boolean {
    return this.world.rules.mayActUnasked({ obeying: this.ready.size, refusing: this.#refused.size })
  }

  clusters(): WatchedCluster[] {
    this.#count()
    const rows = [...this.records.hosts.values()].filter(row => this.#isWatched(row))
    return [{ clusterId: 'c', policy: this.#policy(), hosts: rows.map(row => this.#watched(row)) }]
  }

  #policy(): HaPolicy {
    const { silence, fencing, statusGap, startGrace, skipsWhileLeaseLives } = this.world.policy
    return {
      ...{ silence: seconds(silence), isFencingEnabled: fencing, statusGap: seconds(statusGap) },
      ...{ startGrace: seconds(startGrace), skipsWhileLeaseLives }
    }
  }

  #isWatched({ id, mode }: HostRow): boolean {
    if (mode === 'maintenance') return false
    return this.hears(this.world.machine(id)) || this.uptime() > firstContact
  }

  #watched(row: HostRow) {
    const host = this.world.machine(row.id)
    const heard = this.hears(host)
    const now = seconds(this.world.now)
    const { power = 'none', hasKdump = false, canSoftFence = false, hasReservations = false } = host.spec
    if (heard) this.#noteHeard(host.id)
    const seenLease = heard ? livesOn : this.#leaseOf(host)
    return {
      hostId: row.id,
      name: row.name,
      health: this.#healths.of(row, now),
      hasPowerDevices: power !== 'none',
      canBeShutOut: hasReservations,
      seen: {
        isHeard: heard,
        hasNewBoot: row.lostBootId !== null && row.bootId !== row.lostBootId,
        lease: seenLease.lease,
        lastRenewal: seenLease.lastRenewal,
        renewEvery: seconds(this.world.sanlock.renewEvery),
        managesStorageDomain: false,
        vmCount: heard ? 0 : (this.#counts.get(row.id) ?? 0),
        isConfirmedByOperator: row.proof === 'operator',
        hasKdump,
        canSoftFence
      }
    }
  }

  /** What up to three hosts that are heard see in the lockspace. */
  #leaseOf(host: Machine): { lease: LeaseReading; lastRenewal: Seconds | null } {
    const { world } = this
    const record = world.sanlock.records.get(host.id)
    const opinions: LeaseObservation[] = []
    for (const reader of this.#readers) {
      if (reader === host || !record) continue
      opinions.push(this.#opinion(reader, record))
    }
    if (record && opinions.length > 0) this.#noteRenewal(host.id, record.lastRenewal, record.isFree)
    return { lease: world.rules.readLease(opinions), lastRenewal: this.lastRenewal(host.id) }
  }

  /** Its record is known before it is needed. */
  #noteHeard(hostId: string): void {
    const record = this.#readers.length > 1 ? this.world.sanlock.records.get(hostId) : undefined
    if (record) this.#noteRenewal(hostId, record.lastRenewal, record.isFree)
  }

  /** When a renewal of its lease was last seen in this life. */
  lastRenewal = (hostId: string): Seconds | null => {
    const changed = this.#renewals.get(hostId)?.changed ?? null
    return changed === null ? null : seconds(changed)
  }

  /** As clear-leases.ts sees it: what a reader says now, and since when it is known. */
  leaseReport(hostId: string): (LeaseObservation & { knownSince: Seconds | null }) | null {
    const known = this.#renewals.get(hostId)
    const record = this.world.sanlock.records.get(hostId)
    const reader = this.#readers.find(({ id }) => id !== hostId)
    if (!record || !reader) return null
    return { ...this.#opinion(reader, record), knownSince: known ? seconds(known.since) : null }
  }

  #opinion(reader: Machine, record: { lastRenewal: number; isFree: boolean }): LeaseObservation {
    const { now, sanlock } = this.world
    const age = now - record.lastRenewal
    const limit = 3 * sanlock.ioTimeout + 5
    const state = age <= limit ? 'live' : age >= sanlock.deadAfter ? 'expired' : 'failing'
    return {
      ...{ readerHostId: reader.id, storageDomainId: 'sd', state: record.isFree ? 'free' : state },
      ...{ watched: seconds(now - reader.joinedAt), ioTimeout: seconds(sanlock.ioTimeout), age: seconds(0) }
    }
  }

  #noteRenewal(hostId: string, stamp: number, isFree: boolean): void {
    const known = this.#renewals.get(hostId)
    if (known?.stamp === stamp) return
    const changed = known === undefined || isFree ? null : this.world.now
    this.#renewals.set(hostId, { stamp, changed, since: known?.since ?? this.world.now })
  }

  commit(decisions: HostDecision[]): void {
    for (const { host, decision } of decisions) {
      this.#commitOne(host.hostId, host.health.kind, decision)
      this.#healths.set(host.hostId, decision.health)
    }
  }

  #commitOne(hostId: string, before: string, { health, actions, missing }: HostDecision['decision']): void {
    const row = hostRow(this.records, hostId)
    const isNew = health.kind !== before || row.health !== health.kind
    if (isNew) {
      const why = health.kind === 'proven_stopped' ? ` (${health.proof})` : ''
      this.world.tell(`${this.name}: ${hostId} is ${health.kind}${why}`)
    } else if (missing !== '' && health.kind === 'non_responsive') {
      this.world.tell(`${this.name}: ${hostId} waits: ${missing}`)
    }
    row.health = health.kind
    if (isNew && health.kind === 'connecting') row.lostBootId = row.bootId
    if (health.kind === 'non_responsive') row.fences = health.fences
    if (health.kind === 'proven_stopped') row.proof = health.proof
    if (health.kind === 'up') Object.assign(row, { proof: '', fences: 0, lostBootId: null })
    for (const action of actions) this.#note(action, row)
    if (actions.includes('restartAllVms'))
      this.markLost(
        row,
        health.kind === 'proven_stopped' ? health.proof : 'returned',
        vm => health.kind !== 'up' || vm.status === 'unknown'
      )
    if (actions.includes('restartFencedVms')) this.markLost(row, 'storage_fence', () => true)
    if (isNew && health.kind === 'proven_stopped' && this.world.rules.fencesGeneration) row.generation++
  }

  #note(action: string, { id }: HostRow): void {
    if (action === 'markVmsUnknown') {
      for (const vm of this.records.vms.values()) if (vm.hostId === id && isRunning(vm)) vm.status = 'unknown'
    }
    if (['powerOff', 'softFence', 'shutOut', 'reportFalseProof'].includes(action))
      this.world.tell(`${this.name}: ${action} ${id}`)
  }

  markLost({ id }: HostRow, proof: string, which: (vm: VmRow) => boolean): void {
    for (const vm of this.records.vms.values()) {
      if (vm.hostId !== id || !isRunning(vm) || !which(vm) || !this.isKnown(vm.id)) continue
      Object.assign(vm, { status: 'down', exitReason: 'lost', hostId: null, migratingToHostId: null, proof })
      this.world.tell(`${this.name}: ${vm.id} is lost (${proof})`)
    }
  }

  /** See coordinator/stale-store.ts. */
  isKnown = (vmId: string) => this.stale.isKnown(vmId, hasLease(this.world.vm(vmId)))

  readonly #unknownSince = new Map<string, number>()

  noteOrphans(): void {
    const { hosts, vms } = this.records
    const { now, rules } = this.world
    const told = [...hosts.values()].map(({ id, health }) => {
      return { hostId: id, isStopped: health === 'proven_stopped' }
    })
    this.stale.settle(told)
    const isSettled = ({ hostId }: VmRow) =>
      ['up', 'proven_stopped'].includes(hosts.get(hostId ?? '')?.health ?? '')
    const unknown = [...vms.values()].filter(vm => vm.status === 'unknown' && isSettled(vm))
    if (unknown.length === 0) return this.#unknownSince.clear()
    for (const { id } of unknown) this.#unknownSince.set(id, this.#unknownSince.get(id) ?? now)
    const watched = [...hosts.values()].filter(({ mode }) => mode !== 'maintenance')
    const lost = rules.orphansOf(
      unknown.map(({ id }) => ({ vmId: id, since: seconds(this.#unknownSince.get(id) ?? 0) })),
      watched.every(
        ({ id, health }) =>
          health === 'proven_stopped' || (this.hears(this.world.machine(id)) && this.ready.has(id))
      ),
      seconds(now)
    )
    for (const row of hosts.values()) this.markLost(row, 'returned', ({ id }) => lost.includes(id))
  }

  failedVms(): FailedVm[] {
    return this.#restarts.failedVms()
  }
  freeStarts(): number {
    return this.#restarts.freeStarts()
  }
  restart(vmIds: string[]): void {
    this.#restarts.restart(vmIds)
  }
  readPower(hostId: string, signal: AbortSignal) {
    return this.fence.read(hostId, signal)
  }
  powerOff(hostId: string, signal: AbortSignal) {
    return this.fence.powerOff(hostId, signal)
  }
  awaitKdump(hostId: string, signal: AbortSignal) {
    return this.fence.awaitKdump(hostId, signal)
  }
  softFence(hostId: string) {
    return this.fence.softFence(hostId)
  }
  shutOut(hostId: string) {
    return this.fence.shutOut(hostId)
  }
}

const clockOf = (world: SimWorld): Clock => ({
  monotonic: () => seconds(world.now),
  wall: () => world.now * 1000,
  after: () => () => {},
  random: () => 0,
  newId: () => ''
})
