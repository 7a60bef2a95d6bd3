import { orAborted, within } from '../common/deadline.js'
import { seconds } from '../common/units.js'
import { Connection } from './connection.js'
import type { Libvirt, LibvirtOptions } from './connections.js'
import { connectListAllDomainsFlags, flags } from './constants.js'
import { stateOf, type DomainState } from './domain-state.js'
import { isVirError, notConnected } from './errors.js'
import { decodeEvent, wantedEventIds } from './events.js'
import type { LibvirtLine } from './line.js'
import { procedures } from './procedures.js'

export type ListedDomain = { uuid: string; name: string; state: DomainState; isPersistent: boolean }
export type Up = { libvirtVersion: string; domains: ListedDomain[] }
type Handlers = Pick<LibvirtOptions, 'onEvent' | 'onUp' | 'onDown'>

const pingEvery = seconds(5)
const pingsLost = 3
const oldest = 9_000_000n

/**
 * The life of the control connection: open, register the events, list, and then stay until it is lost. In
 * this order nothing is missed. Pings tell a hung libvirtd from an idle one.
 */
export class ControlLoop {
  readonly #libvirt: Libvirt
  readonly #line: LibvirtLine
  readonly #handlers: Handlers
  #isUp = false
  #waiting: Array<() => void> = []

  constructor(libvirt: Libvirt, line: LibvirtLine, handlers: Handlers) {
    this.#libvirt = libvirt
    this.#line = line
    this.#handlers = handlers
  }

  get isUp(): boolean {
    return this.#isUp
  }

  whenUp(signal: AbortSignal): Promise<void> {
    if (this.#isUp) return Promise.resolve()
    return orAborted(new Promise(resolve => this.#waiting.push(resolve)), signal)
  }

  /** One connection from its beginning to its end. Whether it ever was up. */
  async live(signal: AbortSignal): Promise<boolean> {
    const { log, socketPath, uri } = this.#libvirt
    let connection: Connection | undefined
    let wasUp = false
    try {
      const limited = within(seconds(30), signal)
      const options = { socketPath, uri, onMessage: this.#onMessage }
      connection = await this.#line.use(Connection.open(options, within(seconds(5), signal)))
      const up = await orAborted(this.#prepare(connection), limited)
      this.#announce(up)
      wasUp = true
      const lost = await orAborted(this.#untilLost(connection), signal)
      throw lost
    } catch (error) {
      const why = error instanceof Error ? error : new Error(String(error))
      if (signal.aborted) await connection?.leave(AbortSignal.timeout(1000))
      else if (wasUp) log.warn({ err: why }, 'libvirtd lost')
      else log.debug({ err: why }, 'libvirtd not reached')
      connection?.close(why)
      this.#isUp = false
      if (wasUp && !signal.aborted) this.#handlers.onDown?.(why)
      return wasUp
    }
  }

  async #prepare(connection: Connection): Promise<Up> {
    const { libVer } = await connection.call(procedures.connectGetLibVersion, {})
    if (libVer < oldest) this.#libvirt.log.warn({ libVer: Number(libVer) }, 'libvirt older than any tested')
    for (const id of wantedEventIds) await this.#register(connection, id)
    return { libvirtVersion: versionText(libVer), domains: await listDomains(connection) }
  }

  async #register(connection: Connection, eventId: number): Promise<void> {
    try {
      await connection.call(procedures.connectDomainEventCallbackRegisterAny, { eventId, dom: null })
    } catch (error) {
      // An older libvirt, or the test driver, has fewer kinds.
      if (!isVirError(error, 'NO_SUPPORT', 'INVALID_ARG', 'RPC')) throw error
      this.#libvirt.log.warn({ eventId, err: error }, 'libvirt event not available')
    }
  }

  #announce(up: Up): void {
    this.#isUp = true
    this.#libvirt.log.info({ version: up.libvirtVersion, domains: up.domains.length }, 'libvirtd connected')
    this.#handlers.onUp?.(up)
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  async #untilLost(connection: Connection): Promise<Error> {
    let cancel = () => {}
    const watch = () => {
      if (connection.ping() >= pingsLost) return connection.close(notConnected(new Error('libvirtd hangs')))
      cancel = this.#libvirt.clock.after(pingEvery, watch)
    }
    watch()
    const lost = await connection.closed
    cancel()
    return lost
  }

  readonly #onMessage = (program: number, procedure: number, payload: Buffer): void => {
    const event = decodeEvent(program, procedure, payload)
    if (event) this.#handlers.onEvent?.(event)
  }
}

async function listDomains(connection: Connection): Promise<ListedDomain[]> {
  const persistent = await list(connection, connectListAllDomainsFlags.PERSISTENT)
  const transient = await list(connection, connectListAllDomainsFlags.TRANSIENT)
  const found: ListedDomain[] = []
  for (const dom of [...persistent, ...transient]) {
    try {
      const { state, reason } = await connection.call(procedures.domainGetState, { dom, flags: 0 })
      const isPersistent = persistent.includes(dom)
      found.push({ uuid: dom.uuid, name: dom.name, state: stateOf(state, reason), isPersistent })
    } catch (error) {
      // Gone since the list: its end came as an event.
      if (!isVirError(error, 'NO_DOMAIN')) throw error
    }
  }
  return found
}

async function list(connection: Connection, filter: number) {
  const args = { needResults: 1, flags: flags(filter) }
  return (await connection.call(procedures.connectListAllDomains, args)).domains
}

const versionText = (version: bigint) =>
  `${version / 1_000_000n}.${(version / 1000n) % 1000n}.${version % 1000n}`
