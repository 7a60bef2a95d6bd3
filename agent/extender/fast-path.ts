import type { RpcClient } from '../../common/client.js'
import type { Clock } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import { type Bytes, bytes, seconds } from '../../common/units.js'
import { agentServices } from '../../proto/load.js'
import type { Wanted } from './ways.js'

const limit = seconds(10)

/** Requests straight from agent to agent. Connections stay open: a handshake would cost more than the extend. */
export class FastPath {
  readonly #connect: (hostId: string) => RpcClient
  readonly #clock: Clock
  readonly #clients = new Map<string, RpcClient>()

  constructor(connect: (hostId: string) => RpcClient, clock: Clock) {
    this.#connect = connect
    this.#clock = clock
  }

  async extend(
    hostId: string,
    { storageDomainId, volumeId, to }: Wanted,
    signal: AbortSignal
  ): Promise<Bytes> {
    const request = { requestId: this.#clock.newId(), storageDomainId, volumeId, sizeBytes: String(to) }
    return this.#call(hostId, async client => {
      const { sizeBytes } = await client.call(agentServices.peer.ExtendVolume, request, signal, limit)
      return bytes(Number(sizeBytes))
    })
  }

  async refresh(
    hostId: string,
    { storageDomainId, volumeId }: Omit<Wanted, 'to'>,
    signal: AbortSignal
  ): Promise<Bytes> {
    const request = { requestId: this.#clock.newId(), storageDomainId, volumeId }
    return this.#call(hostId, async client => {
      const { sizeBytes } = await client.call(agentServices.peer.RefreshVolume, request, signal, limit)
      return bytes(Number(sizeBytes))
    })
  }

  /** Asks the manager for its lease; whether it is free now. */
  async handOver(
    hostId: string,
    storageDomainId: string,
    isForGood: boolean,
    signal: AbortSignal
  ): Promise<boolean> {
    const request = { requestId: this.#clock.newId(), storageDomainId, forGood: isForGood }
    return this.#call(hostId, async client => {
      return (await client.call(agentServices.peer.HandOverManager, request, signal, limit)).free
    })
  }

  close(): void {
    for (const client of this.#clients.values()) client.close()
    this.#clients.clear()
  }

  async #call<T>(hostId: string, ask: (client: RpcClient) => Promise<T>): Promise<T> {
    const client = this.#clients.get(hostId) ?? this.#connect(hostId)
    this.#clients.set(hostId, client)
    try {
      return await ask(client)
    } catch (error) {
      // Its address or our certificate may be another by now.
      if (Fault.is(error, 'HOST_UNREACHABLE') || Fault.is(error, 'UNAUTHENTICATED')) {
        this.#clients.delete(hostId)
        client.close()
      }
      throw error
    }
  }
}
