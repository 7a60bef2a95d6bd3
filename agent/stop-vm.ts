import { crashpoint } from '../common/crashpoint.js'
import { within } from '../common/deadline.js'
import { Fault } from '../common/fault.js'
import { seconds, type Seconds } from '../common/units.js'
import { absent } from '../libvirt/domain.js'
import { isVirError } from '../libvirt/errors.js'
import type { TaskRun } from './tasks.js'
import type { Vm } from './vm.js'
import type { VmWorld } from './start-vm.js'

export type Command = { vmId: string; generation: number | null }

const isDown = ({ state }: Vm) => state.status === 'down'
const pressEvery = seconds(10)

/** The VM that a command means. The wrong generation means another life of it. */
export function meant(world: VmWorld, { vmId, generation }: Command): Vm {
  const vm = world.vms.get(vmId)
  const record = vm.own()
  if (generation !== null && generation !== record.generation) {
    throw new Fault(
      'STALE_GENERATION',
      `VM ${vmId} is at generation ${record.generation}, not ${generation}`,
      {
        facts: { vm: vmId, vmGeneration: String(record.generation) }
      }
    )
  }
  return vm
}

/** Asks the guest to shut down, again and again while it does not listen yet, and waits until it has. */
export async function shutdownVm(
  world: VmWorld,
  command: Command,
  limit: Seconds,
  { signal, progress }: TaskRun
): Promise<Record<string, string>> {
  const vm = meant(world, command)
  if (isDown(vm)) return {}
  vm.throwUnlessAllowed('shutdown')
  vm.asked ??= 'shutdown'
  vm.apply({ kind: 'shutdownAsked' })
  try {
    for (let waited = 0; waited < limit; waited += pressEvery) {
      progress({ percent: (100 * waited) / limit, phase: 'waiting for the guest' })
      await vm.lane.run('shutdown', () => press(vm, signal), signal)
      if (await vm.until(isDown, pressEvery, signal)) return {}
    }
  } catch (error) {
    if (isDown(vm)) return {}
    giveUp(vm)
    throw error
  }
  giveUp(vm)
  throw new Fault('WRONG_STATE', `the guest of VM ${vm.id} did not shut down within ${limit} s`, {
    facts: { vm: vm.id }
  })
}

function giveUp(vm: Vm): void {
  if (vm.asked === 'shutdown') vm.asked = null
  vm.apply({ kind: 'shutdownIgnored' })
}

/** The guest agent first: it needs no driver for the power button. */
async function press(vm: Vm, signal: AbortSignal): Promise<void> {
  if (isDown(vm)) return
  if (vm.isGuestAgentConnected) {
    try {
      return await vm.libvirtDomain.shutdown('guestAgent', within(seconds(5), signal))
    } catch (error) {
      if (signal.aborted || isDown(vm)) throw error
    }
  }
  await vm.libvirtDomain.shutdown('acpi', signal).catch((error: unknown) => {
    if (!isVirError(error, 'OPERATION_INVALID', 'NO_DOMAIN')) throw error
  })
}

/** Ends QEMU, lets go of the disks, forgets the VM. One that is not here is destroyed already. */
export async function destroyVm(
  world: VmWorld,
  command: Command,
  run: TaskRun
): Promise<Record<string, string>> {
  const { vms, disks } = world
  if (!vms.find(command.vmId)) return {}
  const vm = meant(world, command)
  vm.asked = 'destroy'
  await vm.lane.run(
    'destroy',
    async () => {
      if (vms.find(vm.id) !== vm) return
      await crashpoint('vm.destroy.begun')
      await endQemu(vm, run.signal)
      await crashpoint('vm.destroy.stopped')
      await disks.tearDown(vm.own().spec)
      await crashpoint('vm.destroy.torn_down')
      if (vm.isDefined) await vm.libvirtDomain.undefine(run.signal).catch(absent('NO_DOMAIN'))
      vm.isDefined = false
      await crashpoint('vm.destroy.undefined')
      vms.forget(vm)
    },
    run.signal
  )
  return {}
}

async function endQemu(vm: Vm, signal: AbortSignal): Promise<void> {
  const state = await vm.libvirtDomain.stateIfPresent(signal)
  if (state === null || state.state === 'shutoff') return vm.apply({ kind: 'stopped' })
  await vm.libvirtDomain.destroy(signal).catch((error: unknown) => {
    if (!isVirError(error, 'OPERATION_INVALID', 'NO_DOMAIN')) throw error
  })
  if (await vm.until(isDown, seconds(30), signal)) return
  // The event may be late or lost; libvirt's word counts.
  const after = await vm.libvirtDomain.stateIfPresent(signal)
  if (after !== null && after.state !== 'shutoff') {
    throw new Fault('VM_UNRESPONSIVE', `QEMU of VM ${vm.id} does not end`, { facts: { vm: vm.id } })
  }
  vm.apply({ kind: 'stopped' })
}
