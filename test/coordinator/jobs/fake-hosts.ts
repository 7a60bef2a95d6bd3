import type { Method } from '../../../common/client.js'
import type { Hosts, TaskResult } from '../../../coordinator/jobs/hosts.js'
import { service } from '../../../proto/load.js'
import type { FakeWorld } from './fake-world.js'

type Definition = Record<string, { path: string; requestDeserialize(bytes: Buffer): object }>
const definitions: Definition[] = ['VmService', 'StorageService', 'HostService'].map(
  name => service(`drover.agent.v1.${name}`) as unknown as Definition
)

/** A request as the host would read it: what the contract does not know is lost on the way. */
const asReceived = <Q, R>({ path, requestSerialize }: Method<Q, R>, request: Q) =>
  requestOf(path, requestSerialize(request))

export function requestOf(path: string, bytes: Buffer): Record<string, unknown> {
  const found = definitions.flatMap(Object.values).find(method => method.path === path)
  if (!found) throw new TypeError(`no such method: ${path}`)
  return found.requestDeserialize(bytes) as Record<string, unknown>
}

export const verbOf = (path: string) => path.slice(path.lastIndexOf('/') + 1)

/** Hosts of a fake world, in the same process: every request still goes through its wire form. */
export function fakeHosts(world: FakeWorld): Hosts {
  return {
    call: async <Q, R>(hostId: string, method: Method<Q, R>, request: Q, signal: AbortSignal) => {
      signal.throwIfAborted()
      return answer(world, hostId, verbOf(method.path), asReceived(method, request)) as R
    },
    runTask: async <Q, T>(
      hostId: string,
      method: Method<Q, T>,
      request: Q,
      { signal }: { signal: AbortSignal }
    ) => {
      signal.throwIfAborted()
      return world.task(hostId, verbOf(method.path), asReceived(method, request)) as TaskResult
    },
    isGone: hostId => world.isGone(hostId),
    endTask: async hostId => void world.host(hostId)
  }
}

/** Reads, and mutations that answer at once. */
export function answer(
  world: FakeWorld,
  hostId: string,
  verb: string,
  request: Record<string, unknown>
): object {
  const text = (name: string) => String(request[name])
  switch (verb) {
    case 'GetVm': {
      const vm = world.vm(hostId, text('vmId'))
      const status = `VM_STATUS_${vm.status.toUpperCase()}`
      return { ...vm, status, vmGeneration: String(vm.generation), failure: null }
    }
    case 'GetHost':
      world.host(hostId)
      return { hostId, capabilities: null, stats: null }
    case 'ListVolumes':
      return {
        volumes: world.volumes(text('storageDomainId'), text('imageId')).map(volume => ({
          ...volume,
          role: `VOLUME_ROLE_${volume.role}`,
          legality: 'VOLUME_LEGALITY_LEGAL',
          allocatedBytes: '0',
          generation: 0,
          description: ''
        })),
        nextPageToken: ''
      }
    case 'PlanDevice':
      world.host(hostId)
      return { changes: [`${text('change')} ${text('device')}`], obstacle: '', movedBytes: '0' }
    case 'DiscoverStorageDomains': {
      world.host(hostId)
      return {
        storageDomains: [...world.storage].map(([storageDomainId, domain]) => ({
          storageDomainId,
          health: 'STORAGE_DOMAIN_HEALTH_INACTIVE',
          metadata: {
            description: domain.description,
            version: 5,
            type: 'POSIXFS',
            dataCenterId: domain.dataCenterId,
            blockSize: 512,
            alignment: '1048576',
            ioTimeoutSeconds: 10
          },
          totalBytes: '0',
          freeBytes: '0'
        }))
      }
    }
    default:
      return world.task(hostId, verb, request)
  }
}
