import type { Logger } from 'pino'
import { sleep, systemClock, type Clock } from '../common/clock.js'
import { orAborted, within } from '../common/deadline.js'
import { delayBefore } from '../common/retry.js'
import { seconds, type Seconds } from '../common/units.js'
import { CallSlots, type Kind } from './call-slots.js'
import { Connection } from './connection.js'
import { ControlLoop, type Up } from './control-loop.js'
import { notConnected } from './errors.js'
import type { LibvirtEvent } from './events.js'
import { LibvirtLine } from './line.js'
import type { Lane, Procedure } from './procedure.js'
import { LibvirtStream } from './stream.js'

/*
 * The door to libvirtd.
 *
 *   const libvirt = Libvirt.open({ log, onEvent, onUp, onDown })   // returns at once, reconnects for ever
 *   await libvirt.whenUp(signal)
 *   await createDomain(libvirt, xml, { paused: true }, signal)     // verbs: domain.ts, migration.ts, …
 *   await libvirt.close()
 *
 * `onUp` comes after every (re)connect with all domains and their states, read after the events were
 * registered: what changed while the connection was down shows as a difference to what you remember.
 * Events that come before it are about the same moment; the list wins. `onDown` comes when the connection
 * is lost: every call in flight fails with LIBVIRT_UNAVAILABLE and an unknown outcome (errors.ts).
 *
 *   lane      connections     places   kind of place per guest
 *   control   1, kept up      4        none: such calls wait for nothing
 *   jobs      2, 3 at need    4 each   ordinary
 *   steering  1               4        steering: gets past a stuck call about the same guest
 *   guest     1               3        guest: the guest agent may be silent while QEMU is well
 *   stats     1               1        none
 *   long      1 per call      -        long
 *   stream    1 per stream    -        none
 *
 * jobs, guest and stats together hold 16 calls at most, steering 4: libvirtd has 20 workers by default.
 */

export type LibvirtOptions = {
  log: Logger
  socketPath?: string
  uri?: string
  clock?: Clock
  onEvent?: (event: LibvirtEvent) => void
  onUp?: (up: Up) => void
  onDown?: (why: Error) => void
}

export type CallOptions = {
  /** The guest that the call is about, if the arguments do not say. */
  about?: string | null
  /** Another lane than the procedure's own. */
  lane?: Lane
  /** How long to wait for a turn, and then for the reply. Null: for ever. */
  limit?: Seconds | null
}

const limits: Record<Lane, Seconds | null> = {
  control: seconds(10),
  // libvirt itself gives up waiting for a guest's lock after 30 s: its answer says more than ours.
  jobs: seconds(40),
  steering: seconds(40),
  guest: seconds(10),
  stats: seconds(40),
  long: null
}
const kinds: Record<Lane, Kind> = {
  control: 'ordinary',
  jobs: 'ordinary',
  steering: 'steering',
  guest: 'guest',
  stats: 'ordinary',
  long: 'long'
}
const noGuest: readonly Lane[] = ['control', 'stats']
const reconnect = { first: seconds(0.2), most: seconds(5) }
const openLimit = seconds(5)

export class Libvirt {
  readonly log: Logger
  readonly socketPath: string
  readonly uri: string
  readonly clock: Clock
  readonly #slots: CallSlots<LibvirtLine>
  readonly #lines: Record<Exclude<Lane, 'long'>, LibvirtLine[]>
  readonly #spareJobs: LibvirtLine
  readonly #control: ControlLoop
  readonly #stop = new AbortController()
  readonly #done: Promise<void>

  static open(options: LibvirtOptions): Libvirt {
    return new Libvirt(options)
  }

  private constructor({ log, socketPath, uri, clock = systemClock, ...handlers }: LibvirtOptions) {
    this.log = log
    this.socketPath = socketPath ?? process.env['LIBVIRT_SOCK'] ?? '/run/libvirt/libvirt-sock'
    this.uri = uri ?? 'qemu:///system'
    this.clock = clock
    this.#slots = new CallSlots(clock)
    const line = (limit: number) => new LibvirtLine(limit, () => this.#connect())
    const control = line(4)
    this.#lines = {
      control: [control],
      jobs: [line(4), line(4)],
      steering: [line(4)],
      guest: [line(3)],
      stats: [line(1)]
    }
    this.#spareJobs = line(4)
    this.#control = new ControlLoop(this, control, handlers)
    this.#done = this.#run()
  }

  get isUp(): boolean {
    return this.#control.isUp
  }

  /** Resolves when libvirtd answers, at once if it does now. */
  whenUp(signal: AbortSignal): Promise<void> {
    return this.#control.whenUp(signal)
  }

  /** Guests with a call that libvirtd has owed an answer for too long. */
  unresponsive(): Set<string> {
    return this.#slots.unresponsive()
  }

  async call<A, R>(
    procedure: Procedure<A, R>,
    args: A,
    signal: AbortSignal,
    { lane = procedure.lane, about = subjectOf(args), limit = limits[lane] }: CallOptions = {}
  ): Promise<R> {
    if (!this.isUp && lane !== 'control') throw notConnected()
    const ask = { kind: kinds[lane], about: noGuest.includes(lane) ? null : about, patience: limit }
    if (lane !== 'long') {
      const lines = () => this.#linesOf(lane)
      return this.#slots.run({ ...ask, lines }, line => line.call(procedure, args), signal)
    }
    const own = new LibvirtLine(1, () => this.#connect())
    const send = () => own.call(procedure, args).finally(() => own.close())
    return this.#slots.run({ ...ask, lines: () => [own] }, send, signal)
  }

  /** Opens a stream on a connection of its own; whoever reads it ends it. */
  async stream<A, R>(
    procedure: Procedure<A, R>,
    args: A,
    signal: AbortSignal
  ): Promise<{ stream: LibvirtStream; result: R }> {
    if (!this.isUp) throw notConnected()
    const limited = within(seconds(30), signal)
    const connection = await this.#connect(limited)
    const stream = new LibvirtStream(connection, procedure)
    try {
      const result = await orAborted(stream.open(procedure, args), limited)
      return { stream, result }
    } catch (error) {
      // Quietly: nobody has it yet who could hear an 'error'.
      stream.destroy()
      throw error
    }
  }

  /** Ends every connection. Calls in flight fail. */
  async close(): Promise<void> {
    this.#stop.abort(notConnected(new Error('closed')))
    await this.#done
    for (const line of [...Object.values(this.#lines).flat(), this.#spareJobs]) line.close()
  }

  /** One more jobs connection as soon as late calls hold all the others. */
  #linesOf(lane: Exclude<Lane, 'long'>): readonly LibvirtLine[] {
    const lines = this.#lines[lane]
    if (lane !== 'jobs' || !lines.every(line => this.#slots.held(line).late === line.limit)) return lines
    return [...lines, this.#spareJobs]
  }

  #connect(signal: AbortSignal = this.#stop.signal): Promise<Connection> {
    const { socketPath, uri } = this
    return Connection.open({ socketPath, uri }, within(openLimit, signal))
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    for (let attempt = 0; !signal.aborted; attempt++) {
      if (await this.#control.live(signal)) attempt = 0
      if (signal.aborted) return
      await sleep(this.clock, delayBefore(attempt, reconnect, this.clock.random()), signal).catch(() => {})
    }
  }
}

/** The uuid of the domain that the arguments name, directly or through a snapshot or checkpoint. */
function subjectOf(args: unknown): string | null {
  if (typeof args !== 'object' || args === null) return null
  if ('dom' in args) return uuidIn(args.dom)
  if ('snap' in args) return subjectOf(args.snap)
  if ('checkpoint' in args) return subjectOf(args.checkpoint)
  return null
}

function uuidIn(dom: unknown): string | null {
  if (typeof dom !== 'object' || dom === null || !('uuid' in dom)) return null
  return typeof dom.uuid === 'string' ? dom.uuid : null
}
