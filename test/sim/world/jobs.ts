import type { SimCoordinator } from './coordinator.js'
import { carryEvacuation, carryUpgrade } from './drain.js'
import type { Copy, Machine } from './machine.js'
import { migrate } from './migrate.js'
import { hostRow, vmRow, type Job, type VmRow } from './records.js'
import { command, type Answer } from './wire.js'
import { hasLease } from './world.js'

const patience = 120

/**
 * The jobs of a coordinator: small machines with one step a second, so that a crash can come between any two.
 * They follow coordinator/jobs: what a step decides is on record before the next begins, a start that may have
 * had an effect is taken back before the VM may be started again.
 */
export class JobsOfLife {
  readonly coordinator: SimCoordinator
  /** Jobs that ended without success in this life. */
  readonly undone = new Map<string, string>()

  constructor(coordinator: SimCoordinator) {
    this.coordinator = coordinator
  }

  order(kind: Job['kind'], given: Partial<Job>): string {
    const { records, world, incarnation } = this.coordinator
    // As unique as a UUID: also beside a copy of the store, and after a restore.
    const id = `j${++records.jobCount} of ${incarnation}`
    records.jobs.push({
      ...{ id, kind, vm: '', host: '', step: 'choose', target: null, generation: 0, attempt: 0 },
      ...{ since: world.now, excluded: [], proof: '', wasSent: false, failures: {} },
      ...given
    })
    return id
  }

  claims(vm: string): boolean {
    return this.coordinator.records.jobs.some(job => job.vm === vm)
  }

  tick(): void {
    for (const job of [...this.coordinator.records.jobs]) {
      if (!this.coordinator.records.jobs.includes(job)) continue
      if (job.kind === 'start' || job.kind === 'restart') this.#start(job)
      else if (job.kind === 'stop') this.#stop(job)
      else if (job.kind === 'migrate') migrate(this, job)
      else if (job.kind === 'evacuate') carryEvacuation(this, job)
      else if (job.kind === 'activate') this.#activate(job)
      else carryUpgrade(this, job)
    }
  }

  over(job: Job, isUndone: boolean, why = ''): void {
    const { records, world, name } = this.coordinator
    records.jobs.splice(records.jobs.indexOf(job), 1)
    if (isUndone) this.undone.set(job.id, why)
    // Whoever asked was told that it failed.
    if (isUndone && job.kind === 'start') world.wanted.set(job.vm, false)
    if (isUndone || job.kind === 'evacuate' || job.kind === 'upgrade')
      world.tell(
        `${name}: ${job.kind} of ${job.vm || job.host || 'cluster'} ${isUndone ? `undone: ${why}` : 'done'}`
      )
  }

  next(job: Job, step: string): void {
    job.step = step
    job.since = this.coordinator.world.now
  }

  /** A command of this job to a host; the same id until it has an answer. */
  ask(job: Job, host: Machine, part: string, effect: () => string): Answer {
    const { world } = this.coordinator
    if (this.coordinator.isCut || !this.coordinator.greeted.has(host.id)) return { kind: 'silent' }
    const id = `${this.coordinator.records.epoch > 0 ? '' : '?'}${job.id}/${part}/${job.vm}/${job.generation}/${job.attempt}`
    return command(world, host, this.coordinator.stampFor(host), id, effect)
  }

  /** Where a VM may run: the host with the fewest, in service and able. */
  choose(job: Job, vm: string, without: string | null): string | null {
    const { world, records, ready } = this.coordinator
    const pinned = world.vm(vm).pinned
    const loads = new Map<string, number>()
    const add = (id: string | null) => id !== null && loads.set(id, (loads.get(id) ?? 0) + 1)
    for (const row of records.vms.values()) add(row.hostId)
    for (const other of records.jobs) if (other !== job) add(other.target)
    const load = (id: string) => loads.get(id) ?? 0
    const fit = [...records.hosts.values()].filter(row => {
      const host = world.machine(row.id)
      if (row.id === without || job.excluded.includes(row.id)) return false
      if (row.mode !== 'active' && world.rules.keepsDrainedEmpty) return false
      if (row.health !== 'up' || !row.hasStorage || !ready.has(row.id)) return false
      return (!pinned || pinned.includes(row.id)) && load(row.id) < (host.spec.room ?? 1000)
    })
    // Two coordinators do not think alike.
    if (this.coordinator.name !== 'c1') fit.reverse()
    let best: string | null = null
    for (const { id } of fit) if (best === null || load(id) < load(best)) best = id
    return best
  }

  #start(job: Job): void {
    const { world, records } = this.coordinator
    const row = vmRow(records, job.vm)
    const isBack = row.status !== 'down' && row.status !== 'unknown'
    switch (job.step) {
      case 'choose': {
        if (isBack) return this.over(job, true, 'it never stopped')
        const without = row.status === 'unknown' ? row.hostId : null
        job.target = this.choose(job, job.vm, without)
        if (job.target === null) return this.over(job, true, 'no host')
        return this.next(job, 'awaitLease')
      }
      case 'awaitLease':
        return this.#awaitLease(job, row, isBack)
      case 'nextLife':
        if (!this.coordinator.isKnown(job.vm)) return this.over(job, true, 'it may run elsewhere')
        if (isBack) return this.over(job, true, 'it never stopped')
        job.generation = ++row.generation
        return this.next(job, 'start')
      case 'start':
        return this.#send(job)
      case 'confirm': {
        if (row.generation !== job.generation) return this.over(job, true, 'another life began')
        if (row.observedGeneration !== job.generation) {
          if (world.now - job.since >= patience || this.#isGone(job)) this.next(job, 'takeBack')
          return
        }
        if (row.status === 'down') return this.over(job, true, 'it did not start')
        row.wantedRunning = true
        return this.over(job, false)
      }
      default:
        return this.#takeBack(job)
    }
  }

  #isGone = ({ target }: Job) =>
    target !== null && hostRow(this.coordinator.records, target).health === 'proven_stopped'

  #awaitLease(job: Job, row: VmRow, isBack: boolean): void {
    const { world, ready } = this.coordinator
    const { now, sanlock, rules } = world
    if (isBack) return this.over(job, true, 'it never stopped')
    if (job.kind === 'start' || !hasLease(world.vm(job.vm)) || !rules.awaitsLease) {
      if (job.proof === 'lease_free' && row.status === 'unknown' && rules.awaitsLease)
        return this.over(job, true, 'no lease, no proof')
      return this.next(job, 'nextLife')
    }
    const target = job.target === null ? null : world.machine(job.target)
    if (!target || !ready.has(target.id) || !target.storage) {
      if (now - job.since < 30 && target?.isOn === true && target.storage) return
      if (target) job.excluded = [...job.excluded, target.id].slice(-2)
      return this.next(job, 'choose')
    }
    const lease = sanlock.leases.get(job.vm)
    const owner = lease?.owner ?? null
    const { deadAfter } = rules
    const record = owner === null ? undefined : sanlock.records.get(owner)
    const isEarly = deadAfter !== null && record !== undefined && now - record.lastRenewal >= deadAfter
    if (lease && owner !== null && !isEarly && !sanlock.isDead(owner, lease.ownerGeneration, now)) return
    this.next(job, 'nextLife')
  }

  /** Until the host answers; a host that is proven stopped has not and will not start anything. */
  #send(job: Job): void {
    const { world } = this.coordinator
    const { vm, generation } = job
    const host = world.machine(job.target ?? '')
    if (this.#isGone(job)) return this.over(job, true, 'the host was stopped meanwhile')
    if (world.now - job.since >= patience) return this.next(job, 'takeBack')
    if (!this.coordinator.isKnown(vm)) return
    const row = vmRow(this.coordinator.records, vm)
    const runs = row.status !== 'down' && row.status !== 'unknown'
    if (runs && row.hostId !== job.target) return this.over(job, true, 'it runs elsewhere')
    job.wasSent = true
    const answer = this.ask(job, host, 'start', () => this.#startOn(host, vm, generation))
    if (answer.kind === 'silent') return
    if (answer.kind === 'refused') {
      if (world.now - job.since >= 20) this.next(job, 'takeBack')
      return
    }
    if (answer.word === 'started') return this.next(job, 'confirm')
    this.over(job, true, answer.word)
  }

  /** The agent's part: libvirt's lock manager takes the lease before the CPUs run. */
  #startOn(host: Machine, vm: string, generation: number): string {
    const { world } = this.coordinator
    const { rules, sanlock } = world
    const isLeased = hasLease(world.vm(vm))
    if (rules.remembersRequests && world.copyOn(vm, host.id)) return 'it runs here already'
    if (!host.storage || !host.inLockspace) return 'no storage'
    if (isLeased && rules.acquiresLease && !this.#acquire(vm, host.id)) return 'the lease is held'
    if (isLeased && !rules.acquiresLease) sanlock.leases.get(vm)!.owner = host.id
    host.ended.delete(vm)
    const copy: Copy = {
      ...{ vm, host: host.id, generation, isLeased, state: 'running', to: null, switchesAt: 0 }
    }
    world.copies.push(copy)
    host.changes++
    world.tell(`${vm} starts on ${host.id} (life ${generation})`)
    return 'started'
  }

  #acquire(vm: string, host: string): boolean {
    const { rules, sanlock, now } = this.coordinator.world
    const lease = sanlock.leases.get(vm)
    const record = lease?.owner ? sanlock.records.get(lease.owner) : undefined
    if (lease && record && rules.deadAfter !== null && now - record.lastRenewal >= rules.deadAfter)
      lease.owner = null
    return sanlock.acquire(vm, host, now)
  }

  /** Nothing else may start the VM before the host says that it does not run there. */
  #takeBack(job: Job): void {
    const { world, records } = this.coordinator
    const { vm, generation } = job
    const host = world.machine(job.target ?? '')
    if (!world.rules.takesStartsBack || !job.wasSent || this.#isGone(job)) return this.#tookBack(job)
    const row = vmRow(records, vm)
    if (row.observedGeneration === generation && row.status === 'up') return this.over(job, false)
    const answer = this.ask(job, host, 'takeBack', () => {
      world.end(
        copy => copy.vm === vm && copy.host === host.id && copy.generation === generation,
        'destroyed'
      )
      return 'gone'
    })
    if (answer.kind === 'ok') this.#tookBack(job)
  }

  #tookBack(job: Job): void {
    const row = vmRow(this.coordinator.records, job.vm)
    if (row.status === 'down' && row.exitReason === '') row.exitReason = 'failed'
    this.over(job, true, 'the host did not start it')
  }

  #stop(job: Job): void {
    const { world, records } = this.coordinator
    const row = vmRow(records, job.vm)
    if (row.status === 'down' || row.hostId === null) return this.over(job, false)
    if (world.now - job.since >= patience) return this.over(job, true, 'the host does not answer')
    const host = world.machine(row.hostId)
    this.ask(job, host, 'stop', () => {
      world.end(copy => copy.vm === job.vm && copy.host === host.id, 'shutdown')
      return 'stopped'
    })
  }

  #activate(job: Job): void {
    const { world, records } = this.coordinator
    const host = world.machine(job.host)
    if (world.now - job.since >= patience) return this.over(job, true, 'the host does not answer')
    const row = hostRow(records, job.host)
    const answer = this.ask(job, host, 'join', () => {
      world.joinLockspace(host)
      return 'joined'
    })
    if (answer.kind !== 'ok') return
    row.mode = 'active'
    this.over(job, false)
  }
}
