import { Fault } from '../../common/fault.js'
import { bidi } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import type { PeerServiceDefinition } from '../../proto/generated/types/drover/agent/v1/PeerService.js'
import type { Incoming } from '../incoming.js'
import { tunnelTo } from '../migration-tunnel.js'

type Item = { open: { vmId: string; generation: number } } | { data: Buffer }

/** What agents ask of each other. The caller's certificate says which host it is. */
export function peerService(incoming: Incoming, libvirtSocket: string): Handlers<PeerServiceDefinition> {
  return {
    migrationTunnel: bidi({
      check: fields =>
        fields.oneof<Item>('message', {
          open: inner => ({
            open: inner.message('open', open => ({
              vmId: open.uuid('vmId'),
              generation: open.integer('vmGeneration', 0, Number.MAX_SAFE_INTEGER)
            }))
          }),
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
