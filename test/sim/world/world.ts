import type { Random } from '../random.js'
import type { Rules } from '../rules.js'
import { SimSanlock } from '../sanlock.js'
import { machine, writes, type Copy, type Machine } from './machine.js'
import { SimManager } from './manager.js'
import type { Finding, HostSpec, PolicySpec, VmSpec, WorldSpec } from './spec.js'

const standardPolicy: PolicySpec = {
  ...{ silence: 60, fencing: true, statusGap: 1, startGrace: 300, skipsWhileLeaseLives: true }
}
const bootTakes = 60
/** Seconds after the last renewal at which the watchdog resets a machine with lease holders. */
const watchdogAfter = 130

/**
 * Machines, storage with sanlock, and what runs: everything that is outside of the coordinator. One tick is a
 * second of virtual time. Nothing here decides; it obeys the laws that the product relies on.
 */
export class SimWorld {
  readonly spec: WorldSpec
  readonly rules: Rules
  readonly random: Random
  readonly policy: PolicySpec
  readonly sanlock = new SimSanlock(10)
  readonly machines = new Map<string, Machine>()
  readonly vms = new Map<string, VmSpec>()
  readonly wanted = new Map<string, boolean>()
  readonly manager: SimManager | null
  copies: Copy[] = []
  readonly findings: Finding[] = []
  readonly log: string[] = []
  /** Answers on their way: when, and what then happens. */
  #later: Array<{ at: number; run: () => void }> = []
  /** Whether promises were settled in this tick: what waits for them goes on before the next. */
  hasNews = false
  isHealed = false
  now = 0

  constructor(spec: WorldSpec, rules: Rules, random: Random) {
    this.spec = spec
    this.rules = rules
    this.random = random
    this.policy = { ...standardPolicy, ...spec.policy }
    for (const [id, host] of hostsOf(spec)) {
      this.machines.set(id, machine(id, host))
      this.sanlock.join(id, 0)
    }
    for (const vm of spec.vms) this.#addVm(vm)
    this.manager = spec.hasManager ? new SimManager(this) : null
  }

  #addVm(vm: VmSpec): void {
    this.vms.set(vm.id, vm)
    this.wanted.set(vm.id, true)
    const isLeased = hasLease(vm)
    if (isLeased) this.sanlock.acquire(vm.id, vm.on, 0)
    this.copies.push({
      ...{ vm: vm.id, host: vm.on, generation: 1, isLeased, state: 'running', to: null, switchesAt: 0 }
    })
  }

  machine(id: string): Machine {
    const found = this.machines.get(id)
    if (!found) throw new Error(`there is no host ${id}`)
    return found
  }

  vm(id: string): VmSpec {
    const found = this.vms.get(id)
    if (!found) throw new Error(`there is no VM ${id}`)
    return found
  }

  copyOn(vm: string, host: string): Copy | undefined {
    return this.copies.find(copy => copy.vm === vm && copy.host === host)
  }

  tell(line: string): void {
    this.log.push(`${this.now}s ${line}`)
  }

  find(invariant: string, text: string): void {
    if (this.findings.some(known => known.invariant === invariant && known.text === text)) return
    this.findings.push({ time: this.now, invariant, text })
    this.tell(`FINDING ${invariant}: ${text}`)
  }

  after(delay: number, run: () => void): void {
    this.#later.push({ at: this.now + delay, run })
  }

  get isWaiting(): boolean {
    return this.#later.length > 0
  }

  /** Faults have been given; now a second passes for machines and storage. */
  tick(): void {
    if (this.#later.length > 0) {
      const due = this.#later.filter(({ at }) => at <= this.now)
      this.#later = this.#later.filter(({ at }) => at > this.now)
      for (const { run } of due) run()
    }
    for (const host of this.machines.values()) this.#physics(host)
    for (const copy of [...this.copies]) {
      if (copy.state === 'leaving') this.#migrate(copy)
      else if (copy.state === 'arriving') this.#await(copy)
    }
    this.manager?.tick()
  }

  /** The same as many quiet ticks: only renewals happen. */
  skipTo(time: number): void {
    this.now = time
    for (const { id, isOn, storage, inLockspace } of this.machines.values()) {
      const record = this.sanlock.records.get(id)
      if (!record || !isOn || !storage || !inLockspace) continue
      const every = this.sanlock.renewEvery
      const due = Math.floor((time - record.lastRenewal) / every)
      if (due > 0) record.lastRenewal += due * every
    }
  }

  #physics(host: Machine): void {
    if (!host.isOn) {
      if (host.bootsAt !== null && this.now >= host.bootsAt) this.#boot(host)
      return
    }
    if (host.owes.size > 0 && this.now >= host.hungUntil) this.#giveBack(host)
    const record = this.sanlock.records.get(host.id)
    if (!record || !host.inLockspace) return
    const age = this.now - record.lastRenewal
    const isHung = this.now < host.hungUntil
    const { renewEvery, failAfter } = this.sanlock
    if (!isHung && host.storage && age >= renewEvery && age < failAfter) this.sanlock.renew(host.id, this.now)
    if (record.isFree) this.#lockspaceLost(host, record.lastRenewal)
    else if (age >= failAfter) this.#leaseLost(host, age, isHung)
  }

  /** Somebody cleared its record while it lives: its next renewal shows that, and its holders are killed. */
  #lockspaceLost(host: Machine, lastRenewal: number): void {
    if (this.now - lastRenewal >= this.sanlock.renewEvery && host.storage && this.now >= host.hungUntil) {
      this.#endHolders(host)
      this.#rejoin(host)
    }
  }

  /** The daemon kills its lease holders; where that fails the watchdog resets the machine. */
  #leaseLost(host: Machine, age: number, isHung: boolean): void {
    if (host.killedAt === null && !isHung) {
      host.killedAt = this.now
      if (this.rules.killsHolders && !this.random.chance(this.killFails)) this.#endHolders(host)
    }
    const holders =
      this.copies.some(copy => copy.host === host.id && copy.isLeased) ||
      this.manager?.believes(host.id) === true
    const resets = this.rules.hasWatchdog && (holders || isHung)
    if (resets && age >= watchdogAfter) return this.powerLoss(host, 'its watchdog')
    if (!holders && host.storage && !isHung) this.#rejoin(host)
  }

  /** How often sanlock's kill does not end a process. */
  killFails = 0

  #endHolders(host: Machine): void {
    this.end(copy => copy.host === host.id && copy.isLeased, 'crashed')
    this.manager?.kill(host.id)
  }

  #rejoin(host: Machine): void {
    Object.assign(host, { killedAt: null, joinedAt: this.now })
    this.sanlock.join(host.id, this.now)
  }

  leaveLockspace(host: Machine): void {
    host.inLockspace = false
    const record = this.sanlock.records.get(host.id)
    if (record) record.isFree = true
    this.manager?.leave(host.id)
  }

  joinLockspace(host: Machine): void {
    if (host.inLockspace) return
    host.inLockspace = true
    if (host.isOn && host.storage) this.#rejoin(host)
  }

  #boot(host: Machine): void {
    Object.assign(host, { isOn: true, bootsAt: null, boot: host.boot + 1, hungUntil: -1, frozenUntil: -1 })
    host.ended.clear()
    host.owes.clear()
    host.changes++
    this.#restartAgent(host)
    this.tell(`${host.id} has booted`)
    if (host.storage && host.inLockspace) this.#rejoin(host)
  }

  /** The agent is started anew: what it had in memory is gone, what it had on disk is not. */
  #restartAgent(host: Machine): void {
    host.recoversUntil = this.now + 3
    // Of a VM that moved away nothing is left there: the agent tells what libvirt has.
    for (const [vm, { exitReason }] of host.ended) if (exitReason === 'migrated') host.ended.delete(vm)
    host.changes++
    const coordinatorEpoch = this.rules.remembersEpoch ? host.durableEpoch : 0
    host.rule = { ...host.rule, coordinatorEpoch }
  }

  killAgent(host: Machine): void {
    if (host.isOn) this.#restartAgent(host)
    host.frozenUntil = -1
  }

  powerLoss(host: Machine, by: string): void {
    if (!host.isOn) return
    this.tell(`${host.id} is off: ${by}`)
    host.isOn = false
    host.bootsAt = this.isHealed ? this.now + bootTakes : null
    this.copies = this.copies.filter(copy => copy.host !== host.id)
    this.manager?.kill(host.id)
  }

  powerOn(host: Machine): void {
    if (!host.isOn && host.bootsAt === null) host.bootsAt = this.now + bootTakes
  }

  /** QEMUs that end, and what their agents will say of it. */
  end(which: (copy: Copy) => boolean, exitReason: string): void {
    for (const copy of this.copies.filter(which)) {
      this.copies.splice(this.copies.indexOf(copy), 1)
      this.endedOn(copy, exitReason)
    }
  }

  endedOn({ vm, host, generation }: Copy, exitReason: string): void {
    const where = this.machine(host)
    where.ended.set(vm, { generation, exitReason, to: null })
    where.changes++
    // A process that ends gives its lease back; one on a machine that dies does not.
    where.owes.add(vm)
    this.#giveBack(where)
  }

  /** sanlock's daemon releases what dead processes held, as soon as it can write. */
  #giveBack(host: Machine): void {
    if (!host.storage) return
    for (const vm of host.owes) if (!this.copyOn(vm, host.id)) this.sanlock.release(vm, host.id)
    host.owes.clear()
  }

  #migrate(copy: Copy): void {
    const source = this.machine(copy.host)
    const destination = copy.to === null ? undefined : this.machines.get(copy.to)
    const arriving = destination && this.copyOn(copy.vm, destination.id)
    const isLinked =
      destination?.isOn === true &&
      [source, destination].every(
        ({ netIn, netOut, hungUntil }) => (netIn || netOut) && this.now >= hungUntil
      )
    if (!destination || !isLinked || arriving?.state !== 'arriving') return this.#comeBack(copy, arriving)
    if (this.now < copy.switchesAt) return
    if (!source.storage || !destination.storage) return this.#comeBack(copy, arriving)
    const isHeld = !copy.isLeased || this.#handOver(copy.vm, source.id, destination.id)
    if (!isHeld) return this.#comeBack(copy, arriving)
    arriving.state = 'running'
    destination.changes++
    if (!this.rules.switchesOverLast) return void (copy.state = 'running')
    this.copies.splice(this.copies.indexOf(copy), 1)
    source.ended.set(copy.vm, { generation: copy.generation, exitReason: 'migrated', to: destination.id })
    source.changes++
    this.tell(`${copy.vm} has moved from ${source.id} to ${destination.id}`)
  }

  /** What waits for memory from a source that is gone ends with its connection. */
  #await(copy: Copy): void {
    if (this.copies.some(({ vm, to, state }) => vm === copy.vm && to === copy.host && state === 'leaving'))
      return
    this.end(other => other === copy, 'failed')
  }

  #handOver(vm: string, from: string, to: string): boolean {
    this.sanlock.release(vm, from)
    return this.sanlock.acquire(vm, to, this.now)
  }

  #comeBack(copy: Copy, arriving: Copy | undefined): void {
    Object.assign(copy, { state: 'running', to: null })
    this.machine(copy.host).changes++
    if (arriving?.state === 'arriving') this.end(other => other === arriving, 'failed')
  }

  /** All paths are good; what is off is switched on, what hangs goes on. */
  heal(): void {
    this.isHealed = true
    for (const host of this.machines.values()) {
      const isGood = { netIn: true, netOut: true, storage: true, frozenUntil: -1, device: 'works' as const }
      Object.assign(host, isGood, { upgradeFails: false })
      host.hungUntil = Math.min(host.hungUntil, this.now)
      for (const copy of this.copies)
        if (copy.host === host.id && copy.state === 'paused') copy.state = 'running'
      this.powerOn(host)
      host.changes++
    }
  }

  /** What must hold at every moment. */
  check(): void {
    const seen = new Map<string, Copy>()
    for (const copy of this.copies) {
      if (!writes(copy)) continue
      const other = seen.get(copy.vm)
      if (other) this.find('I1', `${copy.vm} runs on ${other.host} and on ${copy.host}`)
      seen.set(copy.vm, copy)
      if (!copy.isLeased) continue
      const owner = this.sanlock.leases.get(copy.vm)?.owner ?? null
      if (owner !== copy.host)
        this.find('I2', `${copy.vm} runs on ${copy.host}; its lease has ${owner ?? 'nobody'}`)
    }
  }
}

export const hasLease = ({ lease = true }: VmSpec) => lease

function hostsOf({ hosts }: WorldSpec): Array<[string, HostSpec]> {
  const specs: HostSpec[] =
    typeof hosts === 'number' ? Array.from({ length: hosts }, () => ({ power: 'one' })) : hosts
  return specs.map((spec, index) => [spec.id ?? `h${index + 1}`, spec])
}
