import { setImmediate } from 'node:timers/promises'
import { Random } from './random.js'
import type { Rules } from './rules.js'
import { give } from './script.js'
import { SimCoordinator } from './world/coordinator.js'
import { firstRecords, type Records } from './world/records.js'
import { failures } from './world/restarts.js'
import type { Event, Finding, WorldSpec } from './world/spec.js'
import { SimWorld } from './world/world.js'

/** A world with its coordinators, run through a script. */
export class SimCluster {
  readonly world: SimWorld
  /** Every coordinator that lives; the first is the one that people talk to. */
  lives: SimCoordinator[] = []
  #records: Records
  #backup: Records | null = null
  /** Whether coordinators look less often while nothing changes; the laws of the world go on every second. */
  readonly #isHasty: boolean
  #stable = 0
  #lastState = -1

  constructor(spec: WorldSpec, rules: Rules, seed: number, isHasty = false) {
    this.#isHasty = isHasty
    this.world = new SimWorld(spec, rules, new Random(seed))
    this.#records = firstRecords(this.world)
    this.lives = [new SimCoordinator('c1', this.world, this.#records)]
  }

  get ruler(): SimCoordinator | undefined {
    return this.lives[0]
  }

  /** What happens to coordinators. */
  rule(what: string): void {
    const [first] = this.lives
    switch (what) {
      case 'kill':
        first?.kill()
        this.lives.shift()
        return
      case 'start':
        if (first?.name !== 'c1') this.lives.unshift(new SimCoordinator('c1', this.world, this.#records))
        return
      case 'cut':
        if (first) first.isCut = true
        return
      case 'join':
        for (const life of this.lives) life.isCut = false
        return
      case 'backup':
        this.#backup = structuredClone(this.#records)
        return
      case 'restore':
        if (!this.#backup) return
        first?.kill()
        this.#records = structuredClone(this.#backup)
        this.#restored(this.#records)
        this.#adoptEpoch()
        this.lives = [new SimCoordinator('c1', this.world, this.#records), ...this.lives.slice(1)]
        return
      case 'second':
        if (this.lives.length < 2)
          this.lives.push(new SimCoordinator('c2', this.world, structuredClone(this.#records)))
        return
      default:
        throw new Error(`a coordinator does not "${what}"`)
    }
  }

  /** As `drover-coordinator restore` does, coordinator/store/stale-mark.ts. */
  #restored(records: Records): void {
    if (!this.world.rules.suspectsOldStores) return
    records.isStale = true
    for (const row of records.hosts.values())
      if (row.health === 'proven_stopped') Object.assign(row, { health: 'connecting', proof: '' })
  }

  /** As a person does after a restore: the epoch goes above what hosts have seen. */
  #adoptEpoch(records = this.#records): void {
    const seen = [...this.world.machines.values()].map(({ durableEpoch }) => durableEpoch)
    if (this.world.rules.takesEpoch) records.epoch = Math.max(records.epoch, ...seen)
  }

  #isRefused({ epoch, incarnation }: SimCoordinator): boolean {
    return [...this.world.machines.values()].some(({ rule }) => {
      const isTwin = rule.coordinatorEpoch === epoch && rule.coordinatorIncarnation !== incarnation
      return rule.coordinatorEpoch > epoch || isTwin
    })
  }

  /** One coordinator is left, the newest, and it reaches everybody. */
  heal(): void {
    for (const life of this.lives) life.isCut = false
    const [newest] = this.lives.toSorted((a, b) => b.epoch - a.epoch)
    for (const life of this.lives) if (life !== newest) life.kill()
    this.lives = newest ? [newest] : [new SimCoordinator('c1', this.world, this.#records)]
    // Whoever is left rules: a person lifts its epoch where hosts have seen another coordinator.
    const [left] = this.lives
    if (left && this.#isRefused(left)) {
      this.#adoptEpoch(left.records)
      if (this.world.rules.takesEpoch) left.records.epoch++
    }
    const { records } = this.lives[0] ?? { records: this.#records }
    for (const row of records.hosts.values())
      if (row.mode === 'maintenance') this.lives[0]?.jobs.order('activate', { host: row.id })
  }

  async run(script: readonly Event[], until: number): Promise<void> {
    const { world } = this
    let next = 0
    for (;;) {
      while (next < script.length && (script[next]?.at ?? 0) <= world.now)
        give(this, script[next++]?.command ?? '')
      if (world.now >= until || world.findings.length > 0) return
      const due = Math.min(until, script[next]?.at ?? until)
      if (due > world.now + 1 && this.isQuiet()) world.skipTo(due)
      else {
        world.now++
        await this.#tick()
      }
    }
  }

  async #tick(): Promise<void> {
    const { world } = this
    world.tick()
    // Answers that arrived are taken in before anybody decides again.
    if (world.hasNews) {
      world.hasNews = false
      await setImmediate()
    }
    if (this.#looks()) {
      for (const life of this.lives) life.listen()
      // What one does now the other hears of with the next tick.
      for (const life of this.lives) life.act()
    }
    world.check()
  }

  #looks(): boolean {
    if (!this.#isHasty) return true
    const { world, lives } = this
    let changes = world.log.length
    for (const host of world.machines.values()) changes += host.changes
    for (const { records } of lives) for (const { step } of records.jobs) changes += step.length
    if (changes !== this.#lastState) this.#stable = 0
    else this.#stable++
    this.#lastState = changes
    const every = this.#stable < 4 ? 1 : this.#stable < 16 ? 4 : this.#stable < 60 ? 8 : 15
    return world.now % every === 0
  }

  /** Nothing would happen if nobody did anything: every host is well or known to be off, every VM where it should be. */
  isQuiet(): boolean {
    const { world, lives } = this
    const [life] = lives
    if (lives.length !== 1 || !life || life.isCut || world.isWaiting || world.manager) return false
    if (life.records.jobs.length > 0) return false
    for (const row of life.records.hosts.values()) {
      const host = world.machine(row.id)
      const isWell =
        life.hears(host) &&
        life.ready.has(row.id) &&
        row.health === 'up' &&
        life.heardChanges.get(row.id) === host.changes
      const isOff =
        !host.isOn && host.bootsAt === null && (row.health === 'proven_stopped' || row.mode === 'maintenance')
      if (!isWell && !isOff) return false
      if (host.isOn && (!host.storage || host.killedAt !== null || !host.netIn)) return false
      if (host.isOn && world.sanlock.records.get(row.id)?.isFree !== !host.inLockspace) return false
    }
    for (const row of life.records.vms.values()) {
      const isSettled = row.status === 'up' || (row.status === 'down' && !failures.has(row.exitReason))
      if (!isSettled) return false
    }
    return world.copies.every(({ state }) => state === 'running')
  }

  /** After the healing: every VM that should run does, once, and the record says so. */
  checkLiveness(): void {
    const { world, ruler } = this
    for (const { id, ha = true } of world.vms.values()) {
      const running = world.copies.filter(copy => copy.vm === id && copy.state !== 'arriving')
      const row = ruler?.records.vms.get(id)
      if (running.length !== 1 && world.wanted.get(id) && row?.wantedRunning && ha) {
        world.find(
          'I15',
          `${id} runs ${running.length} times after everything was healed (${row?.status ?? ''} ${row?.exitReason ?? ''})`
        )
      }
      const [copy] = running
      if (copy && row && (row.hostId !== copy.host || row.status !== 'up'))
        world.find(
          'I14',
          `${id} runs on ${copy.host}, the record says ${row.status} on ${row.hostId ?? 'no host'}`
        )
      if (!copy && row && row.status !== 'down')
        world.find('I14', `${id} does not run, the record says ${row.status}`)
    }
    for (const { kind, vm, host, step } of ruler?.records.jobs ?? [])
      world.find('I12', `${kind} of ${vm || host} still is at ${step}`)
  }
}

export type Run = { seed: number; findings: Finding[]; log: string[]; script: Event[]; spec: WorldSpec }

export async function runScript(
  spec: WorldSpec,
  script: Event[],
  until: number,
  rules: Rules,
  seed: number,
  isHasty = false
): Promise<Run> {
  const cluster = new SimCluster(spec, rules, seed, isHasty)
  await cluster.run(script, until)
  return { seed, findings: cluster.world.findings, log: cluster.world.log, script, spec }
}
