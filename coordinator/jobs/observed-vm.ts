import type { Vm } from '../store/vms.js'

// What the hosts' watch streams have told of a VM, as jobs look at it. PURE.

export type SeenVm = Pick<Vm, 'hostId' | 'generation' | 'status'>

const launching: ReadonlySet<string> = new Set([
  'wait_for_launch',
  'restoring_state',
  'migrating_to',
  'unknown',
  'creating'
])

/** Whether QEMU runs, as far as anybody knows: a VM of a silent host counts as running. */
export const isRunning = ({ status }: Pick<Vm, 'status'>) => status !== 'down' && status !== 'creating'

/**
 * What became of one start. `sawIt` says whether this start was seen at all: a row that still says "down"
 * from an earlier life says nothing about this one.
 */
export function startedOn(
  vm: SeenVm & Pick<Vm, 'exitReason' | 'failure'>,
  hostId: string | null,
  vmGeneration: number
): 'notYet' | 'runs' | 'failed' {
  if (vm.generation !== vmGeneration) return 'notYet'
  if (vm.status === 'down') return vm.exitReason !== '' || vm.failure ? 'failed' : 'notYet'
  return vm.hostId !== hostId || launching.has(vm.status) ? 'notYet' : 'runs'
}
