import { bit, type Tx } from '../store/query.js'
import { deleteLease, noteVm, putLease } from '../store/vms.js'
import type { JobTable } from './job.js'
import { chooseStorageHost, heirOf, hostOf, type OnAHost } from './storage-host.js'
import { createLease, removeLease } from './volumes.js'
import type { JobWorld } from './world.js'

export type EnsureLease = OnAHost & {
  vmId: string
  storageDomainId: string
  /** What it was before, for the undo. */
  wasHa: boolean
  leaseOffset: number | null
}

/** A VM that becomes highly available gets its lease before anything can start it. */
export function ensureLease(world: JobWorld): JobTable<EnsureLease, Tx> {
  const { hosts } = world
  return {
    kind: 'vm.ensure_lease',
    steps: [
      {
        name: 'want',
        weight: 0,
        atCreation: true,
        uncommit: (tx, { vmId, wasHa }) => noteVm(tx, vmId, { isHa: bit(wasHa), leaseStorageDomainId: null })
      },
      chooseStorageHost(({ storageDomainId }) => [storageDomainId]),
      {
        name: 'createLease',
        pointOfNoReturn: true,
        host: ({ hostId }) => hostId,
        run: async act => {
          const { vmId, storageDomainId } = act.context
          const lease = { storageDomainId, leaseId: vmId }
          return { leaseOffset: await createLease(hosts, act, hostOf(act.context), lease) }
        },
        undo: async act => {
          const { vmId, storageDomainId } = act.context
          const heir = heirOf(world, act.context, [storageDomainId])
          await removeLease(hosts, act, heir, { storageDomainId, leaseId: vmId })
        },
        commit: (tx, { vmId, storageDomainId, leaseOffset: offsetBytes }) => {
          if (offsetBytes !== null) putLease(tx, { vmId, storageDomainId, offsetBytes })
        },
        uncommit: (tx, { vmId }) => deleteLease(tx, vmId)
      }
    ]
  }
}
