import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import type { VmServiceDefinition } from '../../proto/generated/types/drover/agent/v1/VmService.js'
import { mediumOf, mostCdDrives } from '../cd-drives.js'
import { changeCd } from '../change-cd.js'
import { stampOf } from '../gate.js'
import type { VmWorld } from '../start-vm.js'
import { taskMessage } from '../task-message.js'
import type { Tasks } from '../tasks.js'

/** What is in the CD-ROM drives of a VM that runs. */
export function cdHandlers(world: VmWorld, tasks: Tasks): Pick<Handlers<VmServiceDefinition>, 'changeCd'> {
  return {
    changeCd: unary({
      check: fields => ({
        stamp: stampOf(fields),
        vmId: fields.uuid('vmId'),
        generation: fields.integerOr('vmGeneration', 0, 1, Number.MAX_SAFE_INTEGER) || null,
        drive: fields.integerOr('drive', 1, 1, mostCdDrives),
        medium: fields.optionalMessage('medium', mediumOf),
        force: fields.bool('force')
      }),
      method: async ({ stamp, ...wanted }) => {
        const task = await tasks.run({
          ...{ stamp, kind: 'VmService.ChangeCd', content: wanted, objects: { vm: wanted.vmId }, locks: [] },
          work: run => changeCd(world, wanted, run)
        })
        return taskMessage(task)
      }
    })
  }
}
