import { agentServices } from '../../proto/load.js'
import { wireConnection } from '../storage-connection.js'
import { deleteDiskRow, disksOfStorageDomain } from '../store/disks.js'
import type { Tx } from '../store/query.js'
import { deleteStorageDomainRow, storageDomain, updateStorageDomain } from '../store/storage-domains.js'
import { eachOf, performTask, unlessAbsent } from './hosts.js'
import type { JobTable } from './job.js'
import { hostsInService, joinEverywhere, joinOn, leaveOn } from './storage-domain-steps.js'

import type { JobWorld } from './world.js'

// A storage domain into service, out of it, and away.

export type ServeStorageDomain = { storageDomainId: string; hostIds: string[] }

export function activateStorageDomain(world: JobWorld): JobTable<ServeStorageDomain, Tx> {
  return {
    kind: 'storage_domain.activate',
    steps: [
      {
        name: 'chooseHosts',
        weight: 0,
        commit: (tx, { storageDomainId }) => {
          updateStorageDomain(tx, storageDomainId, { phase: 'activating' })
          return { hostIds: hostsInService(tx) }
        },
        uncommit: (tx, { storageDomainId }) =>
          updateStorageDomain(tx, storageDomainId, { phase: 'maintenance' })
      },
      {
        name: 'activate',
        weight: 8,
        run: async act => joinEverywhere(world, act, act.context.hostIds, act.context.storageDomainId),
        undo: async act => {
          for (const hostId of act.context.hostIds)
            await leaveOn(world, act, hostId, act.context.storageDomainId)
        }
      },
      {
        name: 'publish',
        weight: 0,
        pointOfNoReturn: true,
        commit: (tx, { storageDomainId }) => updateStorageDomain(tx, storageDomainId, { phase: 'active' })
      }
    ]
  }
}

/** Out of service on all hosts. One that refuses, because something uses it, brings it back on the others. */
export function deactivateStorageDomain(world: JobWorld): JobTable<ServeStorageDomain, Tx> {
  return {
    kind: 'storage_domain.deactivate',
    steps: [
      {
        name: 'chooseHosts',
        weight: 0,
        commit: (tx, { storageDomainId }) => {
          updateStorageDomain(tx, storageDomainId, { phase: 'deactivating' })
          return { hostIds: hostsInService(tx) }
        },
        uncommit: (tx, { storageDomainId }) => updateStorageDomain(tx, storageDomainId, { phase: 'active' })
      },
      {
        name: 'deactivate',
        weight: 8,
        run: async act => {
          const { hostIds, storageDomainId } = act.context
          await eachOf(hostIds, 16, async hostId => leaveOn(world, act, hostId, storageDomainId))
        },
        undo: async act => {
          const { hostIds, storageDomainId } = act.context
          const { connection } = storageDomain(world.store.read, storageDomainId)
          for (const hostId of hostIds) {
            if (!world.hosts.isGone(hostId)) await joinOn(world, act, hostId, storageDomainId, connection)
          }
        }
      },
      {
        name: 'publish',
        weight: 0,
        pointOfNoReturn: true,
        commit: (tx, { storageDomainId }) =>
          updateStorageDomain(tx, storageDomainId, { phase: 'maintenance' })
      }
    ]
  }
}

export type DeleteStorageDomain = {
  storageDomainId: string
  hostId: string
  isFormatted: boolean
}

/** Detached in a state that oVirt can adopt, or destroyed. Only ever finished. */
export function deleteStorageDomain(world: JobWorld): JobTable<DeleteStorageDomain, Tx> {
  const { hosts, store } = world
  const { storage } = agentServices
  return {
    kind: 'storage_domain.delete',
    steps: [
      {
        name: 'condemn',
        weight: 0,
        pointOfNoReturn: true,
        commit: (tx, { storageDomainId }) => updateStorageDomain(tx, storageDomainId, { phase: 'removing' })
      },
      {
        name: 'detach',
        host: ({ hostId }) => hostId,
        run: async act => {
          const { storageDomainId, hostId } = act.context
          const { connection } = storageDomain(store.read, storageDomainId)
          const connect = { storageDomainId, connection: wireConnection(connection) }
          const ask = { storageDomainId }
          await performTask(hosts, act, hostId, storage.ConnectStorageDomain, connect, 'connect')
          await performTask(hosts, act, hostId, storage.DetachStorageDomain, ask, 'detach')
        }
      },
      {
        name: 'format',
        weight: 4,
        host: ({ hostId }) => hostId,
        run: async act => {
          const { storageDomainId, hostId, isFormatted } = act.context
          const ask = { storageDomainId }
          if (isFormatted) {
            await unlessAbsent(performTask(hosts, act, hostId, storage.FormatStorageDomain, ask, 'format'))
          }
          await unlessAbsent(
            performTask(hosts, act, hostId, storage.DisconnectStorageDomain, ask, 'disconnect')
          )
        }
      },
      {
        name: 'forget',
        weight: 0,
        commit: (tx, { storageDomainId }) => {
          for (const { id } of disksOfStorageDomain(tx, storageDomainId)) deleteDiskRow(tx, id)
          deleteStorageDomainRow(tx, storageDomainId)
        }
      }
    ]
  }
}
