import { sleep, type Clock } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import type { Logger } from '../../common/log.js'
import { seconds, type Seconds } from '../../common/units.js'
import { holdersOf } from '../store/claims.js'
import { hosts as allHosts } from '../store/hosts.js'
import type { Store } from '../store/store.js'
import { storageDomains, viewsOfHost } from '../store/storage-domains.js'
import type { AllJobs } from './kinds.js'

type Missing = { hostId: string; storageDomainIds: string[] }
export type HostStorageOptions = { store: Store; jobs: AllJobs; clock: Clock; log: Logger }

const every = seconds(5)
const patience = seconds(30)

/**
 * Sees to it that every host in service has every active storage domain: a host that joins, comes back, or
 * lost one gets a job that connects and activates what it lacks.
 */
export class HostStorage {
  readonly #options: HostStorageOptions
  readonly #lastTry = new Map<string, Seconds>()

  constructor(options: HostStorageOptions) {
    this.#options = options
  }

  async run(stop: AbortSignal): Promise<void> {
    const { clock, log } = this.#options
    while (!stop.aborted) {
      try {
        this.tick()
      } catch (error) {
        log.error({ err: error }, 'the look at the storage of hosts failed')
      }
      await sleep(clock, every, stop).catch(() => {})
    }
  }

  /** Looks now, without the wait after an earlier try: a host has just joined. */
  hostJoined(hostId: string): void {
    this.#lastTry.delete(hostId)
    this.tick()
  }

  tick(): void {
    const { clock } = this.#options
    for (const missing of this.#missing()) {
      const last = this.#lastTry.get(missing.hostId)
      if (last !== undefined && clock.monotonic() - last < patience) continue
      this.#lastTry.set(missing.hostId, clock.monotonic())
      this.#order(missing)
    }
  }

  #missing(): Missing[] {
    const { read } = this.#options.store
    const active = storageDomains(read).filter(
      ({ id, phase }) => phase === 'active' && holdersOf(read, 'storageDomain', id).length === 0
    )
    return allHosts(read).flatMap(({ id: hostId, status }) => {
      if (status !== 'up') return []
      const views = viewsOfHost(read, hostId)
      const storageDomainIds = active.flatMap(({ id, connection }) => {
        const view = views.find(({ storageDomainId }) => storageDomainId === id)
        // A directory of one host is of no use to others.
        if (!view && connection.kind === 'local') return []
        // A host that was away while a device was added does not know of it.
        const missesDevices = view?.health === 'problem' && /physical volumes are missing/.test(view.problem)
        return !view || view.health === 'inactive' || missesDevices ? [id] : []
      })
      return storageDomainIds.length > 0 ? [{ hostId, storageDomainIds }] : []
    })
  }

  #order({ hostId, storageDomainIds }: Missing): void {
    const { store, jobs } = this.#options
    try {
      store.transaction(tx =>
        jobs.create(tx, 'host.join_storage', {
          ...{ context: { hostId, storageDomainIds }, objects: { host: hostId }, actor: 'system' },
          claims: [{ type: 'host', id: hostId, mode: 'change' }]
        })
      )
    } catch (error) {
      // Another job works on the host; the next tick looks again.
      if (!(error instanceof Fault)) throw error
    }
  }
}
