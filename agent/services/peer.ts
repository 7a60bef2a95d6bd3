import { Fault } from '../../common/fault.js'
import type { Fields } from '../../common/fields.js'
import { bidi, unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import { type Bytes, bytes } from '../../common/units.js'
import type { PeerServiceDefinition } from '../../proto/generated/types/drover/agent/v1/PeerService.js'
import type { Departure } from '../held-arrivals.js'
import type { Incoming } from '../incoming.js'
import { tunnelTo } from '../migration-tunnel.js'

/** What this host does for others' thin disks. */
export type PeerVolumes = {
  extend(
    storageDomainId: string,
    volume: { volumeId: string; to: Bytes },
    signal: AbortSignal
  ): Promise<Bytes>
  refresh(storageDomainId: string, volumeId: string, signal: AbortSignal): Promise<Bytes>
  /** Gives the manager's lease to another host; false while an operation here holds it. */
  handOver(
    storageDomainId: string,
    to: { hostId: string; isForGood: boolean },
    signal: AbortSignal
  ): Promise<boolean>
}

/** What hosts tell each other of a VM that moves. */
export type PeerVms = {
  letGo(hostId: string, vmId: string, generation: number, signal: AbortSignal): Promise<void>
  departureOf(vm: { vmId: string; generation: number }, signal: AbortSignal): Promise<Departure>
}

const most = bytes(Number.MAX_SAFE_INTEGER)

const vmOf = (fields: Fields) => ({
  vmId: fields.uuid('vmId'),
  generation: fields.integer('vmGeneration', 0, Number.MAX_SAFE_INTEGER)
})
const departures = {
  left: 'DEPARTURE_LEFT',
  stayed: 'DEPARTURE_STAYED',
  undecided: 'DEPARTURE_UNDECIDED'
} as const

type Item = { open: { vmId: string; generation: number } } | { data: Buffer }

/** What agents ask of each other. The caller's certificate says which host it is. */
export function peerService(
  incoming: Incoming,
  libvirtSocket: string,
  volumes: PeerVolumes,
  vms: PeerVms
): Handlers<PeerServiceDefinition> {
  return {
    ...volumeHandlers(volumes),
    letGoVm: unary({
      check: fields => ({ requestId: fields.uuid('requestId'), ...vmOf(fields) }),
      method: async ({ vmId, generation }, { signal, caller }) => {
        await vms.letGo(caller.id, vmId, generation, signal)
        return {}
      }
    }),
    askWhetherVmLeft: unary({
      check: vmOf,
      method: async (vm, { signal }) => {
        return { departure: departures[await vms.departureOf(vm, signal)] }
      }
    }),
    migrationTunnel: bidi({
      check: fields =>
        fields.oneof<Item>('message', {
          open: inner => ({ open: inner.message('open', vmOf) }),
          data: inner => ({ data: inner.bytes('data', 64 * 1024) })
        }) ?? { data: Buffer.alloc(0) },
      method: async function* (items, { signal, caller }) {
        const input = items[Symbol.asyncIterator]()
        const first = await input.next()
        if (first.done || !('open' in first.value)) {
          throw new Fault('INVALID_REQUEST', 'the first message must name the migration')
        }
        const { vmId, generation } = first.value.open
        const end = incoming.admit(caller.id, vmId, generation)
        for await (const data of tunnelTo(libvirtSocket, bytesOf(input), AbortSignal.any([signal, end]))) {
          yield { data }
        }
      }
    })
  }
}

async function* bytesOf(input: AsyncIterator<Item>): AsyncGenerator<Buffer> {
  for (let next = await input.next(); !next.done; next = await input.next()) {
    if ('data' in next.value) yield next.value.data
  }
}

/** Room for others' thin disks, and the role of giving it. */
function volumeHandlers(volumes: PeerVolumes) {
  return {
    extendVolume: unary({
      check: fields => ({
        requestId: fields.uuid('requestId'),
        storageDomainId: fields.uuid('storageDomainId'),
        volumeId: fields.uuid('volumeId'),
        to: fields.size('sizeBytes', most)
      }),
      method: async ({ storageDomainId, volumeId, to }, { signal }) => {
        return { sizeBytes: String(await volumes.extend(storageDomainId, { volumeId, to }, signal)) }
      }
    }),
    refreshVolume: unary({
      check: fields => ({
        requestId: fields.uuid('requestId'),
        storageDomainId: fields.uuid('storageDomainId'),
        volumeId: fields.uuid('volumeId')
      }),
      method: async ({ storageDomainId, volumeId }, { signal }) => {
        return { sizeBytes: String(await volumes.refresh(storageDomainId, volumeId, signal)) }
      }
    }),
    handOverManager: unary({
      check: fields => ({
        requestId: fields.uuid('requestId'),
        storageDomainId: fields.uuid('storageDomainId'),
        isForGood: fields.bool('forGood')
      }),
      method: async ({ storageDomainId, isForGood }, { signal, caller }) => {
        return { free: await volumes.handOver(storageDomainId, { hostId: caller.id, isForGood }, signal) }
      }
    })
  }
}
