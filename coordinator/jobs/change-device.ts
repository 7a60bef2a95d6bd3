import { Fault } from '../../common/fault.js'
import { agentServices } from '../../proto/load.js'
import { wireConnection } from '../storage-connection.js'
import { storageDomain, updateStorageDomain, type StorageConnection } from '../store/storage-domains.js'
import type { Tx } from '../store/query.js'
import { eachOf, endTasks, performTask } from './hosts.js'
import type { Act, JobTable } from './job.js'
import { hostsInService, joinOn, leaveOn } from './storage-domain-steps.js'
import type { JobWorld } from './world.js'

// Devices of a block storage domain. Every host sees a new device before the VG has it, and goes on seeing one that
// leaves until the VG has it no more: so no host ever misses a part.

export type DeviceChange = 'add' | 'resize' | 'remove'
export type ChangeDevice = {
  storageDomainId: string
  device: string
  change: DeviceChange
  /** The host that changes the VG. */
  hostId: string
  /** Hosts that use it meanwhile; none of a storage domain in maintenance. */
  hostIds: string[]
  before: StorageConnection
  after: StorageConnection
  changes: string[]
}

const { storage } = agentServices
export const wireChange = (change: DeviceChange) => {
  const names = {
    add: 'DEVICE_CHANGE_ADD',
    resize: 'DEVICE_CHANGE_RESIZE',
    remove: 'DEVICE_CHANGE_REMOVE'
  } as const
  return names[change]
}

export function changeDevice(world: JobWorld): JobTable<ChangeDevice, Tx> {
  const { hosts, store } = world
  const isResting = ({ hostIds }: Readonly<ChangeDevice>) => hostIds.length === 0

  const connectAll = async (act: Act<ChangeDevice>, connection: StorageConnection, part: string) => {
    const { storageDomainId, hostIds } = act.context
    const request = { storageDomainId, connection: wireConnection(connection) }
    await eachOf(hostIds, 16, async hostId => {
      if (hosts.isGone(hostId)) return
      await performTask(hosts, act, hostId, storage.ConnectStorageDomain, request, `${part}/${hostId}`)
    })
  }
  const plan = (act: Act<ChangeDevice>, hostId: string) => {
    const { storageDomainId, device, change } = act.context
    const request = { storageDomainId, device, change: wireChange(change) }
    return hosts.call(hostId, storage.PlanDevice, request, act.signal)
  }
  const alter = (act: Act<ChangeDevice>, change: DeviceChange, part: string) => {
    const { storageDomainId, device, hostId } = act.context
    const request = { storageDomainId, device, change: wireChange(change) }
    return performTask(hosts, act, hostId, storage.ChangeDevice, request, part)
  }

  return {
    kind: 'storage_domain.change_device',
    steps: [
      {
        name: 'chooseHosts',
        weight: 0,
        commit: (tx, { storageDomainId, hostId }) => {
          const inUse = storageDomain(tx, storageDomainId).phase === 'active'
          const others = hostsInService(tx).filter(id => id !== hostId)
          return { hostIds: inUse ? [hostId, ...others] : [] }
        }
      },
      {
        name: 'join',
        host: ({ hostId }) => hostId,
        run: async act => {
          const { storageDomainId, hostId, before } = act.context
          if (isResting(act.context)) await joinOn(world, act, hostId, storageDomainId, before)
        },
        undo: async act => {
          const { storageDomainId, hostId } = act.context
          if (isResting(act.context)) await leaveOn(world, act, hostId, storageDomainId)
        }
      },
      {
        name: 'show',
        run: async act => {
          const { change, after, hostId } = act.context
          if (change !== 'add') return
          const all = { ...act, context: { ...act.context, hostIds: usersOf(act.context) } }
          await connectAll(all, after, 'show')
          await plan(act, hostId)
        },
        undo: async act => {
          const { change, before } = act.context
          if (change !== 'add') return
          for (const hostId of usersOf(act.context)) await endTasks(hosts, act, hostId, `show/${hostId}`)
          await connectAll(
            { ...act, context: { ...act.context, hostIds: usersOf(act.context) } },
            before,
            'hide'
          )
        }
      },
      {
        name: 'look',
        // What has begun to move can only be moved to the end.
        pointOfNoReturn: ({ change }) => change === 'remove',
        run: async act => {
          const { change, hostId, hostIds } = act.context
          // A new size is seen by every host before anything lies there.
          if (change === 'resize') await eachOf(hostIds, 16, async id => void (await plan(act, id)))
          const { changes, obstacle, movedBytes } = await plan(act, hostId)
          if (obstacle !== '') throw new Fault('WRONG_STATE', obstacle)
          if (Number(movedBytes) > 0 && !isResting(act.context)) throw inUse(act.context)
          return { changes }
        }
      },
      {
        name: 'change',
        weight: 8,
        limit: null,
        host: ({ hostId }) => hostId,
        run: async act => void (await alter(act, act.context.change, '')),
        undo: async act => {
          await endTasks(hosts, act, act.context.hostId)
          if (act.context.change === 'add') await alter(act, 'remove', 'back')
        }
      },
      {
        name: 'publish',
        weight: 0,
        pointOfNoReturn: true,
        commit: (tx, { storageDomainId, after }) =>
          updateStorageDomain(tx, storageDomainId, { connectionJson: JSON.stringify(after) })
      },
      {
        name: 'hide',
        run: async act => {
          const { change, after, hostId, storageDomainId } = act.context
          if (change === 'remove') {
            // A host that does not answer now is told when it joins again.
            await connectAll(act, after, 'hide').catch((error: unknown) => {
              if (act.signal.aborted) throw error
              act.log.warn({ err: error, storageDomain: storageDomainId }, 'a host was not told of it')
            })
          }
          if (isResting(act.context)) await leaveOn(world, act, hostId, storageDomainId, 'end')
        }
      }
    ],
    result: ({ device, changes }) => ({ device, changes: changes.join('\n') })
  }

  function inUse({ storageDomainId }: Readonly<ChangeDevice>): Fault {
    const { name } = storageDomain(store.read, storageDomainId)
    const text = `volumes lie on it: put storage domain ${name} into maintenance to move them`
    return new Fault('WRONG_STATE', text)
  }
}

/** All that have it open now. */
const usersOf = ({ hostId, hostIds }: Readonly<ChangeDevice>) => (hostIds.length > 0 ? hostIds : [hostId])
