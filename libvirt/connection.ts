import { createConnection, type Socket } from 'node:net'
import { orAborted } from '../common/deadline.js'
import { Fault } from '../common/fault.js'
import { connectionLost, faultOf, notConnected } from './errors.js'
import {
  decodePacket,
  encodePacket,
  keepaliveProcedures,
  packetStatus,
  packetTypes,
  PacketSplitter,
  programs,
  type Packet
} from './packet.js'
import type { Procedure } from './procedure.js'
import { procedures } from './procedures.js'
import { virError } from './structs.js'
import { decode, encode, XdrError } from './xdr.js'

export type ConnectionOptions = {
  socketPath: string
  uri: string
  /** An event of libvirt, still as bytes. */
  onMessage?: (program: number, procedure: number, payload: Buffer) => void
}
/** Who takes the packets of a stream. */
export type StreamPackets = { onPacket: (packet: Packet) => void; onLost: (why: Error) => void }

type Settle = { resolve: (payload: Buffer) => void; reject: (why: unknown) => void }

/**
 * One socket to libvirtd, authenticated and opened. Replies come in any order and are matched by serial.
 * There is no cancel and no deadline here: a call ends with its reply or with the connection
 * (call-slots.ts knows about patience).
 */
export class Connection {
  readonly #socket: Socket
  readonly #onMessage: NonNullable<ConnectionOptions['onMessage']>
  readonly #splitter = new PacketSplitter()
  readonly #calls = new Map<number, Settle>()
  readonly #streams = new Map<number, StreamPackets>()
  #serial = 0
  #pingsUnanswered = 0
  #lost: Fault | null = null
  /** Resolves, never rejects, when the socket is gone. */
  readonly closed: Promise<Fault>

  static async open(options: ConnectionOptions, signal: AbortSignal): Promise<Connection> {
    const socket = createConnection(options.socketPath)
    const connection = new Connection(socket, options)
    try {
      await orAborted(connection.#connected(), signal)
      await orAborted(connection.#handshake(options.uri), signal)
      return connection
    } catch (error) {
      connection.close()
      throw error
    }
  }

  private constructor(socket: Socket, { onMessage = () => {} }: ConnectionOptions) {
    this.#socket = socket
    this.#onMessage = onMessage
    this.closed = new Promise(resolve => {
      socket.on('error', error => this.#lose(error))
      socket.on('close', () => resolve(this.#lose()))
    })
    socket.on('data', chunk => this.#onData(chunk))
  }

  get outstanding(): number {
    return this.#calls.size
  }

  async call<A, R>(procedure: Procedure<A, R>, args: A): Promise<R> {
    const payload = encode(procedure.args, args)
    if (this.#lost) throw notConnected(this.#lost)
    return this.#decoded(procedure, await this.#send(procedure, this.#nextSerial(), payload))
  }

  /** A call that opens a stream. The serial is known at once: packets may come right behind the reply. */
  callStream<A, R>(
    procedure: Procedure<A, R>,
    args: A,
    packets: StreamPackets
  ): { serial: number; result: Promise<R> } {
    const payload = encode(procedure.args, args)
    const serial = this.#nextSerial()
    if (this.#lost) return { serial, result: Promise.reject(notConnected(this.#lost)) }
    this.#streams.set(serial, packets)
    const reply = this.#send(procedure, serial, payload)
    return { serial, result: reply.then(bytes => this.#decoded(procedure, bytes)) }
  }

  /** A packet of a stream. `sent` is called when the socket has taken it: that is the back-pressure. */
  sendStream(
    { program, number }: Procedure<unknown, unknown>,
    serial: number,
    status: number,
    data: Buffer | undefined,
    sent: (error?: Error | null) => void = () => {}
  ): void {
    if (this.#lost) return sent(this.#lost)
    const header = { program, procedure: number, type: packetTypes.STREAM, serial, status }
    this.#socket.write(encodePacket(header, data), sent)
  }

  /** Stops reading from libvirtd: everything on this connection stands still, replies and events too. */
  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** Asks for a sign of life; gives how many earlier questions have had no answer. */
  ping(): number {
    this.#keepalive(keepaliveProcedures.PING)
    return this.#pingsUnanswered++
  }

  close(why?: unknown): void {
    this.#lose(why)
    this.#socket.destroy()
  }

  /** Says goodbye, so that libvirtd need not find out. */
  async leave(signal: AbortSignal): Promise<void> {
    try {
      await orAborted(this.call(procedures.connectClose, {}), signal)
    } catch {
      // It closes either way.
    }
    this.close()
  }

  #connected(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.once('connect', resolve)
      void this.closed.then(why => reject(notConnected(why.cause ?? why)))
    })
  }

  async #handshake(uri: string): Promise<void> {
    // Mandatory: with type none this very call is what authenticates.
    const { types } = await this.call(procedures.authList, {})
    if (types.length > 0 && !types.includes(0)) {
      if (!types.includes(2)) throw new Fault('UNSUPPORTED', 'libvirtd asks for SASL on its socket')
      const { complete } = await this.call(procedures.authPolkit, {})
      if (complete !== 1) throw new Fault('LIBVIRT_UNAVAILABLE', 'polkit does not let us use libvirtd')
    }
    await this.call(procedures.connectOpen, { name: uri, flags: 0 })
  }

  #nextSerial(): number {
    do this.#serial = this.#serial === 0xffffffff ? 1 : this.#serial + 1
    while (this.#calls.has(this.#serial) || this.#streams.has(this.#serial))
    return this.#serial
  }

  #send({ program, number }: Procedure<unknown, unknown>, serial: number, payload: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#calls.set(serial, { resolve, reject })
      const header = { program, procedure: number, type: packetTypes.CALL, serial, status: packetStatus.OK }
      this.#socket.write(encodePacket(header, payload))
    })
  }

  /** A reply that does not fit the table leaves us without a common language: the connection ends. */
  #decoded<R>({ result, number }: Procedure<unknown, R>, payload: Buffer): R {
    try {
      return decode(result, payload)
    } catch (error) {
      this.close(error)
      throw new Fault('LIBVIRT_FAILED', `the reply to procedure ${number} cannot be read`, { cause: error })
    }
  }

  #onData(chunk: Buffer): void {
    try {
      for (const bytes of this.#splitter.push(chunk)) this.#onPacket(decodePacket(bytes))
    } catch (error) {
      if (!(error instanceof XdrError)) throw error
      this.close(error)
    }
  }

  #onPacket(packet: Packet): void {
    const { program, procedure, type, serial, payload } = packet
    if (program === programs.KEEPALIVE) return this.#onKeepalive(procedure)
    if (type === packetTypes.REPLY) return this.#onReply(packet)
    if (type === packetTypes.MESSAGE) return this.#onMessage(program, procedure, payload)
    if (type === packetTypes.STREAM || type === packetTypes.STREAM_HOLE) {
      this.#streams.get(serial)?.onPacket(packet)
    }
  }

  #onReply({ serial, status, payload }: Packet): void {
    const call = this.#calls.get(serial)
    if (!call) return
    // Before the call is forgotten: an error that cannot be read ends the connection, and the call with it.
    const failure = status === packetStatus.ERROR ? faultOf(decode(virError, payload)) : null
    this.#calls.delete(serial)
    if (failure) call.reject(failure)
    else call.resolve(payload)
  }

  #onKeepalive(procedure: number): void {
    if (procedure === keepaliveProcedures.PING) this.#keepalive(keepaliveProcedures.PONG)
    else this.#pingsUnanswered = 0
  }

  #keepalive(procedure: number): void {
    if (this.#lost) return
    const header = { program: programs.KEEPALIVE, procedure, type: packetTypes.MESSAGE, serial: 0, status: 0 }
    this.#socket.write(encodePacket(header))
  }

  #lose(cause?: unknown): Fault {
    if (this.#lost) return this.#lost
    const lost = connectionLost(cause)
    this.#lost = lost
    for (const call of this.#calls.values()) call.reject(lost)
    for (const stream of this.#streams.values()) stream.onLost(lost)
    this.#calls.clear()
    this.#streams.clear()
    return lost
  }
}
