import { within } from './deadline.js'
import type { Clock } from './clock.js'
import type { Logger } from './log.js'
import type { Run } from './run.js'
import { seconds } from './units.js'

type Environment = Record<string, string | undefined>

/** What systemd is told: ready, alive, stopping. Says nothing where systemd did not ask. */
export class Notify {
  readonly #run: Run
  readonly #clock: Clock
  readonly #log: Logger
  readonly #socket: string | undefined
  readonly #every: number
  #cancel = () => {}

  constructor(run: Run, clock: Clock, log: Logger, environment: Environment = process.env) {
    this.#run = run
    this.#clock = clock
    this.#log = log
    this.#socket = environment['NOTIFY_SOCKET']
    this.#every = Number(environment['WATCHDOG_USEC'] ?? 0) / 1e6 / 3
  }

  /** From here on a hung event loop is noticed, and the daemon restarted. */
  async ready(): Promise<void> {
    await this.#tell('READY=1')
    if (this.#every > 0) this.#beat()
  }

  async stopping(): Promise<void> {
    this.#cancel()
    await this.#tell('STOPPING=1')
  }

  #beat(): void {
    this.#cancel = this.#clock.after(seconds(this.#every), () => {
      void this.#tell('WATCHDOG=1')
      this.#beat()
    })
  }

  async #tell(state: string): Promise<void> {
    if (!this.#socket) return
    try {
      const signal = within(seconds(5), new AbortController().signal)
      await this.#run('systemd-notify', [state], signal, { env: { NOTIFY_SOCKET: this.#socket } })
    } catch (error) {
      this.#log.warn({ err: error, state }, 'systemd was not told')
    }
  }
}
