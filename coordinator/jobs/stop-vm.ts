import { seconds } from '../../common/units.js'
import { agentServices } from '../../proto/load.js'
import { bit, type Tx } from '../store/query.js'
import { noteVm } from '../store/vms.js'
import { endTasks, performTask, unlessAbsent } from './hosts.js'
import type { JobTable } from './job.js'
import { untilVm } from './until.js'
import type { JobWorld } from './world.js'

export type StopVm = {
  vmId: string
  hostId: string
  vmGeneration: number
  isForced: boolean
  timeoutSeconds: number
  /** What it was before, for the undo. */
  wasWantedRunning: boolean
}

/** Asks the guest to shut down, or pulls the plug. What the guest refuses leaves the VM as it is. */
export function stopVm({ hosts, store }: JobWorld): JobTable<StopVm, Tx> {
  return {
    kind: 'vm.stop',
    atOnce: 64,
    steps: [
      {
        // From here on nobody restarts it.
        name: 'unwant',
        weight: 0,
        atCreation: true,
        uncommit: (tx, { vmId, wasWantedRunning }) => {
          noteVm(tx, vmId, { wantedRunning: bit(wasWantedRunning) })
        }
      },
      {
        name: 'stop',
        weight: 4,
        pointOfNoReturn: true,
        limit: ({ isForced, timeoutSeconds }) => seconds(isForced ? 600 : timeoutSeconds),
        late: ({ isForced, timeoutSeconds }) =>
          isForced
            ? 'the host did not stop the VM within 600 s'
            : `the guest did not shut down within ${timeoutSeconds} s; it can be stopped by force`,
        host: ({ hostId }) => hostId,
        run: async act => {
          const { vmId, hostId, vmGeneration, isForced } = act.context
          if (hosts.isGone(hostId)) return
          const method = isForced ? agentServices.vm.DestroyVm : agentServices.vm.ShutdownVm
          await unlessAbsent(performTask(hosts, act, hostId, method, { vmId, vmGeneration }))
        },
        // The guest may stop later all the same; nothing asks it any more.
        undo: async act => endTasks(hosts, act, act.context.hostId)
      },
      {
        name: 'confirm',
        run: async ({ context: { vmId, vmGeneration }, signal }) => {
          await untilVm(
            store,
            vmId,
            vm => vm === null || vm.status === 'down' || vm.generation > vmGeneration,
            signal
          )
        }
      }
    ]
  }
}
