import type { Bytes } from '../../common/units.js'
import { agentServices } from '../../proto/load.js'
import { deleteDiskRow, updateDisk, updateVolume } from '../store/disks.js'
import type { Tx } from '../store/query.js'
import { endTasks, performTask } from './hosts.js'
import type { JobTable } from './job.js'
import { chooseStorageHost, heirOf, hostOf, type OnAHost } from './storage-host.js'
import { removeImages } from './volumes.js'
import type { JobWorld } from './world.js'

export type ResizeDisk = OnAHost & {
  diskId: string
  storageDomainId: string
  volumeId: string
  capacity: Bytes
}

/** Sizes only grow, so there is nothing to undo: a host that failed has left the disk as it was, or larger. */
export function resizeDisk(world: JobWorld): JobTable<ResizeDisk, Tx> {
  const { hosts } = world
  return {
    kind: 'disk.resize',
    steps: [
      chooseStorageHost(({ storageDomainId }) => [storageDomainId]),
      {
        name: 'resize',
        host: ({ hostId }) => hostId,
        pointOfNoReturn: true,
        run: async act => {
          const { diskId: imageId, storageDomainId, volumeId, capacity } = act.context
          const request = { storageDomainId, imageId, volumeId, capacity }
          await performTask(hosts, act, hostOf(act.context), agentServices.storage.ResizeVolume, request)
        },
        undo: async act => endTasks(hosts, act, hostOf(act.context)),
        commit: (tx, { diskId, volumeId, capacity }) => {
          updateDisk(tx, diskId, { capacity })
          updateVolume(tx, volumeId, { capacity })
        }
      }
    ]
  }
}

export type DeleteDisk = OnAHost & { diskId: string; storageDomainId: string; isWiped: boolean }

/** Only ever finished, as all removals. */
export function deleteDisk(world: JobWorld): JobTable<DeleteDisk, Tx> {
  const { hosts } = world
  return {
    kind: 'disk.delete',
    steps: [
      chooseStorageHost(({ storageDomainId }) => [storageDomainId]),
      {
        name: 'condemn',
        weight: 0,
        pointOfNoReturn: true,
        commit: (tx, { diskId }) => updateDisk(tx, diskId, { status: 'removing' })
      },
      {
        name: 'remove',
        weight: 4,
        limit: null,
        host: ({ hostId }) => hostId,
        run: async act => {
          const { diskId, storageDomainId, isWiped } = act.context
          const heir = heirOf(world, act.context, [storageDomainId])
          await removeImages(hosts, act, heir, [{ diskId, storageDomainId }], isWiped)
        }
      },
      {
        name: 'forget',
        weight: 0,
        commit: (tx, { diskId }) => deleteDiskRow(tx, diskId)
      }
    ]
  }
}
