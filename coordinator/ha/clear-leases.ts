import type { Clock } from '../../common/clock.js'
import type { Logger } from '../../common/log.js'
import { seconds, type Seconds } from '../../common/units.js'
import { agentServices } from '../../proto/load.js'
import type { Hosts } from '../jobs/hosts.js'
import { hosts, type Host } from '../store/hosts.js'
import type { Store } from '../store/store.js'
import { hasRenewedSince, tellsOfRenewals } from './lease-reading.js'
import type { LeaseReport, LeaseReports } from './lease-reports.js'

export type LeaseClearingOptions = {
  store: Store
  clock: Clock
  hosts: Pick<Hosts, 'runTask'>
  leases: LeaseReports
  log: Logger
  /** Since when every read of the host's power devices has said off; null when that is not known. */
  offSince(hostId: string): Seconds | null
}

const retryAfter = seconds(3)
const patience = seconds(60)

/**
 * Frees the leases of a host that is proven off by its power devices, so that its VMs need not wait until
 * sanlock calls it dead. The request carries the time stamp that was last reported; the host that clears the
 * record reads it again, and refuses if there was a renewal meanwhile: then it is tried anew with the next
 * report. A host that is off renews nothing, so the second try at the latest succeeds; one whose device lies
 * goes on renewing. A host that renews later was switched on since, and keeps what it has. Nobody waits for this: without it a restart only takes longer.
 */
export class LeaseClearing {
  readonly #options: LeaseClearingOptions
  /** By host, storage domain and generation: when to try, or that it is done. */
  readonly #attempts = new Map<string, Seconds | 'done'>()

  constructor(options: LeaseClearingOptions) {
    this.#options = options
  }

  tick(stop: AbortSignal): void {
    const { store, clock, leases, offSince } = this.#options
    const now = clock.monotonic()
    for (const host of hosts(store.read)) {
      if (host.health !== 'proven_stopped' || host.proof !== 'power_off') continue
      const off = offSince(host.id)
      if (off === null) continue
      const due = leases.about(host, now).filter(({ lease }) => lease.state !== 'free')
      // It was switched on, and nobody hears it: its network is still bad, its storage is not.
      if (hasRenewedSince(off, leases.lastRenewal(host))) continue
      for (const report of due.filter(one => tellsOfRenewals(off, one)))
        void this.#clear(host, report, now, stop)
    }
  }

  async #clear(
    host: Host,
    { readerHostId, storageDomainId, lease }: LeaseReport,
    now: Seconds,
    stop: AbortSignal
  ) {
    const { hosts, clock, log } = this.#options
    const key = `${host.id}/${storageDomainId}/${lease.generation}`
    const next = this.#attempts.get(key)
    if (next === 'done' || (next !== undefined && now < next)) return
    this.#attempts.set(key, seconds(now + patience))
    const request = {
      requestId: clock.newId(),
      storageDomainId,
      sanlockHostId: host.sanlockHostId,
      hostName: lease.hostName,
      generation: lease.generation,
      timestamp: lease.timestamp,
      proofId: clock.newId()
    }
    try {
      const signal = AbortSignal.any([stop, AbortSignal.timeout(patience * 1000)])
      await hosts.runTask(readerHostId, agentServices.storage.ClearHostLease, request, { signal })
      this.#attempts.set(key, 'done')
      log.info({ host: host.id, storageDomain: storageDomainId }, 'leases of a host that is off were freed')
    } catch (error) {
      this.#attempts.set(key, seconds(clock.monotonic() + retryAfter))
      log.warn({ err: error, host: host.id, storageDomain: storageDomainId }, 'leases were not freed')
    }
  }
}
