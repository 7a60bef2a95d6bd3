import { RpcClient } from '../common/client.js'
import type { Clock } from '../common/clock.js'
import { Fault } from '../common/fault.js'
import type { Certificates } from '../common/tls.js'
import type { IdentityFile } from './identity.js'

type Parts = { identity: IdentityFile; certificates: () => Certificates | null; clock: Clock }

/** Other agents, as clients of them: known from the coordinator's address book, believed by their certificate. */
export class Peers {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** A connection of its own, for one piece of work; whoever asks closes it. */
  connect(hostId: string): RpcClient {
    const { identity, certificates, clock } = this.#parts
    const own = certificates()
    if (own === null) throw new Fault('NOT_ENROLLED', 'this host is not enrolled')
    const { installationId } = identity.enrolled()
    const { address } = identity.peer(hostId)
    const target = {
      address,
      trust: own.trust,
      identity: own,
      expect: (server: { role: string; id: string; installation: string }) =>
        server.role === 'HOST' && server.id === hostId && server.installation === installationId
    }
    return new RpcClient(target, clock)
  }

  /** Name or address under which a host's certificate knows it. */
  hostName(hostId: string): string {
    const { address } = this.#parts.identity.peer(hostId)
    return address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '')
  }
}
