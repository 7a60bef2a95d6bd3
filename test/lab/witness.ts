import type { Test } from 'tap'
import type { Guest, Guests } from './guests.js'
import { poll } from './lab.js'
import type { World } from './world.js'

/** A guest at a moment: where it runs, by which start, and what is on its disk at least. */
export type Moment = { host: string; generation: bigint; boots: number; acknowledged: number }

/** What has to be true of a guest, whatever happened to its host, to its storage or to the coordinator. */
export class Witness {
  readonly guest: Guest
  readonly #world: World
  readonly #guests: Guests

  constructor(world: World, guests: Guests, guest: Guest) {
    this.#world = world
    this.#guests = guests
    this.guest = guest
  }

  async now(): Promise<Moment> {
    const { hostId, vmGeneration } = await this.#world.vm(this.guest.vmId)
    const { found, lastAcknowledged } = this.guest.console
    return {
      ...{ host: this.#world.nameOf(hostId), generation: BigInt(vmGeneration) },
      ...{ boots: found.length, acknowledged: lastAcknowledged }
    }
  }

  /** The same life, wherever it is lived now; where that is. */
  async livesOn(t: Test, before: Moment): Promise<string> {
    const host = await this.#runs(t, before.generation)
    t.equal(this.guest.console.found.length, before.boots, 'the guest did not boot again')
    return host
  }

  /** Another life, the next one, with all that was acknowledged before; where that is. */
  async startedAnew(t: Test, before: Moment): Promise<string> {
    return this.#runs(t, before.generation + 1n)
  }

  /** One QEMU at most, at each look until the work is over. */
  async neverTwice<T>(t: Test, work: Promise<T>): Promise<T> {
    let isOver = false
    const over = work.finally(() => (isOver = true))
    over.catch(() => {})
    const most = { seen: 0, looks: 0 }
    while (!isOver) {
      const on = await this.#guests.runningOn(this.guest.vmId)
      most.seen = Math.max(most.seen, on.length)
      most.looks++
    }
    t.ok(most.seen <= 1, `never on more than one host in ${most.looks} looks`)
    return over
  }

  async #runs(t: Test, generation: bigint): Promise<string> {
    const { vmId, console } = this.guest
    const vm = await this.#guests.whenUp(vmId, generation)
    const host = this.#world.nameOf(vm.hostId)
    t.strictSame(await this.#guests.runningOn(vmId), [host], 'it runs once')
    const from = console.lastAcknowledged
    await poll('its writes go on', 240, async () => (console.lastAcknowledged > from + 20 ? true : null))
    const { acknowledged } = console
    t.ok(
      acknowledged.every((number, at) => at === 0 || number > (acknowledged[at - 1] ?? 0)),
      'no write that was acknowledged got lost'
    )
    return host
  }
}
