import { GuestConsole } from './guest-console.js'
import { poll } from './lab.js'
import type { Vm as WantedVm, Vm__Output as Vm } from '../../proto/generated/types/drover/v1/Vm.js'
import type { World } from './world.js'

export type Guest = { vmId: string; console: GuestConsole }

/** VMs whose guests write, and what is true of them, whoever says what. */
export class Guests {
  readonly #world: World

  constructor(world: World) {
    this.#world = world
  }

  /** Writing; highly available unless it is wanted otherwise. */
  async start(name: string, host = '', change: Partial<WantedVm> = {}): Promise<Guest> {
    const { api, services, hostIds } = this.#world
    const vmId = await this.#world.createVm(name, undefined, change)
    const console = new GuestConsole(api, vmId)
    await api.job(services.vm.StartVm, { vmId, hostId: hostIds.get(host) ?? '' })
    await poll('the writer', 240, async () => (console.acknowledged.length > 0 ? true : null))
    return { vmId, console }
  }

  writesOn(console: GuestConsole): Promise<true> {
    const from = console.lastAcknowledged
    return poll('writes go on', 120, async () => (console.lastAcknowledged > from + 20 ? true : null))
  }

  async remove(vmId: string): Promise<void> {
    const { api, services } = this.#world
    await api.job(services.vm.StopVm, { vmId, force: true })
    await api.job(services.vm.DeleteVm, { vmId })
  }

  /** Hosts on which a QEMU of this VM runs. */
  async runningOn(vmId: string): Promise<string[]> {
    const { lab, hypervisors } = this.#world
    const script = 'for p in $(pgrep -x qemu-system-x86); do tr "\\0" " " </proc/$p/cmdline; done'
    const on = await Promise.all(
      hypervisors.map(async host => {
        if (!(await lab.isPowered(host))) return []
        return (await lab.shell(host, script)).includes(vmId) ? [host] : []
      })
    )
    return on.flat()
  }

  whenUp(vmId: string, generation: bigint, seconds = 240): Promise<Vm> {
    return poll('the VM runs again', seconds, async () => {
      const vm = await this.#world.vm(vmId)
      return vm.status === 'VM_STATUS_UP' && BigInt(vm.vmGeneration) === generation ? vm : null
    })
  }
}
