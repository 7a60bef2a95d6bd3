import { Duplex } from 'node:stream'
import type { Connection } from './connection.js'
import { connectionLost, faultOf } from './errors.js'
import { maxStreamData, packetStatus, packetTypes, type Packet } from './packet.js'
import type { Procedure } from './procedure.js'
import { virError } from './structs.js'
import { decode } from './xdr.js'

/**
 * Data of a console, a screenshot or a volume, on a connection of its own: a slow reader stops the socket,
 * and that is the only back-pressure the protocol has.
 *
 * Download ends with an empty packet of libvirtd, which we confirm. Upload ends with `end()`; it is done
 * when libvirtd has confirmed it ('finish'). `destroy()` aborts.
 */
export class LibvirtStream extends Duplex {
  readonly #connection: Connection
  readonly #procedure: Procedure<unknown, unknown>
  #serial: number | null = null
  #finish: ((error?: Error | null) => void) | null = null
  #isOver = false

  constructor(connection: Connection, procedure: Procedure<unknown, unknown>) {
    super({ allowHalfOpen: true, readableHighWaterMark: 2 ** 20 })
    this.#connection = connection
    this.#procedure = procedure
  }

  open<A, R>(procedure: Procedure<A, R>, args: A): Promise<R> {
    const packets = { onPacket: this.#onPacket, onLost: this.#onLost }
    const { result, serial } = this.#connection.callStream(procedure, args, packets)
    this.#serial = serial
    return result
  }

  override _read(): void {
    this.#connection.resume()
  }

  override _write(data: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    if (data.length <= maxStreamData) return this.#send(packetStatus.CONTINUE, data, done)
    this.#send(packetStatus.CONTINUE, data.subarray(0, maxStreamData), error => {
      if (error) done(error)
      else this._write(data.subarray(maxStreamData), _encoding, done)
    })
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#isOver) return done()
    this.#finish = done
    this.#send(packetStatus.OK)
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.#isOver) this.#send(packetStatus.ERROR)
    this.#isOver = true
    this.#connection.close()
    done(error)
  }

  readonly #onPacket = ({ type, status, payload }: Packet): void => {
    if (type === packetTypes.STREAM_HOLE) return
    if (status === packetStatus.ERROR) return this.#fail(faultOf(decode(virError, payload)))
    if (status === packetStatus.OK) return this.#over()
    if (payload.length > 0) {
      if (!this.push(payload)) this.#connection.pause()
      return
    }
    this.#send(packetStatus.OK)
  }

  readonly #onLost = (why: Error): void => {
    if (!this.#isOver) this.#fail(why)
  }

  /** libvirtd has confirmed the end, of whichever direction. */
  #over(): void {
    this.#isOver = true
    this.push(null)
    this.#finish?.()
    this.#finish = null
    // A download leaves our own side open; nothing can be written any more.
    if (!this.writableEnded) this.end()
  }

  #fail(why: Error): void {
    this.#isOver = true
    this.destroy(why)
  }

  #send(status: number, data?: Buffer, sent?: (error?: Error | null) => void): void {
    if (this.#serial === null) return sent?.(connectionLost())
    this.#connection.sendStream(this.#procedure, this.#serial, status, data, sent)
  }
}
