import type { Clock } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import type { Logger } from '../../common/log.js'
import type { Bytes } from '../../common/units.js'
import { type ExtendedVolume, type ExtendVolume, extendVolumes } from '../extend-volumes.js'
import { managerLeaseOffset } from '../format/leases-layout.js'
import { mebibytes } from '../format/volume-sizes.js'
import { DirectPages } from '../mailbox/pages.js'
import { MailboxPost } from '../mailbox/post.js'
import type { Sanlock } from '../sanlock.js'
import type { LeaseOwner, StorageDomain } from '../storage-domain.js'
import { StandingManager } from './standing-manager.js'

export type RoleState = {
  isManager: boolean
  leaseVersion: number
  /** Who holds the lease, as its record says; null where nobody does. */
  owner: LeaseOwner | null
  served: number
  ignored: { torn: number; unknown: number; foreign: number; unreadable: number }
  inFlight: number
}

type Parts = {
  sanlock: Sanlock
  clock: Clock
  log: Logger
  onLost: (why: unknown) => void
  /** This host begins or ends to manage. */
  onChange: () => void
}

const nothing = { torn: 0, unknown: 0, foreign: 0, unreadable: 0 }

/** A worker's two parts in extending: asking by the mailbox, and being the one who is asked. */
export class ManagerRole {
  readonly #parts: Parts
  #manager: StandingManager | null = null
  #taking: Promise<StandingManager> | null = null
  #post: Promise<{ post: MailboxPost; close(): Promise<void> }> | null = null

  constructor(parts: Parts) {
    this.#parts = parts
  }

  get isManager(): boolean {
    return this.#manager !== null
  }

  /** Waits until the lease is free, or the signal. Idempotent. */
  async take(storageDomain: StorageDomain, signal: AbortSignal): Promise<{ leaseVersion: number }> {
    if (this.#manager) return this.#manager
    this.#taking ??= this.#take(storageDomain, signal).finally(() => (this.#taking = null))
    return this.#taking
  }

  async giveUp(): Promise<void> {
    const manager = this.#manager
    if (manager === null) return
    this.#manager = null
    this.#parts.onChange()
    await manager.giveUp()
  }

  /** For another host that asks; false while an operation here cannot let go of the lease. */
  async handOver(storageDomain: StorageDomain): Promise<boolean> {
    await this.giveUp()
    return storageDomain.manager.yield()
  }

  async state(storageDomain: StorageDomain): Promise<RoleState> {
    const post = await this.#post?.catch(() => null)
    return {
      isManager: this.#manager !== null,
      leaseVersion: this.#manager?.leaseVersion ?? 0,
      owner: await storageDomain.leases.managerOwner(),
      served: this.#manager?.serve.served ?? 0,
      ignored: this.#manager?.serve.ignored ?? nothing,
      inFlight: post?.post.inFlight ?? 0
    }
  }

  /**
   * As the manager, by the queue in which all requests meet; else beside the operation that has the lease here. It
   * is not taken for this alone: it may be on its way to the host that is to manage.
   */
  async extend(
    storageDomain: StorageDomain,
    volumes: readonly ExtendVolume[],
    signal: AbortSignal
  ): Promise<ExtendedVolume[]> {
    const manager = this.#manager
    if (!manager) {
      const { identity, manager: lease } = storageDomain
      if (identity.shared && this.#parts.sanlock.mode === 'daemon' && !lease.isHeld)
        throw new Fault('NOT_MANAGER', `this host does not manage storage domain ${identity.id}`)
      return extendVolumes(storageDomain, volumes, signal)
    }
    return Promise.all(volumes.map(({ volumeId, to }) => manager.extend(volumeId, to)))
  }

  /** Asks the manager over the storage alone; whether it says that it is done. */
  async ask(
    storageDomain: StorageDomain,
    sanlockHostId: number,
    request: { volumeId: string; to: Bytes },
    signal: AbortSignal
  ): Promise<boolean> {
    this.#post ??= this.#open(storageDomain, sanlockHostId)
    const { post } = await this.#post.catch((error: unknown) => {
      this.#post = null
      throw error
    })
    const { volumeId, to } = request
    const message = { storageDomainId: storageDomain.identity.id, volumeId, sizeMiB: mebibytes(to) }
    return post.request(message, signal)
  }

  /** Before the storage domain is left: gives up the role, takes its own requests out of the mailbox. */
  async end(): Promise<void> {
    await this.giveUp()
    const post = await this.#post?.catch(() => null)
    this.#post = null
    await post?.close()
  }

  async #take(storageDomain: StorageDomain, signal: AbortSignal): Promise<StandingManager> {
    const { identity, special } = storageDomain
    const offset = managerLeaseOffset(identity.geometry.alignment)
    const resource = { lockspace: identity.id, name: 'SDM', path: special.leases, offset }
    if (!identity.shared)
      throw new Fault('UNSUPPORTED', `storage domain ${identity.id} is of this host alone`)
    const manager = await StandingManager.take(
      {
        ...{ storageDomain, resource },
        extend: (volumes, end) => extendVolumes(storageDomain, volumes, end),
        ...this.#parts
      },
      signal
    )
    this.#manager = manager
    this.#parts.onChange()
    return manager
  }

  async #open(storageDomain: StorageDomain, sanlockHostId: number) {
    const { clock, log } = this.#parts
    const inbox = await DirectPages.open(storageDomain.special.inbox)
    const outbox = await DirectPages.open(storageDomain.special.outbox)
    const post = await MailboxPost.open({ inbox, outbox, sanlockHostId, clock, log })
    const close = async () => {
      await post.close()
      await inbox.close()
      await outbox.close()
    }
    return { post, close }
  }
}
