import type { Connection } from './connection.js'
import type { Procedure } from './procedure.js'

/** One connection with its places. It opens when the first call needs it, and again after a loss. */
export class LibvirtLine {
  readonly limit: number
  readonly #connect: () => Promise<Connection>
  #connection: Promise<Connection> | null = null

  constructor(limit: number, connect: () => Promise<Connection>) {
    this.limit = limit
    this.#connect = connect
  }

  async call<A, R>(procedure: Procedure<A, R>, args: A): Promise<R> {
    this.#connection ??= this.use(this.#connect())
    return (await this.#connection).call(procedure, args)
  }

  /** Calls go over this connection until it is lost. */
  use(opening: Promise<Connection>): Promise<Connection> {
    this.#connection = opening
    const forget = () => {
      if (this.#connection === opening) this.#connection = null
    }
    opening.then(connection => connection.closed.then(forget), forget)
    return opening
  }

  close(): void {
    void this.#connection?.then(
      connection => connection.close(),
      () => {}
    )
    this.#connection = null
  }
}
