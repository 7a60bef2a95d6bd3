import { deleteDiskRow, updateDisk } from '../store/disks.js'
import type { Tx } from '../store/query.js'
import { deleteLease, deleteVmRow, putLease, updateVm } from '../store/vms.js'
import type { JobTable } from './job.js'
import { chooseStorageHost, heirOf, hostOf } from './storage-host.js'
import { createLease, createVolumes, removeLease, takeBackVolumes, type NewVolume } from './volumes.js'
import type { JobWorld } from './world.js'

export type CreateVm = {
  vmId: string
  /** Who does the storage work. */
  hostId: string | null
  disks: NewVolume[]
  /** Where the VM lease lies; null for a VM without one. */
  leaseStorageDomainId: string | null
  leaseOffset: number | null
}

/** A VM with its disks: thin over a template's volumes, copied from them, or none. */
export function createVm(world: JobWorld): JobTable<CreateVm, Tx> {
  const { hosts } = world
  const heir = (context: Readonly<CreateVm>) => heirOf(world, context, domainsOf(context))

  return {
    kind: 'vm.create',
    steps: [
      {
        // The rows of the VM and its disks, its name, slots and MAC addresses, in status `creating`.
        name: 'reserve',
        weight: 0,
        atCreation: true,
        uncommit: (tx, { vmId, disks }) => {
          deleteVmRow(tx, vmId)
          for (const { diskId } of disks) deleteDiskRow(tx, diskId)
        }
      },
      chooseStorageHost(domainsOf),
      {
        name: 'createVolumes',
        weight: 8,
        limit: null,
        host: ({ hostId }) => hostId,
        run: async act => {
          const { disks } = act.context
          if (disks.length > 0) await createVolumes(hosts, act, hostOf(act.context), disks)
        },
        undo: async act => {
          const { disks } = act.context
          if (disks.length > 0) await takeBackVolumes(hosts, act, heir(act.context), disks)
        }
      },
      {
        name: 'createLease',
        host: ({ hostId }) => hostId,
        run: async act => {
          const { vmId, leaseStorageDomainId } = act.context
          if (leaseStorageDomainId === null) return {}
          const lease = { storageDomainId: leaseStorageDomainId, leaseId: vmId }
          return { leaseOffset: await createLease(hosts, act, hostOf(act.context), lease) }
        },
        undo: async act => {
          const { vmId, leaseStorageDomainId } = act.context
          if (leaseStorageDomainId === null) return
          const lease = { storageDomainId: leaseStorageDomainId, leaseId: vmId }
          await removeLease(hosts, act, heir(act.context), lease)
        },
        commit: (tx, { vmId, leaseStorageDomainId: storageDomainId, leaseOffset: offsetBytes }) => {
          if (storageDomainId !== null && offsetBytes !== null) {
            putLease(tx, { vmId, storageDomainId, offsetBytes })
          }
        },
        uncommit: (tx, { vmId }) => deleteLease(tx, vmId)
      },
      {
        name: 'publish',
        weight: 0,
        pointOfNoReturn: true,
        commit: (tx, { vmId, disks }) => {
          for (const { diskId } of disks) updateDisk(tx, diskId, { status: 'ok' })
          updateVm(tx, vmId, { phase: 'ok', status: 'down' })
        }
      }
    ]
  }
}

function domainsOf({ disks, leaseStorageDomainId }: Readonly<CreateVm>): string[] {
  const all = disks.flatMap(({ storageDomainId, source }) =>
    source.kind === 'copy' ? [storageDomainId, source.storageDomainId] : [storageDomainId]
  )
  return [...new Set(leaseStorageDomainId === null ? all : [...all, leaseStorageDomainId])]
}
