import type { Clock } from '../../common/clock.js'
import { within } from '../../common/deadline.js'
import { Fault } from '../../common/fault.js'
import type { Logger } from '../../common/log.js'
import { seconds, type Seconds } from '../../common/units.js'
import { agentServices } from '../../proto/load.js'
import { eachOf, type Hosts } from '../jobs/hosts.js'
import { addEvent } from '../store/events.js'
import { host } from '../store/hosts.js'
import type { Tx } from '../store/query.js'
import { chooseManager, hostViews, storageDomain, storageDomains } from '../store/storage-domains.js'
import type { Store } from '../store/store.js'
import { type Choice, decideManagers } from './decide.js'
import { ManagersSeen } from './seen.js'

export type ManagerLoopOptions = {
  store: Store
  hosts: Hosts
  /** Whether a host is heard now. */
  isHeard(hostId: string): boolean
  /** What its agent is too old for, in words. */
  lacks(hostId: string): readonly string[]
  /** False while as many hosts obey another coordinator. */
  mayActUnasked(): boolean
  clock: Clock
  log: Logger
}

const atOnce = 8
const patience = seconds(5)
/** A host that was told and does not stand as manager yet is told again: its agent may have forgotten. */
const again = seconds(10)

/**
 * Places the managers of block storage domains and spreads them over hosts. What was decided is written down first,
 * then hosts are told; the lease on the storage itself keeps two hosts from managing, whatever they were told.
 */
export class ManagerLoop {
  readonly #o: ManagerLoopOptions
  readonly #seen: ManagersSeen
  readonly #told = new Map<string, { hostId: string; at: Seconds }>()

  constructor(options: ManagerLoopOptions) {
    this.#o = options
    const { isHeard, lacks, clock } = options
    const canBeTold = (hostId: string) => !lacks(hostId).some(what => what.includes('PreferManager'))
    this.#seen = new ManagersSeen({ isHeard, canBeTold, clock })
  }

  /** One look and what follows from it. */
  async run(signal: AbortSignal): Promise<void> {
    const { store, mayActUnasked } = this.#o
    if (!mayActUnasked()) return
    const choices = decideManagers(this.#seen.look(store.read))
    if (choices.length > 0) store.transaction(tx => choices.forEach(choice => this.#choose(tx, choice)))
    const due = storageDomains(store.read).flatMap(({ id, phase, managerHostId }) => {
      if (managerHostId === null || phase !== 'active') return []
      return this.#isDue(id, managerHostId) ? [{ storageDomainId: id, hostId: managerHostId }] : []
    })
    await eachOf(due, atOnce, each => this.#tell(each, signal))
  }

  #choose(tx: Tx, { storageDomainId, hostId, why }: Choice): void {
    const now = this.#o.clock.wall()
    const { name } = storageDomain(tx, storageDomainId)
    chooseManager(tx, storageDomainId, { managerHostId: hostId, managerWhy: why, managerSince: now })
    const text =
      hostId === null
        ? `nobody manages storage domain ${name}: ${why}`
        : `host ${host(tx, hostId).name} manages storage domain ${name}: ${why}`
    const objects = { storageDomain: storageDomainId, ...(hostId !== null && { host: hostId }) }
    const severity = hostId === null ? 'warning' : 'info'
    addEvent(tx, { severity, kind: 'storage_domain.manager', text, objects }, now)
  }

  #isDue(storageDomainId: string, hostId: string): boolean {
    const { store, clock, isHeard } = this.#o
    if (!isHeard(hostId)) return false
    const last = this.#told.get(storageDomainId)
    if (last?.hostId !== hostId) return true
    const stands = hostViews(store.read, storageDomainId).some(
      view => view.hostId === hostId && view.isManager === 1
    )
    return !stands && clock.monotonic() - last.at > again
  }

  /** The one before first, as far as it is there: else it would want the role back. */
  async #tell(
    { storageDomainId, hostId }: { storageDomainId: string; hostId: string },
    signal: AbortSignal
  ): Promise<void> {
    const { clock, isHeard } = this.#o
    const before = this.#told.get(storageDomainId)?.hostId ?? null
    if (before !== null && before !== hostId && isHeard(before))
      await this.#prefer(before, storageDomainId, false, signal)
    this.#told.set(storageDomainId, { hostId, at: clock.monotonic() })
    await this.#prefer(hostId, storageDomainId, true, signal)
  }

  async #prefer(
    hostId: string,
    storageDomainId: string,
    preferred: boolean,
    signal: AbortSignal
  ): Promise<void> {
    const { hosts, clock, log } = this.#o
    const request = { requestId: clock.newId(), storageDomainId, preferred }
    try {
      await hosts.call(hostId, agentServices.storage.PreferManager, request, within(patience, signal))
    } catch (error) {
      if (signal.aborted || !(error instanceof Fault)) throw error
      log.warn({ err: error, host: hostId, storageDomain: storageDomainId }, 'a manager could not be told')
    }
  }
}
