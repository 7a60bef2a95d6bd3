import { Fault } from '../../common/fault.js'
import { derivedId } from '../../common/ids.js'
import { nameRule } from '../../common/rules.js'
import { unary, type Context } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import type { VmServiceDefinition } from '../../proto/generated/types/drover/v1/VmService.js'
import { inStartOrder } from '../dependencies.js'
import { isRunning } from '../jobs/observed-vm.js'
import { placeTogether } from '../jobs/place-together.js'
import type { Loads } from '../jobs/world.js'
import { dependencies } from '../store/dependencies.js'
import { resolveId } from '../store/names.js'
import { vm as vmRow } from '../store/vms.js'
import type { Workshop } from './ordered-job.js'
import { orderStart } from './vm-orders.js'

type Started = { vmId: string; vmName: string; jobId: string; hostId: string; problem: string }

/** Many VMs at once: one plan for all, then a job for each, what others need first. */
export function startVms(workshop: Workshop, loads: Loads): Pick<Handlers<VmServiceDefinition>, 'startVms'> {
  const { store } = workshop.mutations
  return {
    startVms: unary({
      check: fields => ({
        requestId: fields.uuid('requestId'),
        content: { vms: fields.each('vmIds', 1000, nameRule(64)) }
      }),
      method: async ({ requestId, content }, context) => {
        const ids = [...new Set(content.vms.map(name => resolveId(store.read, 'vm', name)))]
        const order = inStartOrder(ids, dependencies(store.read))
        const down = order.filter(id => !isRunning(vmRow(store.read, id)))
        const plan = placeTogether(store.read, loads, 'start', down)
        const starts = order.map(vmId =>
          startOne(workshop, loads, vmId, plan.get(vmId) ?? null, requestId, context)
        )
        return { starts }
      }
    })
  }
}

/** One that cannot start keeps no other from it. */
function startOne(
  workshop: Workshop,
  loads: Loads,
  vmId: string,
  planned: string | null,
  storm: string,
  context: Pick<Context, 'caller' | 'signal'>
): Started {
  const requestId = derivedId(storm, vmId)
  const about = { vmId, vmName: vmRow(workshop.mutations.store.read, vmId).name, hostId: planned ?? '' }
  const wanted = { vmId, hostId: null, isPaused: false, preferredHostId: planned }
  try {
    // The plan is no part of what was asked: the same request may find another one.
    const asked = { requestId, content: { vmId } }
    const { jobId } = workshop.mutations.perform('StartVms', asked, context, (tx, actor) => ({
      jobId: orderStart(workshop, tx, loads, wanted, { actor, requestId })
    }))
    return { ...about, jobId, problem: '' }
  } catch (error) {
    if (context.signal.aborted || !(error instanceof Fault)) throw error
    return { ...about, jobId: '', hostId: '', problem: error.message }
  }
}
