import type { Vm } from '../store/vms.js'

// What the hosts' watch streams have told of a VM, as jobs look at it. PURE.

export type SeenVm = Pick<Vm, 'hostId' | 'observedGeneration' | 'status'>

const launching: ReadonlySet<string> = new Set([
  'wait_for_launch',
  'restoring_state',
  'migrating_to',
  'unknown',
  'creating'
])

/** Whether QEMU runs, as far as anybody knows: a VM of a silent host counts as running. */
export const isRunning = ({ status }: Pick<Vm, 'status'>) => status !== 'down' && status !== 'creating'

/** What became of one start. What was seen of an earlier one says nothing about it. */
export function startedOn(
  vm: SeenVm,
  hostId: string | null,
  vmGeneration: number
): 'notYet' | 'runs' | 'failed' {
  if (vm.observedGeneration !== vmGeneration) return 'notYet'
  if (vm.status === 'down') return 'failed'
  return vm.hostId !== hostId || launching.has(vm.status) ? 'notYet' : 'runs'
}
