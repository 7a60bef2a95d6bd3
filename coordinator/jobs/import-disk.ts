import { Fault } from '../../common/fault.js'
import { agentServices } from '../../proto/load.js'
import { deleteDiskRow, updateDisk, updateVolume } from '../store/disks.js'
import type { Tx } from '../store/query.js'
import { endTasks, performTask } from './hosts.js'
import type { JobTable } from './job.js'
import { heirOf } from './storage-host.js'
import { takeBackVolumes, wireAllocation, wireFormat, type Allocation, type VolumeFormat } from './volumes.js'
import type { JobWorld } from './world.js'

export type ImportFormat = VolumeFormat | 'vmdk' | 'vpc' | 'vhdx' | 'vdi' | 'iso'

export type ImportDisk = {
  diskId: string
  volumeId: string
  storageDomainId: string
  /** The host that has the upload or the file. */
  hostId: string
  /** An upload's name, or a path below the import directory of the host. */
  source: string
  sourceFormat: ImportFormat
  format: VolumeFormat
  allocation: Allocation
  sha256: string
  description: string
  /** As the inspector found it; 0 before. */
  capacity: number
}

const { storage } = agentServices

/** Inspection and conversion on the host that has the file; the size of the disk is what was found in it. */
export function importDisk(world: JobWorld): JobTable<ImportDisk, Tx> {
  const { hosts } = world
  return {
    kind: 'disk.import',
    atOnce: 4,
    steps: [
      {
        name: 'reserve',
        weight: 0,
        atCreation: true,
        uncommit: (tx, { diskId }) => deleteDiskRow(tx, diskId)
      },
      {
        name: 'import',
        weight: 8,
        limit: null,
        host: ({ hostId }) => hostId,
        run: async act => {
          const {
            diskId: imageId,
            hostId,
            volumeId,
            storageDomainId,
            source,
            sha256,
            description
          } = act.context
          const { sourceFormat, format, allocation } = act.context
          if (hosts.isGone(hostId)) throw new Fault('WRONG_STATE', 'the host that has the file was stopped')
          const request = {
            ...{ storageDomainId, imageId, volumeId, source, sha256, description },
            sourceFormat: `DISK_FORMAT_${sourceFormat.toUpperCase() as Uppercase<ImportFormat>}` as const,
            ...{ format: wireFormat(format), allocation: wireAllocation(allocation) }
          }
          await performTask(hosts, act, hostId, storage.ImportImage, request)
        },
        undo: async act => {
          const { diskId, storageDomainId, hostId } = act.context
          const heir = heirOf(world, act.context, [storageDomainId])
          await endTasks(hosts, act, hostId)
          await takeBackVolumes(hosts, act, heir, [{ diskId, storageDomainId }])
        }
      },
      {
        // The host says what it has made: the disk is as large as that.
        name: 'measure',
        host: ({ hostId }) => hostId,
        run: async act => {
          const { diskId: imageId, volumeId, storageDomainId } = act.context
          const heir = heirOf(world, act.context, [storageDomainId])
          const request = { storageDomainId, imageId, pageSize: 100, pageToken: '' }
          const { volumes } = await hosts.call(heir, storage.ListVolumes, request, act.signal)
          const found = volumes.find(volume => volume.volumeId === volumeId)
          if (!found) throw new Fault('VOLUME_NOT_FOUND', `the imported volume ${volumeId} is not there`)
          return { capacity: Number(found.capacity) }
        }
      },
      {
        name: 'publish',
        weight: 0,
        pointOfNoReturn: true,
        commit: (tx, { diskId, volumeId, capacity }) => {
          updateVolume(tx, volumeId, { capacity })
          updateDisk(tx, diskId, { capacity, status: 'ok' })
        }
      }
    ],
    result: ({ diskId, capacity }) => ({ disk_id: diskId, capacity: String(capacity) })
  }
}
