import { Fault } from '../../common/fault.js'
import type { Volume__Output } from '../../proto/generated/types/drover/agent/v1/Volume.js'
import { agentServices } from '../../proto/load.js'
import { wireConnection } from '../storage-connection.js'
import { diskOrNull, insertDisk, insertVolume } from '../store/disks.js'
import { bit, type Tx } from '../store/query.js'
import {
  deleteStorageDomainRow,
  storageDomain,
  updateStorageDomain,
  type StorageConnection
} from '../store/storage-domains.js'
import { endTasks, performTask, unlessAbsent } from './hosts.js'
import type { JobTable, Step } from './job.js'
import { disksIn, type FoundDisk } from './registered-disks.js'
import { dataCenterId, hostsInService, joinEverywhere, leaveOn } from './storage-domain-steps.js'
import type { JobWorld } from './world.js'

export type AddStorageDomain = {
  storageDomainId: string
  /** The host that formats it, or looks at it. */
  hostId: string
  /** The hosts on which it is activated: that one first. */
  hostIds: string[]
}

export type AdoptStorageDomain = AddStorageDomain & {
  connection: StorageConnection
  disks: FoundDisk[]
  /** It has format V4 and is brought to V5 first. */
  isConverted?: boolean
}

const { storage } = agentServices

/** Made by one host, then taken into service on all. */
export function createStorageDomain(world: JobWorld): JobTable<AddStorageDomain, Tx> {
  return {
    kind: 'storage_domain.create',
    steps: [reserve(), create(world), attach(world), chooseHosts(), activate(world), publish()],
    result: ({ storageDomainId }) => ({ storage_domain_id: storageDomainId })
  }
}

/** Taken into service where it lies: its data center changes, and nothing else on it. */
export function adoptStorageDomain(world: JobWorld): JobTable<AdoptStorageDomain, Tx> {
  return {
    kind: 'storage_domain.adopt',
    steps: [
      reserve(),
      convert(world),
      connect(world),
      attach(world),
      chooseHosts(),
      activate(world),
      readDisks(world),
      register(world)
    ],
    result: ({ storageDomainId, disks }) => ({
      storage_domain_id: storageDomainId,
      disks: String(disks.length)
    })
  }
}

const reserve = <C extends AddStorageDomain>(): Step<C, Tx> => ({
  name: 'reserve',
  weight: 0,
  atCreation: true,
  uncommit: (tx, { storageDomainId }) => deleteStorageDomainRow(tx, storageDomainId)
})

function create<C extends AddStorageDomain>({ hosts, store }: JobWorld): Step<C, Tx> {
  return {
    name: 'create',
    weight: 4,
    host: ({ hostId }) => hostId,
    run: async act => {
      const { storageDomainId, hostId } = act.context
      const { name, connection, ioTimeoutSeconds, blockSize } = storageDomain(store.read, storageDomainId)
      const request = {
        ...{ storageDomainId, description: name, dataCenterId: '', ioTimeoutSeconds, blockSize },
        connection: wireConnection(connection)
      }
      await performTask(hosts, act, hostId, storage.CreateStorageDomain, request)
    },
    undo: async act => {
      const { storageDomainId, hostId } = act.context
      if (hosts.isGone(hostId)) throw new Fault('HOST_UNREACHABLE', 'the host that formats it was stopped')
      await endTasks(hosts, act, hostId)
      const request = { storageDomainId }
      await unlessAbsent(performTask(hosts, act, hostId, storage.FormatStorageDomain, request, 'format'))
      await unlessAbsent(
        performTask(hosts, act, hostId, storage.DisconnectStorageDomain, request, 'disconnect')
      )
    }
  }
}

/** For good: nothing of V4 would be won by going back, and V5 is what oVirt uses too. */
function convert({ hosts }: JobWorld): Step<AdoptStorageDomain, Tx> {
  return {
    name: 'convert',
    host: ({ hostId }) => hostId,
    run: async act => {
      const { storageDomainId, hostId, connection, isConverted = false } = act.context
      if (!isConverted) return
      const request = { storageDomainId, connection: wireConnection(connection) }
      await performTask(hosts, act, hostId, storage.ConvertStorageDomain, request)
    },
    undo: async act => endTasks(hosts, act, act.context.hostId)
  }
}

function connect<C extends AdoptStorageDomain>({ hosts }: JobWorld): Step<C, Tx> {
  return {
    name: 'connect',
    host: ({ hostId }) => hostId,
    run: async act => {
      const { storageDomainId, hostId, connection } = act.context
      const request = { storageDomainId, connection: wireConnection(connection) }
      await performTask(hosts, act, hostId, storage.ConnectStorageDomain, request)
    },
    undo: async act => {
      const { storageDomainId, hostId } = act.context
      await endTasks(hosts, act, hostId)
      if (hosts.isGone(hostId)) return
      await unlessAbsent(
        performTask(hosts, act, hostId, storage.DisconnectStorageDomain, { storageDomainId }, 'disconnect')
      )
    }
  }
}

function attach<C extends AddStorageDomain>({ hosts, store }: JobWorld): Step<C, Tx> {
  return {
    name: 'attach',
    host: ({ hostId }) => hostId,
    run: async act => {
      const { storageDomainId, hostId } = act.context
      const request = { storageDomainId, dataCenterId: dataCenterId(store.read) }
      await performTask(hosts, act, hostId, storage.AttachStorageDomain, request)
    },
    undo: async act => {
      const { storageDomainId, hostId } = act.context
      await endTasks(hosts, act, hostId)
      await unlessAbsent(
        performTask(hosts, act, hostId, storage.DetachStorageDomain, { storageDomainId }, 'detach')
      )
    }
  }
}

const chooseHosts = <C extends AddStorageDomain>(): Step<C, Tx> => ({
  name: 'chooseHosts',
  weight: 0,
  commit: (tx, { storageDomainId, hostId }) => {
    updateStorageDomain(tx, storageDomainId, { phase: 'activating' })
    const others = hostsInService(tx).filter(id => id !== hostId)
    return { hostIds: [hostId, ...others] } as Partial<C>
  }
})

function activate<C extends AddStorageDomain>(world: JobWorld): Step<C, Tx> {
  return {
    name: 'activate',
    weight: 8,
    run: async act => joinEverywhere(world, act, act.context.hostIds, act.context.storageDomainId),
    undo: async act => {
      for (const hostId of act.context.hostIds) await leaveOn(world, act, hostId, act.context.storageDomainId)
    }
  }
}

const publish = <C extends AddStorageDomain>(): Step<C, Tx> => ({
  name: 'publish',
  weight: 0,
  pointOfNoReturn: true,
  commit: (tx, { storageDomainId }) => updateStorageDomain(tx, storageDomainId, { phase: 'active' })
})

/** All volumes of the storage domain, page by page, as disks. */
function readDisks({ hosts }: JobWorld): Step<AdoptStorageDomain, Tx> {
  return {
    name: 'readDisks',
    host: ({ hostId }) => hostId,
    run: async act => {
      const { storageDomainId, hostId } = act.context
      const volumes: Volume__Output[] = []
      for (let pageToken = ''; ;) {
        const request = { storageDomainId, imageId: '', pageSize: 1000, pageToken }
        const page = await hosts.call(hostId, storage.ListVolumes, request, act.signal)
        volumes.push(...page.volumes)
        pageToken = page.nextPageToken
        if (pageToken === '') return { disks: disksIn(volumes) }
      }
    }
  }
}

function register({ clock }: JobWorld): Step<AdoptStorageDomain, Tx> {
  return {
    name: 'register',
    weight: 0,
    pointOfNoReturn: true,
    commit: (tx, { storageDomainId, disks }) => {
      const now = clock.wall()
      for (const disk of disks) {
        if (diskOrNull(tx, disk.diskId)) continue
        const { diskId: id, name, leaf, problem, volumes, isIso = false } = disk
        const { capacity, format, allocation } = leaf
        insertDisk(tx, {
          ...{ id, name, storageDomainId, capacity, format, allocation, volumeId: leaf.volumeId, problem },
          ...{ status: problem === '' ? 'ok' : 'illegal', created: now, content: isIso ? 'iso' : 'data' }
        })
        for (const volume of volumes) {
          insertVolume(tx, {
            ...{ id: volume.volumeId, diskId: id, parentId: volume.parentId, capacity: volume.capacity },
            ...{ format: volume.format, allocation: volume.allocation, isShared: bit(volume.isShared) },
            created: now
          })
        }
      }
      updateStorageDomain(tx, storageDomainId, { phase: 'active' })
    }
  }
}
