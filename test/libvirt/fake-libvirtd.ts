import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { eventMessages, type EventMessage } from '../../libvirt/event-messages.js'
import {
  decodePacket,
  encodePacket,
  keepaliveProcedures,
  packetStatus,
  PacketSplitter,
  packetTypes,
  programs,
  type Packet
} from '../../libvirt/packet.js'
import type { Procedure } from '../../libvirt/procedure.js'
import { procedures as p } from '../../libvirt/procedures.js'
import { virError } from '../../libvirt/structs.js'
import { decode, encode } from '../../libvirt/xdr.js'

type Handler = (args: unknown) => unknown
type Row = Procedure<unknown, unknown>
type Client = { socket: Socket; outstanding: number; unread: Packet[]; id: number }
export type FakeDomain = { uuid: string; name: string; state: number; reason: number; persistent: boolean }

/** What a handler throws to answer with an error of libvirt. */
export class FakeVirError extends Error {
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

const rows = new Map(Object.values(p).map(row => [`${row.program}/${row.number}`, row as Row]))
const busyAt = 5

/**
 * libvirtd as a small world: the table used backwards, over a real socket. It stops reading a client that has five
 * calls outstanding, keepalives too, like the real one. A test answers, holds and drops as it likes.
 */
export class FakeLibvirtd {
  readonly domains = new Map<string, FakeDomain>()
  /** Every call in the order in which it was taken up, with the number of its connection. */
  readonly calls: Array<{ client: number; procedure: Row; args: unknown }> = []
  readonly registered: number[] = []
  pongs = true
  /** Bytes instead of the next replies: for the fuzzer. */
  mangle: (reply: Buffer) => Buffer = reply => reply
  readonly path: string
  readonly #handlers = new Map<Row, Handler>()
  readonly #clients = new Set<Client>()
  #server: Server
  #ids = 0

  static async start(): Promise<FakeLibvirtd> {
    const daemon = new FakeLibvirtd(join(await mkdtemp(join(tmpdir(), 'drover-fake-')), 'socket'))
    await daemon.listen()
    return daemon
  }

  private constructor(path: string) {
    this.path = path
    this.#server = createServer(socket => this.#onClient(socket))
    this.on(p.authList, () => ({ types: [0] }))
    this.on(p.connectOpen, () => ({}))
    this.on(p.connectClose, () => ({}))
    this.on(p.connectGetLibVersion, () => ({ libVer: 9_000_000n }))
    this.on(p.connectDomainEventCallbackRegisterAny, ({ eventId }) => {
      this.registered.push(eventId)
      return { callbackId: this.registered.length - 1 }
    })
    this.on(p.connectListAllDomains, ({ flags }) => {
      const wanted = [...this.domains.values()].filter(
        ({ persistent }) => flags === 0 || (flags & 4 && persistent) || (flags & 8 && !persistent)
      )
      return { domains: wanted.map(({ uuid, name }) => ({ uuid, name, id: 1 })), ret: wanted.length }
    })
    this.on(p.domainGetState, ({ dom }) => {
      const found = this.domains.get(dom.uuid)
      if (!found) throw new FakeVirError(42, 'Domain not found')
      return { state: found.state, reason: found.reason }
    })
  }

  /** How many clients are connected. */
  get connections(): number {
    return this.#clients.size
  }

  on<A, R>(procedure: Procedure<A, R>, handler: (args: A) => R | Promise<R>): void {
    this.#handlers.set(procedure as Row, handler as Handler)
  }

  /** Calls of this kind get no reply until the result is called, which answers all so far. */
  hold<A, R>(procedure: Procedure<A, R>, reply: R): () => void {
    const waiting: Array<() => void> = []
    this.on(procedure, () => new Promise<R>(resolve => waiting.push(() => resolve(reply))))
    return () => {
      for (const answer of waiting.splice(0)) answer()
    }
  }

  emit<T>(message: EventMessage<T>, fields: T): void {
    const { program, number, codec } = message
    const header = { program, procedure: number, type: packetTypes.MESSAGE, serial: 0, status: 0 }
    for (const { socket } of this.#clients) socket.write(encodePacket(header, encode(codec, fields)))
  }

  lifecycle(uuid: string, event: number, detail: number): void {
    const dom = { uuid, name: this.domains.get(uuid)?.name ?? '', id: 1 }
    this.emit(eventMessages.lifecycle, { callbackId: 0, dom, event, detail })
  }

  /** Every connection breaks. */
  drop(): void {
    for (const { socket } of this.#clients) socket.destroy()
  }

  /** Refuses connections until `listen`. */
  async stop(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.drop()
    await closed
  }

  async listen(): Promise<void> {
    this.#server = createServer(socket => this.#onClient(socket))
    this.#server.listen(this.path)
    await once(this.#server, 'listening')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server.listening) await this.stop()
    await rm(join(this.path, '..'), { recursive: true, force: true })
  }

  #onClient(socket: Socket): void {
    const client: Client = { socket, outstanding: 0, unread: [], id: this.#ids++ }
    const splitter = new PacketSplitter()
    this.#clients.add(client)
    socket.on('data', chunk => {
      client.unread.push(...splitter.push(chunk).map(decodePacket))
      this.#read(client)
    })
    socket.on('error', () => {})
    socket.on('close', () => this.#clients.delete(client))
  }

  #read(client: Client): void {
    while (client.outstanding < busyAt) {
      const packet = client.unread.shift()
      if (!packet) return
      if (packet.program === programs.KEEPALIVE) this.#pong(client)
      else if (packet.type === packetTypes.CALL) void this.#answer(client, packet)
    }
  }

  async #answer(client: Client, { program, procedure, serial, payload }: Packet): Promise<void> {
    const row = rows.get(`${program}/${procedure}`)
    const header = { program, procedure, type: packetTypes.REPLY, serial, status: packetStatus.OK }
    client.outstanding++
    try {
      if (!row) throw new FakeVirError(39, `unknown procedure: ${procedure}`)
      const args = decode(row.args, payload)
      this.calls.push({ client: client.id, procedure: row, args })
      const handler = this.#handlers.get(row)
      if (!handler) throw new FakeVirError(3, `the fake has no procedure ${procedure}`)
      client.socket.write(this.mangle(encodePacket(header, encode(row.result, await handler(args)))))
    } catch (error) {
      const code = error instanceof FakeVirError ? error.code : 1
      const reply = encode(virError, { ...noError, code, message: String(error) })
      client.socket.write(encodePacket({ ...header, status: packetStatus.ERROR }, reply))
    } finally {
      client.outstanding--
      this.#read(client)
    }
  }

  #pong({ socket }: Client): void {
    if (!this.pongs) return
    const { PONG } = keepaliveProcedures
    const header = { program: programs.KEEPALIVE, procedure: PONG, type: 2, serial: 0, status: 0 }
    socket.write(encodePacket(header))
  }
}

const noError = {
  code: 0,
  domain: 10,
  message: null,
  level: 2,
  dom: null,
  str1: null,
  str2: null,
  str3: null,
  int1: 0,
  int2: 0,
  net: null
}
