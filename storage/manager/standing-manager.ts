import { sleep, type Clock } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import type { Logger } from '../../common/log.js'
import { type Bytes, MiB, seconds } from '../../common/units.js'
import type { ExtendedVolume, ExtendVolume } from '../extend-volumes.js'
import { DirectPages } from '../mailbox/pages.js'
import { MailboxServe } from '../mailbox/serve.js'
import type { Sanlock } from '../sanlock.js'
import type { Leases, Resource, SpecialPaths } from '../storage-domain.js'
import { ExtendQueue } from './extend-queue.js'
import { ManagerFence } from './fence.js'

export type ManagedDomain = {
  identity: { id: string; shared: boolean }
  leases: Pick<Leases, 'asManager'>
  special: Pick<SpecialPaths, 'inbox' | 'outbox' | 'leases'>
}

export type StandingManagerParts = {
  storageDomain: ManagedDomain
  /** Where `SDM` is. */
  resource: Resource
  extend: (volumes: readonly ExtendVolume[], signal: AbortSignal) => Promise<ExtendedVolume[]>
  sanlock: Sanlock
  clock: Clock
  log: Logger
  /** The role is gone and nothing may be written any more: this process has to end. */
  onLost: (why: unknown) => void
}

/** How often sanlock is asked whether the lease is still ours. */
const watched = seconds(10)

/** The manager of a storage domain, from taking the lease to giving it up: serves the mailbox and extends volumes. */
export class StandingManager {
  readonly queue: ExtendQueue
  readonly serve: MailboxServe
  readonly #parts: StandingManagerParts
  readonly #fence: ManagerFence | null
  readonly #hold: AsyncDisposable
  readonly #pages: DirectPages[]
  /** Takes no more requests. */
  readonly #leaving = new AbortController()
  /** Nothing may run any more. */
  readonly #end = new AbortController()
  #running: Promise<unknown> = Promise.resolve()
  #isLost = false

  private constructor(
    parts: StandingManagerParts,
    hold: AsyncDisposable,
    fence: ManagerFence | null,
    [inbox, outbox]: [DirectPages, DirectPages]
  ) {
    const { storageDomain, clock, log } = parts
    this.#parts = parts
    this.#hold = hold
    this.#fence = fence
    this.#pages = [inbox, outbox]
    this.queue = new ExtendQueue(volumes => this.#extend(volumes))
    this.serve = new MailboxServe({
      ...{ storageDomainId: storageDomain.identity.id, inbox, outbox, clock, log },
      extend: (volumeId, mebibytes) => this.extend(volumeId, MiB(mebibytes))
    })
  }

  /** Waits until the lease is free, or the signal. From its return on this host is the manager. */
  static async take(parts: StandingManagerParts, signal: AbortSignal): Promise<StandingManager> {
    const { storageDomain, sanlock, resource, clock, log } = parts
    const { inbox, outbox } = storageDomain.special
    const hold = await storageDomain.leases.asManager(signal)
    const pages: DirectPages[] = []
    try {
      const fenced = storageDomain.identity.shared && sanlock.mode === 'daemon'
      const fence = fenced ? await ManagerFence.of(sanlock, resource, clock) : null
      pages.push(await DirectPages.open(inbox), await DirectPages.open(outbox))
      const manager = new StandingManager(parts, hold, fence, pages as [DirectPages, DirectPages])
      await manager.#begin()
      log.info({ leaseVersion: manager.leaseVersion }, 'this host manages the storage domain')
      return manager
    } catch (error) {
      for (const page of pages) await page.close()
      await hold[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Grows with each change of manager; 0 where there are no leases. */
  get leaseVersion(): number {
    return this.#fence?.leaseVersion ?? 0
  }

  /** Requests of all ways meet here. A failure is an answer; a fault means that this host does not know. */
  extend(volumeId: string, to: Bytes): Promise<ExtendedVolume> {
    if (this.#leaving.signal.aborted)
      return Promise.reject(new Fault('NOT_MANAGER', 'this host gives the role up'))
    return this.queue.add(volumeId, to)
  }

  /**
   * Takes no more, lets what was asked for come to its end, then frees the lease. Whoever asked by the mailbox and
   * has no answer yet gets it from the next manager, to whom everything in the inbox is new.
   */
  async giveUp(): Promise<void> {
    this.#leaving.abort()
    await this.queue.drained()
    await this.#running
    this.#end.abort()
    for (const page of this.#pages) await page.close()
    await this.#hold[Symbol.asyncDispose]()
    this.#parts.log.info('this host gave the manager role up')
  }

  async #begin(): Promise<void> {
    await this.#fence?.throwIfLost(this.#end.signal)
    await this.serve.begin()
    this.#running = Promise.all([this.serve.run(this.#leaving.signal), this.#watch()])
  }

  /** Every write of the role goes through here, and none without a look at the lease. */
  async #extend(volumes: readonly ExtendVolume[]): Promise<ExtendedVolume[]> {
    await this.#throwIfLost()
    return this.#parts.extend(volumes, this.#end.signal)
  }

  async #watch(): Promise<void> {
    const { clock, log } = this.#parts
    const { signal } = this.#leaving
    while (!signal.aborted) {
      await sleep(clock, watched, signal).catch(() => {})
      if (signal.aborted) return
      await this.#ask().catch((error: unknown) => log.error({ err: error }, 'manager role in doubt'))
    }
  }

  async #ask(): Promise<void> {
    await this.#throwIfLost()
    await this.#fence?.ask(this.#end.signal).catch((error: unknown) => this.#lose(error))
  }

  async #throwIfLost(): Promise<void> {
    if (this.#isLost) throw new Fault('NOT_MANAGER', 'this host is not the manager any more')
    await this.#fence?.throwIfLost(this.#end.signal).catch((error: unknown) => this.#lose(error))
  }

  /** Storage that cannot be read is no proof of anything, but nothing is written on it either. */
  #lose(error: unknown): never {
    if (Fault.is(error, 'NOT_MANAGER')) {
      this.#isLost = true
      this.#leaving.abort()
      this.#end.abort()
      this.#parts.onLost(error)
    }
    throw error
  }
}
