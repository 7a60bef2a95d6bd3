import { type Clock, sleep } from '../common/clock.js'
import type { Logger } from '../common/log.js'
import { seconds } from '../common/units.js'
import type { Sanlock } from './sanlock.js'
import type { Resource } from './storage-domain.js'

const linger = seconds(2)
/** So long another host that asked waits for what is at work here, and what would begin here waits for it. */
const turn = seconds(2)

/**
 * The lease `SDM`, held by this process while anybody here needs it and a moment longer, so that a row of
 * operations takes it once. Hosts without it wait their turn, or ask for it; sanlock kills this process when it is
 * lost.
 */
export class ManagerLease {
  /** Another host holds it while somebody here waits: called again and again until it is here. */
  onHeldElsewhere: () => void = () => {}
  readonly #sanlock: Sanlock
  readonly #resource: Resource
  readonly #clock: Clock
  readonly #log: Logger
  #users = 0
  #tenure = 0
  #taken: Promise<void> | null = null
  #cancelRelease: (() => void) | null = null
  #yielding: Promise<boolean> | null = null
  #onFree: () => void = () => {}

  constructor(sanlock: Sanlock, resource: Resource, clock: Clock, log: Logger) {
    this.#sanlock = sanlock
    this.#resource = resource
    this.#clock = clock
    this.#log = log
  }

  get isHeld(): boolean {
    return this.#taken !== null
  }

  /** Another number each time the role is taken: what was read before it may be old. */
  get tenure(): number {
    return this.#tenure
  }

  async hold(signal: AbortSignal): Promise<AsyncDisposable> {
    if (this.#sanlock.mode === 'direct') return { [Symbol.asyncDispose]: async () => {} }
    // Another host goes first.
    await this.#yielding
    this.#cancelRelease?.()
    this.#cancelRelease = null
    this.#users++
    try {
      await (this.#taken ??= this.#take(signal))
    } catch (error) {
      this.#taken = null
      if (--this.#users === 0) this.#onFree()
      throw error
    }
    return { [Symbol.asyncDispose]: async () => this.#letGo() }
  }

  async #take(signal: AbortSignal): Promise<void> {
    await this.#sanlock.acquire(this.#resource, process.pid, signal, () => this.onHeldElsewhere())
    this.#tenure++
    this.#log.info({ lease: this.#resource.name }, 'manager role taken')
  }

  #letGo(): void {
    if (--this.#users > 0) return
    if (this.#yielding) this.#onFree()
    else this.#cancelRelease = this.#clock.after(linger, () => void this.giveUp())
  }

  /** For another host that asks. What is at work here ends first, what would begin waits; false if that takes long. */
  async yield(): Promise<boolean> {
    this.#yielding ??= this.#yield().finally(() => (this.#yielding = null))
    return this.#yielding
  }

  async #yield(): Promise<boolean> {
    if (this.#users > 0) {
      const free = new Promise<void>(resolve => (this.#onFree = resolve))
      const isLate = new AbortController()
      await Promise.race([free, sleep(this.#clock, turn, isLate.signal).catch(() => {})])
      isLate.abort()
      this.#onFree = () => {}
    }
    if (this.#users > 0) return false
    this.#cancelRelease?.()
    await this.giveUp()
    return this.#taken === null
  }

  /** Before the process ends, or when the role is wanted elsewhere. */
  async giveUp(): Promise<void> {
    if (this.#users > 0 || this.#taken === null) return
    this.#taken = null
    try {
      await this.#sanlock.release(this.#resource, process.pid, AbortSignal.timeout(10_000))
      this.#log.info({ lease: this.#resource.name }, 'manager role given up')
    } catch (error) {
      this.#log.error({ err: error }, 'manager role not given up')
    }
  }
}
