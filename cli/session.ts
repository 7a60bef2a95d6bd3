import type { Command } from 'commander'
import { RpcClient, usualDeadline, type Method } from '../common/client.js'
import { systemClock } from '../common/clock.js'
import { seconds, type Seconds } from '../common/units.js'
import { terminal, type Out } from './print.js'
import { readSettings, targetOf, type Settings } from './settings.js'

/** Options that every command takes. */
export type GlobalOptions = Settings & { json?: boolean; wait?: boolean; timeout?: number; quiet?: boolean }

/** One run of a command: a connection, a signal, and where output goes. */
export class Session implements Disposable {
  readonly client: RpcClient
  readonly out: Out
  readonly options: GlobalOptions
  readonly signal: AbortSignal
  readonly #deadline: Seconds

  constructor(options: GlobalOptions, client: RpcClient, out: Out, signal: AbortSignal) {
    this.client = client
    this.out = out
    this.options = options
    this.signal = signal
    this.#deadline = options.timeout === undefined ? usualDeadline : seconds(options.timeout)
  }

  /** Whether commands that begin a job wait for its end: as asked, else when a person looks on. */
  get waits(): boolean {
    return this.options.wait ?? this.out.interactive
  }

  call<Q, R>(method: Method<Q, R>, request: Q): Promise<R> {
    return this.client.call(method, request, this.signal, this.#deadline)
  }

  stream<Q, R>(method: Method<Q, R>, request: Q): AsyncGenerator<R> {
    return this.client.stream(method, request, this.signal)
  }

  /** A fresh request id: a call repeated by the network has one effect. */
  requestId(): string {
    return systemClock.newId()
  }

  [Symbol.dispose](): void {
    this.client.close()
  }
}

/** Runs an action with a session on the coordinator, made from the options of the command. */
export function withSession<Args extends unknown[]>(
  action: (session: Session, ...args: Args) => Promise<void>
): (...args: [...Args, Command]) => Promise<void> {
  return async (...args) => {
    const command = args.at(-1) as Command
    const options = command.optsWithGlobals<GlobalOptions>()
    const target = targetOf(readSettings(options, process.env), ['COORDINATOR'])
    using session = new Session(options, new RpcClient(target, systemClock), terminal, interrupted())
    await action(session, ...(args.slice(0, -1) as unknown as Args))
  }
}

let interruption: AbortController | null = null

/** Aborted by Ctrl-C. */
export function interrupted(): AbortSignal {
  if (!interruption) {
    const abort = (interruption = new AbortController())
    for (const name of ['SIGINT', 'SIGTERM'] as const) {
      process.once(name, () => abort.abort(new Interrupted('interrupted')))
    }
  }
  return interruption.signal
}

/** Ctrl-C: not a failure of anything. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted'
}
