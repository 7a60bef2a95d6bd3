import { orAborted, within } from '../../common/deadline.js'
import { Fault } from '../../common/fault.js'
import type { Run } from '../../common/run.js'
import { seconds } from '../../common/units.js'
import * as pr from './reservation-args.js'

/** What a LUN says about who may write. */
export type Reservation = { keys: string[]; type: string | null }

/**
 * Storage fencing. `paths` are the SCSI disks of one LUN (sdb, sdc …): a registration belongs to a path, and a host
 * that registered one of two would lose writes on the other.
 */
export class Reservations {
  readonly #run: Run

  constructor(run: Run) {
    this.#run = run
  }

  async read(device: string, signal: AbortSignal): Promise<Reservation> {
    const keys = pr.parseKeys(await this.#ask(pr.readKeys(device), device, signal))
    return { keys, type: pr.parseReservation(await this.#ask(pr.readReservation(device), device, signal)) }
  }

  /** Registers a host's key on every path and sees to it that only registered hosts write. Repeatable. */
  async register(paths: readonly string[], key: string, signal: AbortSignal): Promise<void> {
    for (const path of paths) await this.#ask(pr.registerKey(path, key), path, signal)
    const [first] = paths
    if (first === undefined) throw new Fault('WRONG_STATE', 'the LUN has no path')
    const { type } = await this.read(first, signal)
    if (type === null) await this.#ask(pr.reserve(first, key), first, signal)
    const now = await this.read(first, signal)
    if (now.type === null || !pr.allRegistrants.test(now.type)) {
      throw new Fault('LUN_IN_USE', `${first} is reserved by somebody else (${now.type ?? 'nothing'})`)
    }
    if (now.keys.filter(each => each === key).length < paths.length)
      throw new Fault('COMMAND_FAILED', `${first} did not take our key on every path`)
  }

  async unregister(paths: readonly string[], key: string, signal: AbortSignal): Promise<void> {
    const okCodes = [0, pr.reservationConflict]
    for (const path of paths) await this.#ask(pr.unregisterKey(path, key), path, signal, okCodes)
  }

  /** Takes another host's right to write away. Returns only when the LUN, read again, does not know its key. */
  async preempt(device: string, own: string, other: string, signal: AbortSignal): Promise<void> {
    const before = await this.read(device, signal)
    if (!before.keys.includes(own))
      throw new Fault(
        'WRONG_STATE',
        `this host's key is not registered with ${device}: it has been fenced itself`
      )
    if (before.type === null || !pr.allRegistrants.test(before.type))
      throw new Fault(
        'WRONG_STATE',
        `${device} has no reservation: a host without a key could write all the same`
      )
    if (before.keys.includes(other))
      await this.#ask(pr.preempt(device, own, other), device, signal, [0, pr.reservationConflict])
    const after = await this.read(device, signal)
    if (after.keys.includes(other) || !after.keys.includes(own) || after.type === null)
      throw new Fault('FENCING_FAILED', `${device} still lets the other host write`, {
        facts: { device, keys: after.keys.join(' ') }
      })
  }

  async #ask(args: string[], device: string, signal: AbortSignal, okCodes = [0]): Promise<string> {
    const limit = within(seconds(15), signal)
    try {
      return (await orAborted(this.#run('sg_persist', args, limit, { okCodes }), limit)).stdout
    } catch (cause) {
      if (!Fault.is(cause, 'COMMAND_FAILED')) throw cause
      const [, message = cause.message] = cause.message.split('\n')
      throw new Fault('COMMAND_FAILED', `${device}: ${message}`, { cause, facts: { device } })
    }
  }
}
