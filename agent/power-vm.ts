import { seconds } from '../common/units.js'
import type { VmWorld } from './start-vm.js'
import { meant, type Command } from './stop-vm.js'
import type { TaskRun } from './tasks.js'
import type { Vm } from './vm.js'
import { writeRecord } from './vm-records.js'

type Result = Record<string, string>
const eventLimit = seconds(10)

/** Stops the CPUs. Written down before: nothing resumes by itself what somebody paused. */
export async function pauseVm(world: VmWorld, command: Command, { signal }: TaskRun): Promise<Result> {
  const vm = meant(world, command)
  return inLane(vm, 'pause', signal, async () => {
    await writeRecord(vm, { isPausedByUser: true }, signal)
    if (vm.state.status === 'paused') return
    await vm.libvirtDomain.suspend(signal)
    await vm.until(({ state }) => state.status === 'paused', eventLimit, signal)
    vm.apply({ kind: 'paused', why: 'user' })
  })
}

/** Lets the CPUs run again, whyever they stand. */
export async function resumeVm(world: VmWorld, command: Command, { signal }: TaskRun): Promise<Result> {
  const vm = meant(world, command)
  return inLane(vm, 'resume', signal, async () => {
    if (vm.state.status === 'paused') {
      await vm.libvirtDomain.resume(signal)
      await vm.until(({ state }) => state.status !== 'paused', eventLimit, signal)
    }
    await writeRecord(vm, { isPausedByUser: false }, signal)
  })
}

export async function resetVm(world: VmWorld, command: Command, { signal }: TaskRun): Promise<Result> {
  const vm = meant(world, command)
  return inLane(vm, 'reset', signal, async () => {
    await vm.libvirtDomain.reset(signal)
    vm.apply({ kind: 'rebooted' })
  })
}

/** By the guest agent where there is one, else by the power button and a start behind it. */
export async function rebootVm(world: VmWorld, command: Command, { signal }: TaskRun): Promise<Result> {
  const vm = meant(world, command)
  return inLane(vm, 'reboot', signal, async () => {
    await vm.libvirtDomain.reboot(vm.isGuestAgentConnected ? 'guestAgent' : 'acpi', signal)
    vm.apply({ kind: 'rebootAsked' })
  })
}

async function inLane(
  vm: Vm,
  verb: 'pause' | 'resume' | 'reset' | 'reboot',
  signal: AbortSignal,
  work: () => Promise<void>
): Promise<Result> {
  vm.throwUnlessAllowed(verb)
  await vm.lane.run(
    verb,
    async () => {
      vm.throwUnlessAllowed(verb)
      await work()
    },
    signal
  )
  return {}
}
