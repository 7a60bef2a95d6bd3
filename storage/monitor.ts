import { sleep, type Clock } from '../common/clock.js'
import type { Logger } from '../common/log.js'
import { bytes, seconds } from '../common/units.js'
import { readDirect } from './direct-io.js'
import type { Space, StorageDomain } from './storage-domain.js'
import { hostRecords, HostWatch, type ObservedHost, recordsLength } from './host-records.js'
import type { MonitorReport } from './verbs.js'

/** What reading the storage tells. */
export type Monitored = Omit<MonitorReport, 'isManager'>

const step = seconds(5)

/**
 * Reads the storage every 5 s, apart from all other work: how long one block takes, how much room there is, and
 * when each host's record last changed. A read that hangs is waited for; the next one begins after it, and who
 * waits for our report sees that it does not come.
 */
export class Monitor {
  readonly #storageDomain: StorageDomain
  readonly #clock: Clock
  readonly #log: Logger
  readonly #watch: HostWatch
  #hasProblem = false
  #last: Space = { total: bytes(0), free: bytes(0), metadataPercent: 0 }

  constructor(storageDomain: StorageDomain, clock: Clock, log: Logger) {
    this.#storageDomain = storageDomain
    this.#clock = clock
    this.#log = log
    this.#watch = new HostWatch(storageDomain.identity.ioTimeout)
  }

  async run(report: (report: Monitored) => void, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      report(await this.check(signal))
      await sleep(this.#clock, step, signal).catch(() => {})
    }
  }

  hosts(): ObservedHost[] {
    return this.#watch.hosts(this.#clock.monotonic())
  }

  async check(signal: AbortSignal): Promise<Monitored> {
    const { health, leases } = this.#storageDomain
    try {
      const latency = await health.latency()
      this.#last = await health.space()
      await this.#readHosts()
      const hostIdHeld = await leases.isJoined(signal).catch(() => false)
      this.#note(null)
      return { latency, problem: null, ...this.#last, hostIdHeld, hosts: this.hosts() }
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error)
      this.#note(problem)
      // Who cannot read has no opinion on who is alive.
      return { latency: null, problem, ...this.#last, hostIdHeld: false, hosts: [] }
    }
  }

  async #readHosts(): Promise<void> {
    const { identity, special } = this.#storageDomain
    if (!identity.shared) return
    const ids = await readDirect(special.ids, 0, recordsLength(identity.geometry))
    this.#watch.observe(hostRecords(ids, identity.geometry), this.#clock.monotonic())
  }

  #note(problem: string | null): void {
    const hasProblem = problem !== null
    if (hasProblem === this.#hasProblem) return
    this.#hasProblem = hasProblem
    if (hasProblem) this.#log.warn({ problem }, 'storage domain cannot be read')
    else this.#log.info('storage domain can be read again')
  }
}
