import { agentServices } from '../../proto/load.js'
import { sql, type Reader, type Tx } from '../store/query.js'
import { endTasks, performTask } from './hosts.js'
import type { JobTable } from './job.js'
import { chooseStorageHost, hostOf, type OnAHost } from './storage-host.js'
import type { JobWorld } from './world.js'

export type RepairStorageDomain = OnAHost & {
  storageDomainId: string
  repairs: Array<{ kind: string; object: string }>
  told: Record<string, string>
}

/** Each repair is one small act that stands by itself, so there is nothing to take back. */
export function repairStorageDomain({ hosts, store }: JobWorld): JobTable<RepairStorageDomain, Tx> {
  return {
    kind: 'storage_domain.repair',
    steps: [
      chooseStorageHost(({ storageDomainId }) => [storageDomainId]),
      {
        name: 'repair',
        weight: 4,
        limit: null,
        pointOfNoReturn: true,
        host: ({ hostId }) => hostId,
        run: async act => {
          const { storageDomainId, repairs } = act.context
          const request = { storageDomainId, repairs, scope: doctorScope(store.read) }
          const { RepairStorageDomain } = agentServices.storage
          return { told: await performTask(hosts, act, hostOf(act.context), RepairStorageDomain, request) }
        },
        undo: async act => endTasks(hosts, act, hostOf(act.context))
      }
    ],
    result: ({ told }) => told
  }
}

/** Disks of VMs that run, and of jobs, are in progress and not broken; leases of VMs that are not here are leaked. */
export function doctorScope(reader: Reader) {
  const running = reader.all(
    sql
      .selectFrom('vmImage')
      .innerJoin('vm', 'vm.id', 'vmImage.vmId')
      .select('vmImage.diskId as id')
      .where('vm.status', 'not in', ['down', 'creating'])
  )
  const claimed = reader.all(
    sql.selectFrom('claim').select('objectId as id').where('objectType', 'in', ['disk', 'template'])
  )
  const claimedVms = reader.all(
    sql
      .selectFrom('claim')
      .innerJoin('vmImage', 'vmImage.vmId', 'claim.objectId')
      .select('vmImage.diskId as id')
      .where('claim.objectType', '=', 'vm')
  )
  const busyIds = [...new Set([...running, ...claimed, ...claimedVms].map(({ id }) => id))]
  const vmIds = reader.all(sql.selectFrom('vm').select('id')).map(({ id }) => id)
  return { busyIds, vmIds, allVms: true }
}
