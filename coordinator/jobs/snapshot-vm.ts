import { agentServices } from '../../proto/load.js'
import {
  childrenOf,
  deleteVolumeRow,
  disk,
  insertVolume,
  updateDisk,
  updateVolume,
  volumeOrNull
} from '../store/disks.js'
import type { Tx } from '../store/query.js'
import { deleteSnapshotRow, snapshotsOf, updateSnapshot, updateSnapshotDisk } from '../store/snapshots.js'
import { eachOf, endTasks, performTask, sharedProgress, unlessAbsent, type Asking } from './hosts.js'
import type { JobTable } from './job.js'
import { chooseStorageHost, heirOf, hostOf, type OnAHost } from './storage-host.js'
import { wireAllocation, wireFormat } from './volumes.js'
import type { JobWorld } from './world.js'

export type SnapshotDisk = {
  diskId: string
  storageDomainId: string
  capacity: number
  /** The leaf that is frozen. */
  frozenVolumeId: string
  /** The new leaf over it. */
  leafVolumeId: string
}
export type CreateSnapshot = OnAHost & { snapshotId: string; vmId: string; disks: SnapshotDisk[] }

const { storage } = agentServices
const domainsOf = ({ disks }: Readonly<{ disks: ReadonlyArray<{ storageDomainId: string }> }>) => [
  ...new Set(disks.map(({ storageDomainId }) => storageDomainId))
]

/** A new leaf over each disk of a VM that is down: all of them, or none. */
export function createSnapshot(world: JobWorld): JobTable<CreateSnapshot, Tx> {
  const { hosts, clock } = world
  return {
    kind: 'snapshot.create',
    steps: [
      {
        name: 'reserve',
        weight: 0,
        atCreation: true,
        uncommit: (tx, { snapshotId }) => deleteSnapshotRow(tx, snapshotId)
      },
      chooseStorageHost<CreateSnapshot>(domainsOf),
      {
        name: 'createLeaves',
        weight: 4,
        host: ({ hostId }) => hostId,
        run: async act => {
          await eachOf(act.context.disks, 4, async disk => {
            const request = {
              ...{ storageDomainId: disk.storageDomainId, imageId: disk.diskId, volumeId: disk.leafVolumeId },
              ...{
                parentId: disk.frozenVolumeId,
                parentImageId: '',
                capacity: disk.capacity,
                description: ''
              },
              ...{ format: wireFormat('qcow2'), allocation: wireAllocation('thin') }
            }
            await performTask(hosts, act, hostOf(act.context), storage.CreateVolume, request, disk.diskId)
          })
        },
        // Nothing was written to the new leaves: folding them back leaves the disks as they were.
        undo: async act => {
          const { disks } = act.context
          if (disks.length === 0) return
          const heir = heirOf(world, act.context, domainsOf(act.context))
          for (const { diskId } of disks) await endTasks(hosts, act, hostOf(act.context), diskId)
          for (const disk of disks) {
            const chain = { topVolumeId: disk.leafVolumeId, baseVolumeId: disk.frozenVolumeId }
            const request = { storageDomainId: disk.storageDomainId, imageId: disk.diskId, ...chain }
            await unlessAbsent(performTask(hosts, act, heir, storage.MergeVolumes, request, disk.diskId))
          }
        }
      },
      {
        name: 'publish',
        weight: 0,
        pointOfNoReturn: true,
        commit: (tx, { snapshotId, disks }) => {
          for (const { diskId, capacity, frozenVolumeId, leafVolumeId } of disks) {
            insertVolume(tx, {
              ...{ id: leafVolumeId, diskId, parentId: frozenVolumeId, capacity, format: 'qcow2' },
              ...{ allocation: 'thin', isShared: 0, created: clock.wall() }
            })
            updateDisk(tx, diskId, { volumeId: leafVolumeId, format: 'qcow2' })
          }
          updateSnapshot(tx, snapshotId, { phase: 'ok' })
        }
      }
    ]
  }
}

export type MergedDisk = {
  diskId: string
  storageDomainId: string
  /** The snapshot's volume, which stays and takes the content of the one over it. */
  baseVolumeId: string
  topVolumeId: string
}
export type DeleteSnapshot = OnAHost & { snapshotId: string; vmId: string; disks: MergedDisk[] }

/** Folds what came after a snapshot into it. From the first disk on it is only ever finished. */
export function deleteSnapshot(world: JobWorld): JobTable<DeleteSnapshot, Tx> {
  const merge = async (act: Asking, context: Readonly<DeleteSnapshot>, disks: readonly MergedDisk[]) => {
    if (disks.length === 0) return
    const heir = heirOf(world, context, domainsOf(context))
    const progress = sharedProgress(act, disks.length)
    await eachOf(disks, 2, async ({ diskId, storageDomainId, baseVolumeId, topVolumeId }, index) => {
      const request = { storageDomainId, imageId: diskId, topVolumeId, baseVolumeId }
      const one = { ...act, progress: progress(index) }
      await performTask(world.hosts, one, heir, storage.MergeVolumes, request, diskId)
    })
  }
  return {
    kind: 'snapshot.delete',
    steps: [
      chooseStorageHost<DeleteSnapshot>(domainsOf),
      {
        name: 'condemn',
        weight: 0,
        pointOfNoReturn: true,
        commit: (tx, { snapshotId }) => updateSnapshot(tx, snapshotId, { phase: 'removing' })
      },
      {
        name: 'merge',
        weight: 8,
        limit: null,
        host: ({ hostId }) => hostId,
        run: async act => merge(act, act.context, act.context.disks)
      },
      {
        name: 'forget',
        weight: 0,
        commit: (tx, { snapshotId, vmId, disks }) => {
          for (const disk of disks) foldRows(tx, vmId, disk)
          deleteSnapshotRow(tx, snapshotId)
        }
      }
    ]
  }
}

/** The same in the store: whatever named the upper volume names the lower one now. */
function foldRows(tx: Tx, vmId: string, { diskId, baseVolumeId, topVolumeId }: MergedDisk): void {
  const top = volumeOrNull(tx, topVolumeId)
  if (!top) return
  updateVolume(tx, baseVolumeId, { capacity: top.capacity })
  for (const child of childrenOf(tx, topVolumeId)) updateVolume(tx, child.id, { parentId: baseVolumeId })
  for (const { id, disks } of snapshotsOf(tx, vmId)) {
    if (disks.some(({ volumeId }) => volumeId === topVolumeId))
      updateSnapshotDisk(tx, id, diskId, baseVolumeId)
  }
  deleteVolumeRow(tx, topVolumeId)
  const { volumeId } = disk(tx, diskId)
  const { format = 'qcow2' } = volumeOrNull(tx, baseVolumeId) ?? {}
  updateDisk(tx, diskId, volumeId === topVolumeId ? { volumeId: baseVolumeId, format } : {})
}
