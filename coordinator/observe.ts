import { sleep, type Clock } from '../common/clock.js'
import { Fault } from '../common/fault.js'
import type { Logger } from '../common/log.js'
import { delayBefore } from '../common/retry.js'
import { seconds, type Seconds } from '../common/units.js'
import { agentServices } from '../proto/load.js'
import type { Agents } from './agents.js'
import { greetingFor, sameGreeting, type Greeting } from './greeting.js'
import { HostSession } from './host-session.js'
import type { Measured } from './measured.js'
import { noteOldAgent } from './observed-state.js'
import type { Ghost } from './observed-vms.js'
import type { StaleStore } from './stale-store.js'
import { enrolledHosts, hostOrNull } from './store/hosts.js'
import type { Store } from './store/store.js'
import type { Denied } from './trust/denied.js'

export type ObserverOptions = {
  store: Store
  agents: Agents
  measured: Measured
  denied: Denied
  stale: StaleStore
  clock: Clock
  log: Logger
}

/** A host as the HA loop wants to know it. */
export type HostView = {
  isConnected: boolean
  /** Of the last message, on the monotonic clock; null when it was not heard in this life of the coordinator. */
  lastHeard: Seconds | null
  lastHeardWall: number | null
  incarnation: string
  bootId: string
  isRecovering: boolean
}

type Followed = {
  stop: AbortController
  done: Promise<void>
  session: HostSession | null
  greeted: Greeting | null
  lastHeard: Seconds | null
  lastHeardWall: number | null
}

const backoff = { first: seconds(0.2), most: seconds(2) }
/** Three missed heartbeats. */
const silentAfter = seconds(3)
const mostTidied = 10_000
/** A stream that says nothing for so long is begun anew. */
const deadAfter = seconds(10)

/**
 * Follows every enrolled host: one watch stream each, greeted first, applied to the store. Whoever has not
 * been heard for three seconds counts as silent; what follows from that is decided elsewhere (ha/).
 */
export class Observer {
  readonly #options: ObserverOptions
  readonly #followed = new Map<string, Followed>()
  /** Old copies of VMs that were asked to go: asked once in a life of the coordinator. */
  readonly #tidied = new Set<string>()
  #isOver = false

  constructor(options: ObserverOptions) {
    this.#options = options
  }

  /** Begins to follow hosts that came, and leaves those that went; greets again where something has changed. */
  tend(): void {
    if (this.#isOver) return
    const { store, denied, clock } = this.#options
    const refused = new Set(denied.list.hostIds)
    const wanted = enrolledHosts(store.read).filter(({ id, address }) => address !== '' && !refused.has(id))
    for (const { id } of wanted) {
      const known = this.#followed.get(id)
      if (!known) this.#follow(id)
      else this.#look(id, known, clock.monotonic())
    }
    const ids = new Set(wanted.map(({ id }) => id))
    for (const [id, followed] of this.#followed) {
      if (ids.has(id)) continue
      followed.stop.abort(new Fault('CANCELLED', 'the host is followed no longer'))
      this.#followed.delete(id)
      this.#options.measured.forget(id)
      this.#options.agents.drop(id)
    }
  }

  async stop(): Promise<void> {
    this.#isOver = true
    for (const { stop } of this.#followed.values())
      stop.abort(new Fault('CANCELLED', 'the coordinator stops'))
    await Promise.all([...this.#followed.values()].map(({ done }) => done))
  }

  hostView(hostId: string): HostView {
    const followed = this.#followed.get(hostId)
    const session = followed?.session
    return {
      isConnected: session !== null && session !== undefined && followed?.greeted !== null,
      lastHeard: followed?.lastHeard ?? null,
      lastHeardWall: followed?.lastHeardWall ?? null,
      incarnation: session?.hello?.incarnation ?? '',
      bootId: session?.hello?.bootId ?? '',
      isRecovering: session?.hello?.recovering ?? false
    }
  }

  /** Whether its stream stands and the last heartbeat is fresh. */
  isHeard(hostId: string): boolean {
    const { isConnected, lastHeard } = this.hostView(hostId)
    return isConnected && lastHeard !== null && this.#options.clock.monotonic() - lastHeard < silentAfter
  }

  /** Whether it is heard, and what it has is known: not while it finds out itself, or while it still tells. */
  #hasTold(hostId: string): boolean {
    const isWhole = this.#followed.get(hostId)?.session?.isWhole === true
    return isWhole && this.isHeard(hostId) && !this.hostView(hostId).isRecovering
  }

  /** For the debug door. */
  dump(): object[] {
    return [...this.#followed.keys()].map(hostId => ({ hostId, ...this.hostView(hostId) }))
  }

  #follow(hostId: string): void {
    const stop = new AbortController()
    const followed: Followed = {
      ...{ stop, session: null, greeted: null, lastHeard: null, lastHeardWall: null },
      done: Promise.resolve()
    }
    this.#followed.set(hostId, followed)
    followed.done = this.#run(hostId, followed)
  }

  async #run(hostId: string, followed: Followed): Promise<void> {
    const { clock, log, agents } = this.#options
    const { signal } = followed.stop
    for (let failures = 0; !signal.aborted;) {
      const begun = clock.monotonic()
      try {
        await this.#session(hostId, followed)
      } catch (error) {
        if (!signal.aborted) log.info({ err: error, host: hostId }, 'the stream of a host ended')
        // A channel that cannot connect waits longer and longer by itself; a new one tries at once.
        if (followed.session === null) agents.drop(hostId)
      } finally {
        agents.setReady(hostId, false)
        agents.tasks.lose(hostId)
        Object.assign(followed, { session: null, greeted: null })
      }
      failures = clock.monotonic() - begun > 10 ? 0 : failures + 1
      await sleep(clock, delayBefore(failures, backoff, clock.random()), signal).catch(() => {})
    }
  }

  async #session(hostId: string, followed: Followed): Promise<void> {
    const { store, agents, measured, stale, clock, log } = this.#options
    const row = hostOrNull(store.read, hostId)
    if (!row) return
    const over = new AbortController()
    const signal = AbortSignal.any([followed.stop.signal, over.signal])
    const session = new HostSession({
      ...{ hostId, store, measured, stale, clock, log, tasks: agents.tasks },
      isHeard: other => this.#hasTold(other),
      onGhost: ghost => void this.#tidy(hostId, ghost, signal),
      onBroken: () => over.abort(new Fault('INTERRUPTED', 'the stream is begun anew'))
    })
    const from =
      row.incarnation === '' ? null : { incarnation: row.incarnation, sequence: String(row.sequence) }
    const quiet = every(clock, seconds(1), () => {
      const heard = followed.lastHeard
      const isDead = followed.session !== null && heard !== null && clock.monotonic() - heard > deadAfter
      if (isDead) over.abort(new Fault('HOST_UNREACHABLE', `nothing was heard for ${deadAfter} s`))
    })
    try {
      for await (const message of agents.stream(
        hostId,
        agentServices.watch.Watch,
        { from, kinds: [] },
        signal
      )) {
        followed.lastHeard = clock.monotonic()
        followed.lastHeardWall = clock.wall()
        if (message.hello) {
          followed.session = session
          session.begin(message.hello, row)
          const lacks = await agents.learn(hostId, message.hello, signal)
          if (lacks) store.transaction(tx => noteOldAgent(tx, row, lacks, clock.wall()))
          await this.#greet(hostId, followed, signal)
        } else session.take(message)
      }
    } finally {
      quiet()
      session.end()
    }
  }

  /** Introduces the coordinator; from then on the host takes commands. */
  async #greet(hostId: string, followed: Followed, signal: AbortSignal): Promise<void> {
    const { agents, clock } = this.#options
    const greeting = this.#greeting(hostId)
    if (!greeting) return
    const request = { requestId: clock.newId(), ...greeting }
    await agents.callAnyway(hostId, agentServices.host.Welcome, request, signal, seconds(10))
    followed.greeted = greeting
    agents.setReady(hostId, true)
  }

  /** Peers, refused certificates or the host's generation have changed: the host must know at once. */
  #look(hostId: string, followed: Followed, now: Seconds): void {
    const { greeted, session, stop, lastHeard } = followed
    if (greeted === null || session === null || lastHeard === null || now - lastHeard > silentAfter) return
    const fresh = this.#greeting(hostId)
    if (!fresh || sameGreeting(fresh, greeted)) return
    // Until it is acknowledged the old one counts as sent, so that it is not sent twice at once.
    followed.greeted = fresh
    this.#greet(hostId, followed, stop.signal).catch((error: unknown) => {
      if (followed.greeted === fresh) followed.greeted = greeted
      this.#options.log.info({ err: error, host: hostId }, 'a host was not told of a change')
    })
  }

  #greeting(hostId: string): Greeting | null {
    const { store, denied } = this.#options
    return greetingFor(store.read, hostId, denied.list)
  }

  /** What is left of an earlier life of a VM and does not run is removed; what runs, a person must look at. */
  async #tidy(hostId: string, { vmId, generation, status }: Ghost, signal: AbortSignal): Promise<void> {
    const { agents, clock, log } = this.#options
    const key = `${hostId}/${vmId}/${generation}`
    if ((status !== 'down' && status !== 'paused') || this.#tidied.has(key)) return
    if (this.#tidied.size >= mostTidied) this.#tidied.clear()
    this.#tidied.add(key)
    try {
      const request = { requestId: clock.newId(), vmId, vmGeneration: String(generation) }
      await agents.runTask(hostId, agentServices.vm.DestroyVm, request, { signal })
    } catch (error) {
      if (!signal.aborted)
        log.info({ err: error, host: hostId, vm: vmId }, 'an old copy of a VM was not removed')
    }
  }
}

/** Runs again and again, until the result is called. */
function every(clock: Clock, period: Seconds, run: () => void): () => void {
  let cancel = () => {}
  const again = () => {
    cancel = clock.after(period, () => {
      again()
      run()
    })
  }
  again()
  return () => cancel()
}
