import type { Clock } from '../common/clock.js'
import type { Logger } from '../common/log.js'
import { seconds, type Seconds } from '../common/units.js'
import type { Vm } from './vm.js'
import type { Vms } from './vms.js'

type Parts = {
  vms: Vms
  /** Whether a storage domain answers and can be written. */
  isHealthy: (storageDomainId: string) => boolean
  /** The unit of all waits for it. */
  ioTimeoutOf: (storageDomainId: string) => Seconds
  clock: Clock
  log: Logger
}
const first = seconds(2)
const longest = seconds(30)
/** A host that cannot renew its lease for so many I/O time-outs is told by sanlock to end what holds leases. */
const leaseTimeouts = 8

/**
 * Lets VMs go on that an I/O error stopped, once their storage is well. The guest's write is tried again; if it
 * fails again the VM stops again, and the next try is later. What a person paused is left alone.
 *
 * A VM with a lease that waits for too long is ended: libvirt gave its lease back when it stopped, so sanlock, which
 * ends all others on a host without storage, does not know of it, and nobody could start it where the storage is.
 */
export class PausedResumer {
  readonly #parts: Parts
  readonly #tries = new WeakMap<Vm, { wait: Seconds; next: Seconds }>()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  async round(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#parts.vms.running().map(vm => this.#look(vm, signal)))
  }

  async #look(vm: Vm, signal: AbortSignal): Promise<void> {
    const { clock, isHealthy } = this.#parts
    const now = clock.monotonic()
    if (!isStopped(vm)) {
      // A minute of peace: the next error begins with a short wait again.
      if (vm.state.status === 'up' && now - vm.since > 60) this.#tries.delete(vm)
      return
    }
    const tries = this.#tries.get(vm) ?? { wait: first, next: seconds(now + first) }
    this.#tries.set(vm, tries)
    const lost = storageOf(vm).filter(id => !isHealthy(id))
    if (lost.length > 0) return this.#endIfTooLong(vm, lost, signal)
    if (now < tries.next || vm.lane.running !== null) return
    tries.wait = seconds(Math.min(longest, tries.wait * 2))
    tries.next = seconds(now + tries.wait)
    await this.#resume(vm, signal)
  }

  async #resume(vm: Vm, signal: AbortSignal): Promise<void> {
    const { vms, log } = this.#parts
    const why = vm.state.pause
    try {
      await vm.lane.run('go on', async () => isStopped(vm) && vm.libvirtDomain.resume(signal), signal)
      vms.options.note(vm.id, 'vm.resumed', `goes on after ${why}`)
      log.info({ vm: vm.id, why }, 'VM goes on')
    } catch (error) {
      log.warn({ err: error, vm: vm.id }, 'VM does not go on yet')
    }
  }

  async #endIfTooLong(vm: Vm, lost: readonly string[], signal: AbortSignal): Promise<void> {
    const { vms, clock, log, ioTimeoutOf } = this.#parts
    const waited = clock.monotonic() - vm.since
    const patience = leaseTimeouts * Math.max(...lost.map(ioTimeoutOf))
    const isMovable = vm.own().spec.lease !== null && vm.state.pause === 'eio'
    if (!isMovable || waited < patience || vm.lane.running !== null) return
    try {
      await vm.lane.run('give up', async () => giveUp(vm, signal), signal)
      const text = `ended after ${Math.floor(waited)} s without its storage, to start where that is`
      vms.options.note(vm.id, 'vm.given_up', text)
      log.warn({ vm: vm.id, lost }, 'VM without storage ended')
    } catch (error) {
      log.warn({ err: error, vm: vm.id }, 'VM without storage does not end yet')
    }
  }
}

async function giveUp(vm: Vm, signal: AbortSignal): Promise<void> {
  if (!isStopped(vm)) return
  vm.asked = 'giveUp'
  try {
    await vm.libvirtDomain.destroy(signal)
  } catch (error) {
    vm.asked = null
    throw error
  }
}

function storageOf(vm: Vm): string[] {
  const { disks, lease } = vm.own().spec
  return [...disks.map(({ storageDomainId }) => storageDomainId), ...(lease ? [lease.storageDomainId] : [])]
}

function isStopped({ state, record }: Vm): boolean {
  const isError = state.pause === 'enospc' || state.pause === 'eio'
  return state.status === 'paused' && isError && !record?.isPausedByUser
}
