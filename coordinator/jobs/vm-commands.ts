import { Fault } from '../../common/fault.js'
import { agentServices } from '../../proto/load.js'
import type { Tx } from '../store/query.js'
import type { Vm } from '../store/vms.js'
import { endTasks, performTask } from './hosts.js'
import type { JobTable } from './job.js'
import { untilVm } from './until.js'
import type { JobWorld } from './world.js'

export type VmCommand = { vmId: string; hostId: string; vmGeneration: number }

const { vm } = agentServices

// Commands of one request each. They have no undo: what was pressed was pressed.

export const rebootVm = (world: JobWorld) => command(world, 'vm.reboot', vm.RebootVm, null)
export const resetVm = (world: JobWorld) => command(world, 'vm.reset', vm.ResetVm, null)
export const pauseVm = (world: JobWorld) => {
  return command(world, 'vm.pause', vm.PauseVm, ({ status }) => status === 'paused')
}
export const resumeVm = (world: JobWorld) => {
  return command(world, 'vm.resume', vm.ResumeVm, ({ status }) => status !== 'paused')
}

function command(
  { hosts, store }: JobWorld,
  kind: string,
  method: typeof vm.PauseVm,
  isSo: ((vm: Vm) => boolean) | null
): JobTable<VmCommand, Tx> {
  return {
    kind,
    steps: [
      {
        name: 'command',
        host: ({ hostId }) => hostId,
        run: async act => {
          const { vmId, hostId, vmGeneration } = act.context
          if (hosts.isGone(hostId)) throw new Fault('WRONG_STATE', 'the host of the VM was stopped')
          await performTask(hosts, act, hostId, method, { vmId, vmGeneration })
          if (!isSo) return
          await untilVm(
            store,
            vmId,
            seen => seen === null || seen.status === 'down' || isSo(seen),
            act.signal
          )
        },
        undo: async act => endTasks(hosts, act, act.context.hostId)
      }
    ]
  }
}
