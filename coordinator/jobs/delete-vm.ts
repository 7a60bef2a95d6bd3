import { deleteDiskRow, updateDisk } from '../store/disks.js'
import type { Tx } from '../store/query.js'
import { deleteSnapshotRow, snapshotsOf } from '../store/snapshots.js'
import { deleteLease, deleteVmRow, updateVm } from '../store/vms.js'
import type { JobTable } from './job.js'
import { removeDisks } from './remove-disks.js'
import { chooseStorageHost, heirOf, type OnAHost } from './storage-host.js'
import { removeLease, type ImageOnDomain } from './volumes.js'
import type { JobWorld } from './world.js'

export type DeleteVm = OnAHost & {
  vmId: string
  /** Disks that go with it; empty when they are kept. */
  disks: ImageOnDomain[]
  leaseStorageDomainId: string | null
}

/** Removing is only ever finished: a half-removed disk is of no use to anybody. */
export function deleteVm(world: JobWorld): JobTable<DeleteVm, Tx> {
  const { hosts } = world
  const heir = (context: Readonly<DeleteVm>) => heirOf(world, context, domainsOf(context))
  return {
    kind: 'vm.delete',
    steps: [
      chooseStorageHost(domainsOf),
      {
        name: 'condemn',
        weight: 0,
        pointOfNoReturn: true,
        commit: (tx, { vmId, disks }) => {
          updateVm(tx, vmId, { phase: 'removing' })
          for (const { diskId } of disks) updateDisk(tx, diskId, { status: 'removing' })
        }
      },
      removeDisks(world, domainsOf),
      {
        name: 'removeLease',
        host: ({ hostId }) => hostId,
        run: async act => {
          const { vmId, leaseStorageDomainId: storageDomainId } = act.context
          if (storageDomainId === null) return
          await removeLease(hosts, act, heir(act.context), { storageDomainId, leaseId: vmId })
        },
        commit: (tx, { vmId }) => deleteLease(tx, vmId)
      },
      {
        name: 'forget',
        weight: 0,
        commit: (tx, { vmId, disks }) => {
          for (const { id } of snapshotsOf(tx, vmId)) deleteSnapshotRow(tx, id)
          deleteVmRow(tx, vmId)
          for (const { diskId } of disks) deleteDiskRow(tx, diskId)
        }
      }
    ]
  }
}

function domainsOf({ disks, leaseStorageDomainId }: Readonly<DeleteVm>): string[] {
  const all = disks.map(({ storageDomainId }) => storageDomainId)
  return [...new Set(leaseStorageDomainId === null ? all : [...all, leaseStorageDomainId])]
}
