import type { Clock } from '../common/clock.js'
import { writeDurably } from '../common/durable-file.js'
import { Fault } from '../common/fault.js'
import type { Logger } from '../common/log.js'
import { addEvent } from './store/events.js'
import { hostOrNull } from './store/hosts.js'
import { putSetting, setting } from './store/settings.js'
import type { Store } from './store/store.js'
import type { StaleStore } from './stale-store.js'

const alertEvery = 3_600_000

/**
 * The number of this reign: taken at each start, before the first command. Agents refuse whoever has a lower
 * one than they have seen.
 */
export class Leadership {
  readonly #store: Store
  readonly #stale: StaleStore
  readonly #seenFile: string
  readonly #clock: Clock
  readonly #log: Logger
  #epoch: number
  #highestSeen = 0
  /** Hosts whose last answer was that they obey another coordinator. */
  readonly #refusing = new Set<string>()
  #lastAlert = 0

  constructor(store: Store, stale: StaleStore, seenFile: string, clock: Clock, log: Logger) {
    this.#store = store
    this.#stale = stale
    this.#seenFile = seenFile
    this.#clock = clock
    this.#log = log
    this.#epoch = takeEpoch(store)
  }

  get epoch(): number {
    return this.#epoch
  }

  /** An operator has lifted the epoch while this coordinator runs. */
  reignAgain(epoch: number): void {
    if (epoch > this.#epoch) this.#epoch = epoch
    this.#refusing.clear()
    this.#log.warn({ epoch: this.#epoch }, 'the epoch was lifted by an operator')
  }

  wasObeyed(hostId: string): void {
    this.#refusing.delete(hostId)
  }

  /** See mayActUnasked. Of the hosts that are ready, those count that have not refused since. */
  mayActUnasked(readyHosts: readonly string[]): boolean {
    const obeying = readyHosts.filter(id => !this.#refusing.has(id)).length
    const refusing = [...this.#refusing].filter(id => hostOrNull(this.#store.read, id) !== null).length
    return mayActUnasked({ obeying, refusing })
  }

  /** A host knows a newer coordinator: another one runs, or this store is older than the world. */
  wasRefused(hostId: string, seenEpoch: number): void {
    if (!this.#refusing.has(hostId)) this.#stale.suspect(hostId)
    this.#refusing.add(hostId)
    this.#log.error({ host: hostId, seenEpoch, epoch: this.#epoch }, 'a host refuses this coordinator')
    if (seenEpoch > this.#highestSeen) {
      this.#highestSeen = seenEpoch
      writeDurably(this.#seenFile, `${seenEpoch}\n`).catch((error: unknown) =>
        this.#log.warn({ err: error }, 'the epoch of another coordinator was not noted')
      )
    }
    const now = this.#clock.wall()
    if (now - this.#lastAlert < alertEvery) return
    this.#lastAlert = now
    const text =
      `host ${hostId} has seen epoch ${seenEpoch} and refuses this coordinator, which is at ${this.#epoch}: ` +
      'it restarts no VM unless more hosts obey it. Stop it if another one runs; after a restore run `drover-coordinator adopt-epoch`'
    this.#store.transaction(tx =>
      addEvent(tx, { severity: 'alert', kind: 'coordinator.refused', text, objects: { host: hostId } }, now)
    )
  }
}

/**
 * Whether a coordinator may do what nobody asked for: prove hosts dead and start their VMs anew, move VMs, switch hosts.
 * Two whose stores are copies of each other can share the hosts: each was first at some. Both would restart the same
 * VM on hosts of their own, so the one that more hosts refuse than obey, or as many, leaves that to the other.
 */
export const mayActUnasked = ({ obeying, refusing }: { obeying: number; refusing: number }): boolean =>
  refusing === 0 || obeying > refusing

export function takeEpoch(store: Store): number {
  return store.transaction(tx => {
    const epoch = Number(setting(tx, 'epoch') ?? '0') + 1
    putSetting(tx, 'epoch', String(epoch))
    return epoch
  })
}

const mostJump = 1_000_000

/**
 * After a restore the agents have seen higher epochs than this store knows. An operator who is sure that no
 * other coordinator runs lifts it above theirs.
 */
export function adoptEpoch(store: Store, seen: number, actor: string, now: number): number {
  return store.transaction(tx => {
    const epoch = Number(setting(tx, 'epoch') ?? '0')
    if (!Number.isSafeInteger(seen) || seen < epoch) {
      throw new Fault('WRONG_STATE', `the store is at epoch ${epoch} already`)
    }
    if (seen - epoch > mostJump) {
      throw new Fault('INVALID_REQUEST', `epoch ${seen} is more than ${mostJump} above ${epoch}`)
    }
    putSetting(tx, 'epoch', String(seen))
    const text = `the epoch was lifted from ${epoch} to ${seen} by ${actor}`
    addEvent(tx, { severity: 'alert', kind: 'coordinator.epoch_adopted', text, actor }, now)
    return seen
  })
}
