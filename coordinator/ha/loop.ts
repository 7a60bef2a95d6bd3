import { sleep, type Clock } from '../../common/clock.js'
import type { Logger } from '../../common/log.js'
import { seconds, type Seconds } from '../../common/units.js'
import {
  decide,
  readAgain,
  type Action,
  type Decision,
  type HaPolicy,
  type HostHealth,
  type HostObservation
} from './decide.js'
import { noteRound, nothingRead, type PowerReading, type PowerState } from './power-reading.js'
import { decideRestarts, type FailedVm } from './restart-policy.js'

/** A host as the loop watches it: everything but what the loop itself has read from power devices. */
export type WatchedHost = {
  hostId: string
  name: string
  health: HostHealth
  hasPowerDevices: boolean
  seen: Omit<HostObservation, 'power' | 'isKdumping' | 'storageFence'>
  /** Whether it can be shut out of storage. */
  canBeShutOut: boolean
}
export type WatchedCluster = { clusterId: string; policy: HaPolicy; hosts: WatchedHost[] }

export type HostDecision = { host: WatchedHost; decision: Decision; inputs: object }

/** What the loop needs of the world. Tests put a simulated cluster here. */
export type HaWorld = {
  uptime(): Seconds
  /** False while hosts obey another coordinator: that one proves and restarts. See leadership.ts. */
  mayActUnasked(): boolean
  clusters(): WatchedCluster[]
  failedVms(): FailedVm[]
  /** Marks the VMs as lost that no host has although all are heard: see orphans.ts. */
  noteOrphans(): void
  /** How many more VMs may start at once. */
  freeStarts(): number
  /** The new health of hosts, with the events and the restart jobs they cause, in one transaction. */
  commit(decisions: HostDecision[]): void
  /** Restart jobs for VMs that died while their host lives. */
  restart(vmIds: string[]): void
  /** One round over all devices of a host, in order, through another host. */
  readPower(hostId: string, signal: AbortSignal): Promise<PowerState[]>
  powerOff(hostId: string, signal: AbortSignal): Promise<void>
  /** Listens for a while for the message of the host's crash kernel; whether it came. */
  awaitKdump(hostId: string, signal: AbortSignal): Promise<boolean>
  /** Restarts the host's agent over a second channel. */
  softFence(hostId: string, signal: AbortSignal): Promise<void>
  /** Takes the host's storage away, and reads back that it is gone. */
  shutOut(hostId: string, signal: AbortSignal): Promise<void>
}

/** What decides. The simulator puts a wrong one in, to see that it is found. */
export type Decisions = {
  decide: typeof decide
  noteRound: typeof noteRound
  decideRestarts: typeof decideRestarts
}
const production: Decisions = { decide, noteRound, decideRestarts }

type Fence = {
  reading: PowerReading
  isKdumping: boolean
  isShutOut: boolean
  /** What goes on beside the ticks, at most one of each kind. */
  busy: Set<Act>
  lastMissing: string
}
type Act = 'read' | 'kdump' | 'soft' | 'off' | 'shutOut'
/** Acts that the policies of a cluster count. */
const isForce = ({ busy }: Fence) => busy.has('off') || busy.has('shutOut')

const tickEvery = seconds(1)
/** How long an off command has to show in the device's reads before another host may be fenced. */
const offShows = seconds(10)

const isJustFenced = ({ health }: WatchedHost, now: Seconds) =>
  health.kind === 'non_responsive' && health.lastFence !== null && now - health.lastFence < offShows

/**
 * Reads the world, decides, and writes the decision down with the jobs it causes. Talking to power
 * devices is slow and may hang: it goes on beside the ticks, one read and one command a host.
 */
export class HaLoop {
  readonly #world: HaWorld
  readonly #clock: Clock
  readonly #log: Logger
  readonly #decisions: Decisions
  readonly #fences = new Map<string, Fence>()
  #lastHostUp: Seconds | null = null

  constructor(world: HaWorld, clock: Clock, log: Logger, decisions = production) {
    this.#decisions = decisions
    this.#world = world
    this.#clock = clock
    this.#log = log
  }

  /** Ticks until the coordinator stops. A tick that fails is logged; the next starts afresh. */
  async run(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      try {
        this.tick(stop)
      } catch (error) {
        this.#log.error({ err: error }, 'HA tick failed')
      }
      await sleep(this.#clock, tickEvery, stop).catch(() => {})
    }
  }

  tick(stop: AbortSignal): void {
    if (!this.#world.mayActUnasked()) return
    const now = this.#clock.monotonic()
    const changes = this.#world.clusters().flatMap(cluster => this.#decideCluster(cluster, now))
    const news = changes.filter(change => this.#isNews(change))
    if (news.some(({ host, decision }) => decision.health.kind === 'up' && host.health.kind !== 'up'))
      this.#lastHostUp = now
    if (news.length > 0) this.#world.commit(news)
    for (const { host, decision } of changes) this.#act(host, decision.actions, stop)
    this.#world.noteOrphans()
    this.#restartFailed(now)
  }

  /** Why a host's VMs have not restarted yet: what stands in the way. For `explain` and the debug door. */
  missing(hostId: string): string {
    return this.#fences.get(hostId)?.lastMissing ?? ''
  }

  /** Since when every read of a host's power devices has said off, where that is proof in this life. */
  offSince(hostId: string): Seconds | null {
    const fence = this.#fences.get(hostId)
    return fence && fence.lastMissing !== readAgain ? fence.reading.offSince : null
  }

  #decideCluster({ policy, hosts }: WatchedCluster, now: Seconds): HostDecision[] {
    const forced = new Set(
      hosts.filter(one => isForce(this.#fence(one.hostId)) || isJustFenced(one, now)).map(one => one.hostId)
    )
    const cluster = {
      hosts: hosts.length,
      silentHosts: hosts.filter(({ seen }) => !seen.isHeard).length,
      coordinatorUptime: this.#world.uptime()
    }
    return hosts.flatMap(host => {
      // Nearly all hosts, nearly always.
      if (host.health.kind === 'up' && host.seen.isHeard) return []
      const observation = this.#observe(host)
      const others = { ...cluster, fencing: forced.size - (forced.has(host.hostId) ? 1 : 0) }
      const decision = this.#decisions.decide(host.health, observation, others, policy, now)
      if (decision.actions.some(action => action === 'powerOff' || action === 'shutOut'))
        forced.add(host.hostId)
      return [{ host, decision, inputs: { observation, cluster: others, policy, now } }]
    })
  }

  #observe({ hostId, hasPowerDevices, canBeShutOut, seen }: WatchedHost): HostObservation {
    const { reading, busy, isKdumping, isShutOut } = this.#fence(hostId)
    return {
      ...seen,
      isKdumping,
      power: { hasDevices: hasPowerDevices, ...reading, isFencing: busy.has('off') },
      storageFence: isShutOut ? 'done' : canBeShutOut ? 'possible' : 'impossible'
    }
  }

  /** Worth a transaction: another health, or something to do that must be written down first. */
  #isNews({ host, decision }: HostDecision): boolean {
    const fence = this.#fence(host.hostId)
    const isOther = decision.health.kind !== host.health.kind || decision.missing !== fence.lastMissing
    fence.lastMissing = decision.missing
    return isOther || decision.actions.some(action => action !== 'readPower' && action !== 'awaitKdump')
  }

  #act({ hostId, health, seen }: WatchedHost, actions: Action[], stop: AbortSignal): void {
    const world = this.#world
    const fence = this.#fence(hostId)
    // What was read in an earlier silence, or comes late from it, says nothing about this one.
    if (seen.isHeard || health.kind === 'up')
      Object.assign(fence, { reading: nothingRead, isKdumping: false, isShutOut: false })
    for (const action of actions) {
      switch (action) {
        case 'readPower':
          void this.#beside(hostId, 'read', async () => {
            const states = await world.readPower(hostId, stop)
            fence.reading = this.#decisions.noteRound(fence.reading, states, this.#clock.monotonic())
          })
          break
        case 'awaitKdump':
          void this.#beside(hostId, 'kdump', async () => {
            if (await world.awaitKdump(hostId, stop)) fence.isKdumping = true
          })
          break
        case 'softFence':
          void this.#beside(hostId, 'soft', async () => world.softFence(hostId, stop))
          break
        case 'powerOff':
          void this.#beside(hostId, 'off', async () => world.powerOff(hostId, stop))
          break
        case 'shutOut':
          void this.#beside(hostId, 'shutOut', async () => {
            await world.shutOut(hostId, stop)
            fence.isShutOut = true
          })
          break
        default: // what was committed is done
      }
    }
  }

  /** Slow, and it may hang: one of a kind for each host, and nobody waits for it. */
  async #beside(hostId: string, act: Act, work: () => Promise<void>): Promise<void> {
    const { busy } = this.#fence(hostId)
    if (busy.has(act)) return
    busy.add(act)
    try {
      await work()
    } catch (error) {
      this.#log.warn({ err: error, host: hostId, act }, 'an act against a silent host failed')
    } finally {
      busy.delete(act)
    }
  }

  #restartFailed(now: Seconds): void {
    const decisions = this.#decisions.decideRestarts(
      this.#world.failedVms(),
      this.#world.freeStarts(),
      now,
      this.#lastHostUp
    )
    const due = decisions.filter(({ kind }) => kind === 'restart').map(({ vmId }) => vmId)
    if (due.length > 0) this.#world.restart(due)
  }

  #fence(hostId: string): Fence {
    const known = this.#fences.get(hostId)
    if (known) return known
    const fresh: Fence = {
      ...{ reading: nothingRead, isKdumping: false, isShutOut: false },
      ...{ busy: new Set<Act>(), lastMissing: '' }
    }
    this.#fences.set(hostId, fresh)
    return fresh
  }
}
