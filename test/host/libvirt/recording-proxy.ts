import { createConnection, createServer, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import { PacketSplitter } from '../../../libvirt/packet.js'

/** Stands between a client and libvirtd, hands every byte on, and keeps the packets of both directions. */
export class RecordingProxy {
  readonly packets: Buffer[] = []
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  static async start(path: string, upstream: string): Promise<RecordingProxy> {
    const proxy = new RecordingProxy(upstream)
    proxy.#server.listen(path)
    await once(proxy.#server, 'listening')
    return proxy
  }

  private constructor(upstream: string) {
    this.#server = createServer({ allowHalfOpen: true }, client => {
      const daemon = createConnection({ path: upstream, allowHalfOpen: true })
      this.#hand(client, daemon)
      this.#hand(daemon, client)
    })
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #hand(from: Socket, to: Socket): void {
    const splitter = new PacketSplitter()
    this.#sockets.add(from)
    from.on('data', chunk => {
      to.write(chunk)
      this.packets.push(...splitter.push(chunk).map(packet => Buffer.from(packet)))
    })
    from.on('end', () => to.end())
    from.on('error', () => to.destroy())
    from.on('close', () => this.#sockets.delete(from))
  }
}
