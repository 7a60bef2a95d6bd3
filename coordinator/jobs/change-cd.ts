import { Fault } from '../../common/fault.js'
import { agentServices } from '../../proto/load.js'
import { diskOrNull } from '../store/disks.js'
import type { Reader, Tx } from '../store/query.js'
import { putCdDrive } from '../store/vms.js'
import { endTasks, performTask } from './hosts.js'
import type { JobTable } from './job.js'
import type { VmCommand } from './vm-commands.js'
import type { JobWorld } from './world.js'

export type ChangeCd = VmCommand & {
  drive: number
  /** The image that shall be in it; null: none. */
  diskId: string | null
  /** The image that was in it. */
  before: string | null
  isForced: boolean
}

/** Changes what is in a CD-ROM drive of a VM that runs; nothing else is done with the VM meanwhile. */
export function changeCd({ hosts, store }: JobWorld): JobTable<ChangeCd, Tx> {
  const request = ({ vmId, vmGeneration, drive, isForced }: Readonly<ChangeCd>, diskId: string | null) => {
    return { vmId, vmGeneration, drive, medium: mediumOf(store.read, diskId), force: isForced }
  }
  return {
    kind: 'vm.change_cd',
    steps: [
      {
        name: 'change',
        host: ({ hostId }) => hostId,
        pointOfNoReturn: true,
        run: async act => {
          const { hostId, diskId } = act.context
          if (hosts.isGone(hostId)) throw new Fault('WRONG_STATE', 'the host of the VM was stopped')
          await performTask(hosts, act, hostId, agentServices.vm.ChangeCd, request(act.context, diskId))
        },
        commit: (tx, { vmId, drive: number, diskId }) => putCdDrive(tx, { vmId, number, diskId }),
        undo: async act => {
          const { hostId, before } = act.context
          if (hosts.isGone(hostId)) return
          await endTasks(hosts, act, hostId)
          const back = performTask(
            hosts,
            act,
            hostId,
            agentServices.vm.ChangeCd,
            request(act.context, before)
          )
          await back.catch(unlessOver)
        }
      }
    ]
  }
}

/** Where a VM does not run any more nothing is left to be undone: its next start is with what is on record. */
function unlessOver(error: unknown): void {
  const over = ['VM_NOT_FOUND', 'WRONG_STATE', 'STALE_GENERATION'] as const
  if (!over.some(reason => Fault.is(error, reason))) throw error
}

export function mediumOf(reader: Reader, diskId: string | null) {
  const disk = diskId === null ? null : diskOrNull(reader, diskId)
  return disk && { storageDomainId: disk.storageDomainId, imageId: disk.id, volumeId: disk.volumeId }
}
