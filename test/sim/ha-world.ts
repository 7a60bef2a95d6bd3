import { seconds } from '../../common/units.js'
import {
  decide,
  defaultHaPolicy,
  type Action,
  type HaPolicy,
  type HostHealth,
  type HostObservation,
  type LeaseReading
} from '../../coordinator/ha/decide.js'
import { decideRestarts } from '../../coordinator/ha/restart-policy.js'
import { type Random } from './random.js'
import { SimSanlock } from './sanlock.js'

// The world of HA: hosts with power, network and storage paths, sanlock and watchdogs, fence devices, a
// coordinator that crashes. The decisions are the production code; everything else is invented here. One
// tick is one second of virtual time.

/** The production code under test. A mutant replaces one entry. */
export type Rules = {
  decide: typeof decide
  decideRestarts: typeof decideRestarts
  /** Whether a start takes the VM's lease first. */
  acquiresLease: boolean
  /** Whether clearing compares generation and timestamp with those of the proof. */
  clearingCompares: boolean
  /** Whether one "off" command that was answered OK counts as off, without reading the status. */
  replyIsProof: boolean
  /** Whether hosts have a watchdog behind sanlock. */
  hasWatchdog: boolean
  /** Seconds after which sanlock lets others take a lease; null is sanlock's own law. */
  deadAfter: number | null
}
export const production: Rules = {
  decide,
  decideRestarts,
  acquiresLease: true,
  clearingCompares: true,
  replyIsProof: false,
  hasWatchdog: true,
  deadAfter: null
}

export type Faults = {
  hostCrash: number
  cable: number
  storagePath: number
  storageAll: number
  coordinatorCrash: number
  fenceFails: number
  fenceReplyLost: number
  killFails: number
  hasFenceDevices: boolean
}

type Copy = { vm: string; host: string; generation: number; isLeased: boolean }
type Host = {
  id: string
  isOn: boolean
  boot: number
  bootsAt: number | null
  network: boolean
  storage: boolean
  joinedAt: number
  killedAt: number | null
  lostBoot: number
  health: HostHealth
  offSince: number | null
  lastOffRead: number | null
  offRecord: { generation: number; lastRenewal: number } | null
  fencingUntil: number | null
}
type Vm = {
  id: string
  hasLease: boolean
  generation: number
  priority: number
  believedOn: string | null
  isDown: boolean
  restarts: number[]
  lastAttempt: number | null
  failed: number
}
type Job = { vm: string; covers: 'all' | 'lease'; deadHost: string }

export type Finding = { time: number; invariant: string; text: string }

export class HaWorld {
  readonly sanlock = new SimSanlock(10)
  readonly hosts: Host[] = []
  readonly vms: Vm[] = []
  readonly copies: Copy[] = []
  readonly findings: Finding[] = []
  readonly trace: string[] = []
  readonly #rules: Rules
  readonly #faults: Faults
  readonly #random: Random
  readonly #policy: HaPolicy = defaultHaPolicy
  #jobs: Job[] = []
  #coordinatorSince = -1000
  #coordinatorBackAt = 0
  #isHealed = false
  now = 0

  constructor(rules: Rules, faults: Faults, random: Random, hosts: number, vms: number) {
    this.#rules = rules
    this.#faults = faults
    this.#random = random
    for (let i = 0; i < hosts; i++) this.hosts.push(newHost(`h${i}`))
    for (const { id } of this.hosts) this.sanlock.join(id, 0)
    for (let i = 0; i < vms; i++) this.#addVm(i)
  }

  /** One second: faults, physics, sanlock, then the coordinator, then the invariants. */
  tick(isChaos: boolean): void {
    this.now++
    if (isChaos) this.#breakThings()
    for (const host of this.hosts) this.#physics(host)
    if (this.now >= this.#coordinatorBackAt) this.#coordinate()
    this.#check()
  }

  /** All paths are good; a machine that is off, or goes off because of what was before, is switched on. */
  heal(): void {
    this.#isHealed = true
    this.#coordinatorBackAt = Math.min(this.#coordinatorBackAt, this.now)
    for (const host of this.hosts) {
      host.network = true
      host.storage = true
      if (!host.isOn && host.bootsAt === null) host.bootsAt = this.now + 60
    }
  }

  /** After the healing: every VM runs, once. */
  checkLiveness(): void {
    for (const { id } of this.vms) {
      const running = this.copies.filter(({ vm }) => vm === id).length
      if (running !== 1) this.#find('I15', `${id} runs ${running} times after everything was healed`)
    }
  }

  #addVm(i: number): void {
    const vm = `v${i}`
    const host = this.hosts[i % this.hosts.length]
    if (!host) return
    const hasLease = i % 3 !== 2
    this.vms.push({
      id: vm,
      hasLease,
      generation: 1,
      priority: 1 + (i % 3) * 40,
      believedOn: host.id,
      isDown: false,
      restarts: [],
      lastAttempt: null,
      failed: 0
    })
    if (hasLease) this.sanlock.acquire(vm, host.id, 0)
    this.copies.push({ vm, host: host.id, generation: 1, isLeased: hasLease })
  }

  #breakThings(): void {
    const { hostCrash, cable, storagePath, storageAll, coordinatorCrash } = this.#faults
    const random = this.#random
    for (const host of this.hosts) {
      if (random.chance(hostCrash)) this.#powerLoss(host, 'crash')
      if (random.chance(cable)) host.network = !host.network
      if (random.chance(storagePath)) host.storage = !host.storage
    }
    if (random.chance(storageAll)) for (const host of this.hosts) host.storage = false
    if (random.chance(coordinatorCrash)) {
      this.#log('coordinator killed')
      this.#coordinatorBackAt = this.now + random.between(2, 60)
      this.#coordinatorSince = this.#coordinatorBackAt
    }
  }

  #powerLoss(host: Host, why: string): void {
    if (!host.isOn) return
    this.#log(`${host.id} off: ${why}`)
    host.isOn = false
    host.bootsAt =
      this.#isHealed || this.#random.chance(0.5) ? this.now + this.#random.between(30, 400) : null
    this.#kill(copy => copy.host === host.id)
  }

  #kill(which: (copy: Copy) => boolean): void {
    for (const copy of this.copies.filter(which)) this.copies.splice(this.copies.indexOf(copy), 1)
  }

  #physics(host: Host): void {
    if (!host.isOn) {
      if (host.bootsAt !== null && this.now >= host.bootsAt) this.#boot(host)
      return
    }
    const record = this.sanlock.records.get(host.id)
    if (!record) return
    const age = this.now - record.lastRenewal
    if (host.storage && age >= this.sanlock.renewEvery && age < this.sanlock.failAfter)
      this.sanlock.renew(host.id, this.now)
    if (age >= this.sanlock.failAfter) this.#leaseLost(host, age)
  }

  /** The daemon kills its lease holders; if that fails the watchdog resets the machine. */
  #leaseLost(host: Host, age: number): void {
    if (host.killedAt === null) {
      host.killedAt = this.now
      if (!this.#random.chance(this.#faults.killFails))
        this.#kill(copy => copy.host === host.id && copy.isLeased)
    }
    const holders = this.copies.some(copy => copy.host === host.id && copy.isLeased)
    if (holders && age >= 130 && this.#rules.hasWatchdog) return this.#powerLoss(host, 'watchdog')
    if (!holders && host.storage) this.#rejoin(host)
  }

  #boot(host: Host): void {
    Object.assign(host, { isOn: true, bootsAt: null, boot: host.boot + 1 })
    this.#log(`${host.id} booted`)
    if (host.storage) this.#rejoin(host)
  }

  #rejoin(host: Host): void {
    host.killedAt = null
    host.joinedAt = this.now
    this.sanlock.join(host.id, this.now)
  }

  #isHeard = (host: Host) => host.isOn && host.network

  #coordinate(): void {
    const silent = this.hosts.filter(host => !this.#isHeard(host)).length
    const fencing = this.hosts.filter(({ fencingUntil }) => fencingUntil !== null).length
    for (const host of this.hosts) this.#treat(host, silent, fencing)
    for (const host of this.hosts) if (this.#isHeard(host)) this.#report(host)
    this.#restartFailed()
    for (const job of [...this.#jobs]) this.#carryOn(job)
  }

  #treat(host: Host, silentHosts: number, fencing: number): void {
    this.#power(host)
    const cluster = {
      hosts: this.hosts.length,
      silentHosts,
      fencing,
      coordinatorUptime: seconds(this.now - this.#coordinatorSince)
    }
    const before = host.health
    if (before.kind === 'up') host.lostBoot = this.#isHeard(host) ? host.boot : host.lostBoot
    const { health, actions } = this.#rules.decide(
      before,
      this.#observe(host),
      cluster,
      this.#policy,
      seconds(this.now)
    )
    if (health.kind !== before.kind) this.#log(`${host.id} ${before.kind} -> ${health.kind}`)
    host.health = health
    for (const action of actions) this.#act(host, action)
  }

  #observe(host: Host): HostObservation {
    return {
      isHeard: this.#isHeard(host),
      hasNewBoot: host.boot !== host.lostBoot,
      lease: this.#readLease(host),
      managesStorageDomain: false,
      vmCount: this.vms.filter(({ believedOn }) => believedOn === host.id).length,
      power: {
        hasDevices: this.#faults.hasFenceDevices,
        offSince: host.offSince === null ? null : seconds(host.offSince),
        lastOffRead: host.lastOffRead === null ? null : seconds(host.lastOffRead),
        isFencing: host.fencingUntil !== null
      },
      isConfirmedByOperator: false,
      ...{ lastRenewal: null, isKdumping: false, hasKdump: false, canSoftFence: false },
      storageFence: 'impossible'
    }
  }

  #readLease(host: Host): LeaseReading {
    const reader = this.hosts.find(
      other => other !== host && this.#isHeard(other) && other.storage && this.now - other.joinedAt >= 35
    )
    const record = this.sanlock.records.get(host.id)
    if (!reader || !record) return 'unknown'
    if (record.isFree) return 'free'
    const age = this.now - record.lastRenewal
    if (age <= 35) return 'live'
    return age >= this.sanlock.deadAfter ? 'expired' : 'failing'
  }

  /** The device of a host that is not heard is read every second; truth, or no answer. */
  #power(host: Host): void {
    if (host.fencingUntil !== null && this.now >= host.fencingUntil) {
      host.fencingUntil = null
      if (!this.#random.chance(this.#faults.fenceFails)) {
        this.#powerLoss(host, 'fenced')
        if (this.#rules.replyIsProof && !this.#random.chance(this.#faults.fenceReplyLost))
          this.#noteOff(host, this.now - 10)
      } else if (this.#rules.replyIsProof) this.#noteOff(host, this.now - 10)
    }
    if (this.#isHeard(host) || !this.#faults.hasFenceDevices || host.health.kind === 'up') return
    if (this.#random.chance(this.#faults.fenceReplyLost)) return
    if (host.isOn) Object.assign(host, { offSince: null, lastOffRead: null, offRecord: null })
    else this.#noteOff(host, this.now)
  }

  #noteOff(host: Host, since: number): void {
    host.offSince ??= since
    host.lastOffRead = this.now
    host.offRecord ??= { ...(this.sanlock.records.get(host.id) ?? { generation: 0, lastRenewal: 0 }) }
  }

  #act(host: Host, action: Action): void {
    if (action === 'powerOff') {
      this.#log(`${host.id} off command`)
      host.fencingUntil = this.now + this.#random.between(2, 10)
      const record = this.sanlock.records.get(host.id)
      if (this.#isHeard(host) || (record && this.now - record.lastRenewal <= 35 && !record.isFree)) {
        this.#find('I16', `off command for ${host.id}, which is heard or renews its lease`)
      }
    }
    if (action !== 'restartAllVms' && action !== 'restartLeasedVms') return
    const covers = action === 'restartAllVms' ? 'all' : 'lease'
    for (const vm of this.vms) {
      if (vm.believedOn !== host.id) continue
      const pending = this.#jobs.find(job => job.vm === vm.id)
      if (pending) pending.covers = covers === 'all' ? 'all' : pending.covers
      else if (vm.hasLease || covers === 'all') this.#jobs.push({ vm: vm.id, covers, deadHost: host.id })
    }
    if (covers === 'all' && host.health.kind === 'proven_stopped') this.#clearLeases(host)
  }

  #clearLeases(host: Host): void {
    if (host.health.kind !== 'proven_stopped' || host.health.proof !== 'power_off') return
    const record = this.#rules.clearingCompares ? host.offRecord : (this.sanlock.records.get(host.id) ?? null)
    if (record && this.sanlock.clear(host.id, record.generation, record.lastRenewal))
      this.#log(`${host.id} leases cleared`)
  }

  /** The agent tells which VMs run there: reality wins over belief. */
  #report(host: Host): void {
    if (host.health.kind !== 'up') return
    Object.assign(host, { offSince: null, lastOffRead: null, offRecord: null })
    for (const vm of this.vms) {
      const copy = this.copies.find(({ vm: id, host: where }) => id === vm.id && where === host.id)
      if (copy && copy.generation === vm.generation) {
        Object.assign(vm, { believedOn: host.id, isDown: false })
        this.#jobs = this.#jobs.filter(job => job.vm !== vm.id)
      } else if (!copy && vm.believedOn === host.id && !this.#jobs.some(job => job.vm === vm.id)) {
        Object.assign(vm, { believedOn: null, isDown: true })
      } else if (copy && copy.generation < vm.generation) this.#kill(one => one === copy)
    }
  }

  #restartFailed(): void {
    const failed = this.vms.filter(({ isDown }) => isDown)
    const decisions = this.#rules.decideRestarts(
      failed.map(vm => ({
        vmId: vm.id,
        name: vm.id,
        priority: vm.priority,
        isHa: true,
        hasLease: vm.hasLease,
        ...{ failedSince: seconds(this.now), dependsOn: [] },
        recentRestarts: vm.restarts.filter(at => this.now - at < 3600).length,
        lastAttempt: vm.lastAttempt === null ? null : seconds(vm.lastAttempt),
        lastAttemptFailed: vm.failed > 0,
        failedAttempts: vm.failed,
        hasJob: this.#jobs.some(job => job.vm === vm.id)
      })),
      20,
      seconds(this.now)
    )
    for (const { vmId, kind } of decisions)
      if (kind === 'restart') this.#jobs.push({ vm: vmId, covers: 'all', deadHost: '' })
  }

  /** The restart job: a host that is up, the lease, the next generation, the start. */
  #carryOn(job: Job): void {
    const vm = this.vms.find(({ id }) => id === job.vm)
    const host = this.hosts.find(
      ({ id, health, storage, ...rest }) =>
        id !== job.deadHost &&
        health.kind === 'up' &&
        rest.isOn &&
        rest.network &&
        storage &&
        rest.killedAt === null
    )
    if (!vm || !host) return
    vm.lastAttempt = this.now
    if (vm.hasLease && this.#rules.acquiresLease && !this.#acquire(vm.id, host.id)) return
    vm.generation++
    this.copies.push({ vm: vm.id, host: host.id, generation: vm.generation, isLeased: vm.hasLease })
    Object.assign(vm, { believedOn: host.id, isDown: false, failed: 0 })
    vm.restarts.push(this.now)
    this.#jobs = this.#jobs.filter(other => other !== job)
    this.#log(`${vm.id} started on ${host.id}`)
  }

  #acquire(vm: string, host: string): boolean {
    const lease = this.sanlock.leases.get(vm)
    const { deadAfter } = this.#rules
    const record = lease?.owner ? this.sanlock.records.get(lease.owner) : undefined
    if (lease && record && deadAfter !== null && this.now - record.lastRenewal >= deadAfter)
      lease.owner = null
    return this.sanlock.acquire(vm, host, this.now)
  }

  #check(): void {
    const seen = new Map<string, Copy>()
    for (const copy of this.copies) {
      const other = seen.get(copy.vm)
      if (other) this.#find('I1', `${copy.vm} runs on ${other.host} and on ${copy.host}`)
      seen.set(copy.vm, copy)
    }
  }

  #find(invariant: string, text: string): void {
    this.findings.push({ time: this.now, invariant, text })
    this.#log(`FINDING ${invariant} ${text}`)
  }

  #log(line: string): void {
    this.trace.push(`${this.now}s ${line}`)
  }
}

const newHost = (id: string): Host => ({
  id,
  isOn: true,
  boot: 1,
  bootsAt: null,
  network: true,
  storage: true,
  joinedAt: 0,
  killedAt: null,
  lostBoot: 1,
  health: { kind: 'up' },
  offSince: null,
  lastOffRead: null,
  offRecord: null,
  fencingUntil: null
})
