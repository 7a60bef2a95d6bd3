import type { Clock } from '../../common/clock.js'
import { within } from '../../common/deadline.js'
import { Fault } from '../../common/fault.js'
import { derivedId } from '../../common/ids.js'
import type { Logger } from '../../common/log.js'
import { seconds } from '../../common/units.js'
import { agentServices } from '../../proto/load.js'
import { eachOf, type Hosts } from '../jobs/hosts.js'
import { vmsWithLimits } from '../store/qos.js'
import type { Store } from '../store/store.js'
import { noteVm, vm as vmRow } from '../store/vms.js'
import { newMark, readVmLimits, wireLimits } from './vm-limits.js'

export type ApplyOptions = { store: Store; hosts: Hosts; clock: Clock; log: Logger }

const atOnce = 8
const patience = seconds(20)

/** Tells hosts of limits that have changed. What fails is told again in the next round, as long as it is so. */
export async function applyLimits(options: ApplyOptions, signal: AbortSignal): Promise<void> {
  const { store } = options
  const due = vmsWithLimits(store.read).flatMap(vmId => {
    const mark = newMark(vmRow(store.read, vmId), readVmLimits(store.read, vmId))
    return mark === null ? [] : [{ vmId, mark }]
  })
  await eachOf(due, atOnce, ({ vmId, mark }) => tellHost(options, vmId, mark, signal))
}

async function tellHost(
  { store, hosts, clock, log }: ApplyOptions,
  vmId: string,
  mark: string,
  signal: AbortSignal
): Promise<void> {
  const { hostId, generation } = vmRow(store.read, vmId)
  if (hostId === null) return
  const limits = wireLimits(readVmLimits(store.read, vmId))
  // A number of its own for each try: a host that refused once may be able now.
  const requestId = derivedId(vmId, `limits/${mark}/${clock.newId()}`)
  const request = { requestId, vmId, vmGeneration: generation, ...limits }
  try {
    await hosts.call(hostId, agentServices.vm.SetVmLimits, request, within(patience, signal))
    store.transaction(tx => noteVm(tx, vmId, { limitsApplied: mark }))
  } catch (error) {
    if (signal.aborted || !(error instanceof Fault)) throw error
    log.warn({ err: error, vm: vmId, host: hostId }, 'a VM is not held to its limits yet')
  }
}
