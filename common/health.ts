import { Fault } from './fault.js'
import { queue } from './queue.js'
import { serverStream, unary, type Handler } from './rpc.js'

type Status = 'SERVING' | 'NOT_SERVING' | 'SERVICE_UNKNOWN'

/** grpc.health.v1 for a daemon that is ready or not as a whole. */
export class Health {
  readonly #services: readonly string[]
  readonly #watchers = new Set<() => void>()
  #ready = false

  /** The list may still grow until the first call. */
  constructor(services: readonly string[]) {
    this.#services = services
  }

  get ready(): boolean {
    return this.#ready
  }

  set ready(ready: boolean) {
    this.#ready = ready
    for (const wake of this.#watchers) wake()
  }

  handlers(): Record<string, Handler> {
    return {
      check: unary({
        check: fields => fields.freeText('service', 255),
        method: async name => {
          const status = this.#status(name)
          if (status === 'SERVICE_UNKNOWN') throw new Fault('NOT_FOUND', `no service ${name}`)
          return { status }
        }
      }),
      list: unary({
        check: () => null,
        method: async () => {
          const entries = ['', ...this.#services].map(name => [name, { status: this.#status(name) }])
          return { statuses: Object.fromEntries(entries) }
        }
      }),
      watch: serverStream({
        check: fields => fields.freeText('service', 255),
        method: (name, { signal }) => this.#watch(name, signal)
      })
    }
  }

  async *#watch(name: string, signal: AbortSignal): AsyncGenerator<{ status: Status }> {
    const changes = queue<null>(signal)
    const wake = () => changes.push(null)
    this.#watchers.add(wake)
    try {
      for (let shown: Status | null = null; ; await changes.next()) {
        const status = this.#status(name)
        if (status !== shown) yield { status }
        shown = status
      }
    } finally {
      this.#watchers.delete(wake)
    }
  }

  #status(name: string): Status {
    if (name !== '' && !this.#services.includes(name)) return 'SERVICE_UNKNOWN'
    return this.#ready ? 'SERVING' : 'NOT_SERVING'
  }
}
