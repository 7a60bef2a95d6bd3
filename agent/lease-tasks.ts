import { Fault } from '../common/fault.js'
import type { Sanlock } from '../storage/sanlock.js'
import type { ClearHostLease } from '../storage/clear-host-lease.js'
import type { VmLease } from '../storage/storage-domain.js'
import type { Storage } from './storage.js'

const never = new AbortController().signal

/** Leases of VMs, and of hosts that are proven dead. */
export class LeaseTasks {
  readonly #storage: Storage
  readonly #sanlock: Sanlock

  constructor(storage: Storage, sanlock: Sanlock) {
    this.#storage = storage
    this.#sanlock = sanlock
  }

  async create(id: string, leaseId: string, signal: AbortSignal): Promise<Record<string, string>> {
    const { offset } = await this.#storage.askActive(id, 'createLease', { leaseId }, signal)
    return { offset_bytes: String(offset) }
  }

  async remove(id: string, leaseId: string): Promise<Record<string, string>> {
    await this.#storage.askActive(id, 'removeLease', { leaseId }, never)
    return {}
  }

  list(id: string, signal: AbortSignal): Promise<VmLease[]> {
    return this.#storage.ask(id, 'listLeases', {}, signal)
  }

  /** Succeeds when the lease was taken and given back: then its owner is dead or has let go. */
  async await(id: string, leaseId: string, signal: AbortSignal): Promise<Record<string, string>> {
    if (this.#sanlock.mode === 'direct') {
      throw new Fault('UNSUPPORTED', 'this host takes no leases: it runs without the sanlock daemon')
    }
    const resource = await this.#storage.askActive(id, 'leaseResource', { leaseId }, signal)
    await this.#sanlock.await(resource, signal)
    return {}
  }

  async clearHost(id: string, request: ClearHostLease): Promise<Record<string, string>> {
    await this.#storage.askActive(id, 'clearHostLease', request, never)
    return {}
  }
}
