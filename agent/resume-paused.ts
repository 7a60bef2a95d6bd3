import type { Clock } from '../common/clock.js'
import type { Logger } from '../common/log.js'
import { seconds, type Seconds } from '../common/units.js'
import type { Vm } from './vm.js'
import type { Vms } from './vms.js'

type Parts = {
  vms: Vms
  /** Whether a storage domain answers and can be written. */
  isHealthy: (storageDomainId: string) => boolean
  clock: Clock
  log: Logger
}
const first = seconds(2)
const longest = seconds(30)

/**
 * Lets VMs go on that an I/O error stopped, once their storage is well. The guest's write is tried again; if it
 * fails again the VM stops again, and the next try is later. What a person paused is left alone.
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
    const isWell = vm.own().spec.disks.every(({ storageDomainId }) => isHealthy(storageDomainId))
    if (now < tries.next || !isWell || vm.lane.running !== null) return
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
}

function isStopped({ state, record }: Vm): boolean {
  const isError = state.pause === 'enospc' || state.pause === 'eio'
  return state.status === 'paused' && isError && !record?.isPausedByUser
}
