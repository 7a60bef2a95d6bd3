import type { Fields } from '../../common/fields.js'
import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import { seconds } from '../../common/units.js'
import type { StorageServiceDefinition } from '../../proto/generated/types/drover/agent/v1/StorageService.js'
import type { SectorSize } from '../../storage/format/storage-domain-metadata.js'
import { stampOf } from '../gate.js'
import type { ManagerVerbs } from '../manager/set-up.js'
import type { ImageTasks } from '../image-tasks.js'
import type { LeaseTasks } from '../lease-tasks.js'
import { readOvf } from '../ovf.js'
import type { Requests } from '../requests.js'
import type { Storage } from '../storage.js'
import { taskMessage } from '../task-message.js'
import type { Tasks } from '../tasks.js'
import { conversionHandlers } from './storage-conversion.js'
import { deviceHandlers } from './storage-devices.js'
import { doctorHandlers } from './storage-doctor.js'
import { imageHandlers } from './storage-images.js'
import { leaseHandlers } from './storage-leases.js'
import { managerHandlers } from './storage-manager.js'
import { connectionOf } from './storage-fields.js'
import { discoveredMessage, foundVmMessage, stateMessage } from './storage-messages.js'
import { commandOf, exclusive } from './storage-tasks.js'

export type StorageVerbs = {
  storage: Storage
  images: ImageTasks
  leases: LeaseTasks
  tasks: Tasks
  requests: Requests
  manager: Pick<ManagerVerbs, 'prefer'>
  /** Volumes and images that unfinished tasks work on: in progress, not broken. */
  intents(): string[]
}

const kind = (method: string) => `StorageService.${method}`

/** Storage of this host: translates, locks, and hands to the tasks. */
export function storageService(verbs: StorageVerbs): Handlers<StorageServiceDefinition> {
  return {
    ...storageDomainHandlers(verbs),
    ...readHandlers(verbs),
    ...managerHandlers(verbs),
    ...conversionHandlers(verbs),
    ...deviceHandlers(verbs),
    ...doctorHandlers(verbs),
    ...imageHandlers(verbs),
    ...leaseHandlers(verbs)
  }
}

function storageDomainHandlers({ storage, tasks }: StorageVerbs) {
  /** A command that names a storage domain and no more. */
  const command = (
    method: string,
    work: (id: string, signal: AbortSignal) => Promise<Record<string, string> | void>
  ) =>
    unary({
      check: commandOf,
      method: async ({ stamp, storageDomainId: id }) => {
        const plan = {
          stamp,
          kind: kind(method),
          content: { id },
          objects: { storageDomain: id },
          locks: exclusive(id)
        }
        return taskMessage(
          await tasks.run({ ...plan, work: async ({ signal }) => (await work(id, signal)) ?? {} })
        )
      }
    })

  return {
    connectStorageDomain: unary({
      check: fields => ({ ...commandOf(fields), connection: connectionOf(fields) }),
      method: async ({ stamp, storageDomainId: id, connection }) => {
        const plan = { stamp, kind: kind('ConnectStorageDomain'), content: { id, connection } }
        const work = async (signal: AbortSignal) => (await storage.connect(id, connection, signal), {})
        const rest = { objects: { storageDomain: id }, locks: exclusive(id) }
        return taskMessage(await tasks.run({ ...plan, ...rest, work: ({ signal }) => work(signal) }))
      }
    }),
    createStorageDomain: unary({
      check: newStorageDomainOf,
      method: async ({ stamp, ...request }) => {
        const id = request.storageDomainId
        const plan = { stamp, kind: kind('CreateStorageDomain'), content: request }
        const work = async (signal: AbortSignal) => (await storage.create(request, signal), {})
        const rest = { objects: { storageDomain: id }, locks: exclusive(id) }
        return taskMessage(await tasks.run({ ...plan, ...rest, work: ({ signal }) => work(signal) }))
      }
    }),
    attachStorageDomain: unary({
      check: fields => ({ ...commandOf(fields), dataCenterId: fields.uuid('dataCenterId') }),
      method: async ({ stamp, storageDomainId: id, dataCenterId }) => {
        const plan = { stamp, kind: kind('AttachStorageDomain'), content: { id, dataCenterId } }
        const work = async (signal: AbortSignal) => (await storage.attach(id, dataCenterId, signal), {})
        const rest = { objects: { storageDomain: id }, locks: exclusive(id) }
        return taskMessage(await tasks.run({ ...plan, ...rest, work: ({ signal }) => work(signal) }))
      }
    }),
    activateStorageDomain: unary({
      check: fields => ({ ...commandOf(fields), sanlockHostId: fields.integer('sanlockHostId', 1, 249) }),
      method: async ({ stamp, storageDomainId: id, sanlockHostId }) => {
        const plan = { stamp, kind: kind('ActivateStorageDomain'), content: { id, sanlockHostId } }
        const rest = { objects: { storageDomain: id }, locks: exclusive(id) }
        const task = await tasks.run({
          ...plan,
          ...rest,
          work: async ({ signal }) => {
            const { done, reported } = await storage.activate(id, sanlockHostId, signal)
            return { swept: done.join('\n'), reported: reported.join('\n') }
          }
        })
        return taskMessage(task)
      }
    }),
    deactivateStorageDomain: command('DeactivateStorageDomain', (id, signal) =>
      storage.deactivate(id, signal)
    ),
    disconnectStorageDomain: command('DisconnectStorageDomain', (id, signal) =>
      storage.disconnect(id, signal)
    ),
    detachStorageDomain: command('DetachStorageDomain', (id, signal) => storage.detach(id, signal)),
    formatStorageDomain: command('FormatStorageDomain', (id, signal) => storage.format(id, signal))
  }
}

/** Nothing here changes anything. */
function readHandlers({ storage, intents }: StorageVerbs) {
  return {
    listFoundVms: unary({
      check: fields => fields.uuid('storageDomainId'),
      method: async (id, { signal }) => {
        const found = await storage.ask(id, 'ovfStores', {}, signal)
        return { vms: found.map(({ id: vmId, ovf }) => foundVmMessage(readOvf(vmId, ovf))) }
      }
    }),
    discoverStorageDomains: unary({
      check: fields => connectionOf(fields),
      method: async (connection, { signal }) => {
        const found = await storage.discover(connection, signal)
        return { storageDomains: found.map(each => discoveredMessage(each, connection)) }
      }
    }),
    getStorageDomain: unary({
      check: fields => fields.uuid('storageDomainId'),
      method: async id => stateMessage(storage.state(id))
    }),
    listStorageDomains: unary({
      check: () => null,
      method: async () => ({ storageDomains: storage.states().map(stateMessage) })
    }),
    auditStorageDomain: unary({
      check: fields => fields.uuid('storageDomainId'),
      method: async (id, { signal }) => ({
        findings: await storage.ask(id, 'audit', { intents: intents() }, signal)
      })
    })
  }
}

function newStorageDomainOf(fields: Fields) {
  return {
    stamp: stampOf(fields),
    storageDomainId: fields.uuid('storageDomainId'),
    connection: connectionOf(fields),
    description: fields.name('description', 50),
    dataCenterId: fields.optionalUuid('dataCenterId'),
    ioTimeout: seconds(fields.integerOr('ioTimeoutSeconds', 10, 1, 40)),
    sectorSize: sectorSizeOf(fields)
  }
}

/** 0 takes what the storage has. */
function sectorSizeOf(fields: Fields): SectorSize | null {
  const size = fields.integerOr('blockSize', 0, 512, 4096)
  if (size === 0 || size === 512 || size === 4096) return size === 0 ? null : size
  return fields.refuse('blockSize', 'must be 512 or 4096', null)
}
