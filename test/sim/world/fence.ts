import { Fault } from '../../../common/fault.js'
import type { PowerDevice } from '../../../coordinator/ha/fencing/power.js'
import type { PowerState } from '../../../coordinator/ha/power-reading.js'
import type { SimCoordinator } from './coordinator.js'
import type { DeviceMode, Machine } from './machine.js'
import { hostRow } from './records.js'

type Fenced = { succeeded: boolean; powerState: PowerState; output: string }
const no: Fenced = { succeeded: false, powerState: 'unknown', output: 'no answer' }
const kdumpListens = 30

/** Power devices and the other means against a silent host; each is reached through a host that is up. */
export class SimFence {
  readonly #coordinator: SimCoordinator

  constructor(coordinator: SimCoordinator) {
    this.#coordinator = coordinator
  }

  async read(hostId: string, signal: AbortSignal): Promise<PowerState[]> {
    const { world } = this.#coordinator
    return world.rules.readPowerRound(this.#devices(hostId), this.#proxies(hostId), this.#run, signal)
  }

  async powerOff(hostId: string, signal: AbortSignal): Promise<void> {
    const { world } = this.#coordinator
    this.#checkOff(world.machine(hostId))
    await world.rules.switchPower('off', this.#devices(hostId), this.#proxies(hostId), this.#run, signal)
  }

  /** Messages come from the moment of the crash; whoever listens long enough hears one. */
  awaitKdump(hostId: string, _signal: AbortSignal): Promise<boolean> {
    const { world } = this.#coordinator
    const host = world.machine(hostId)
    const isHeard = () => world.now <= host.dumpsUntil && this.#proxies(hostId).length > 0 && host.netOut
    return this.#soon(isHeard() ? 1 : kdumpListens, () => isHeard())
  }

  softFence(hostId: string): Promise<void> {
    const { world } = this.#coordinator
    const host = world.machine(hostId)
    return this.#soon(3, () => {
      if (!host.isOn || world.now < host.hungUntil || this.#proxies(hostId).length === 0)
        throw new Fault('FENCING_FAILED', 'no answer')
      world.killAgent(host)
      world.tell(`the agent of ${hostId} was restarted`)
    })
  }

  shutOut(hostId: string): Promise<void> {
    const { world } = this.#coordinator
    const host = world.machine(hostId)
    return this.#soon(5, () => {
      if (![...world.machines.values()].some(other => other !== host && other.isOn && other.storage))
        throw new Fault('FENCING_FAILED', 'no path')
      host.storage = false
      // A guest whose writes fail is paused; it changes nothing any more, and sanlock ends it later.
      world.copies = world.copies.filter(copy => copy.host !== hostId)
      host.changes++
      world.tell(`${hostId} was shut out of storage`)
    })
  }

  /** I16, looked at when the command is given. */
  #checkOff(host: Machine): void {
    const { world, records } = this.#coordinator
    const record = world.sanlock.records.get(host.id)
    const age = record ? world.now - record.lastRenewal : Infinity
    const isLive =
      host.isOn && host.inLockspace && record?.isFree === false && age <= 3 * world.sanlock.ioTimeout
    if (this.#coordinator.hears(host)) world.find('I16', `off command for ${host.id}, which is heard`)
    if (world.policy.skipsWhileLeaseLives && isLive)
      world.find('I16', `off command for ${host.id}, which renews its lease`)
    const all = [...records.hosts.values()].filter(({ mode }) => mode !== 'maintenance')
    const silent = all.filter(({ id }) => !this.#coordinator.hears(world.machine(id))).length
    if (silent >= 2 && silent * 2 >= all.length)
      world.find('I16', `off command for ${host.id} while ${silent} of ${all.length} hosts are silent`)
    if (this.#underWay !== null)
      world.find('I16', `off commands for ${this.#underWay} and ${host.id} at once`)
    if (world.now - this.#startedAt < world.policy.startGrace)
      world.find('I16', `off command for ${host.id} ${world.now - this.#startedAt} s after the start`)
    this.#underWay = host.id
    world.after(2, () => void (this.#underWay = null))
  }
  #underWay: string | null = null
  get #startedAt(): number {
    return this.#coordinator.world.now - this.#coordinator.uptime()
  }

  #devices(hostId: string): PowerDevice[] {
    const { power = 'none' } = this.#coordinator.world.machine(hostId).spec
    const device = (fenceAgent: string, order: number): PowerDevice => ({
      ...{ fenceAgent, order, options: { host: hostId }, secretOptions: {} }
    })
    switch (power) {
      case 'none':
        return []
      case 'one':
        return [device('bmc', 0)]
      case 'two':
        return [device('left', 0), device('right', 0)]
      case 'ways':
        return [device('bmc', 0), device('pdu', 1)]
    }
  }

  #proxies(hostId: string): string[] {
    return this.#coordinator.proxies.filter(id => id !== hostId).slice(0, 3)
  }

  readonly #run = (
    _proxy: string,
    { fenceAgent, options }: PowerDevice,
    action: 'status' | 'off' | 'on'
  ): Promise<Fenced> => {
    const host = this.#coordinator.world.machine(options['host'] ?? '')
    // The second way, and the second supply, are honest machines.
    const mode = fenceAgent === 'bmc' || fenceAgent === 'left' ? host.device : 'works'
    return this.#soon(mode === 'slow' ? 25 : 1, () => this.#answer(host, mode, fenceAgent, action))
  }

  /** Supplies of a host that has two, and are switched off. */
  readonly #dark = new Set<string>()

  #answer(host: Machine, mode: DeviceMode, device: string, action: string): Fenced {
    const { world } = this.#coordinator
    const truth = host.isOn ? 'on' : 'off'
    if (mode === 'fails') return no
    if (action === 'status') {
      if (mode === 'mute') return no
      return { succeeded: true, powerState: mode === 'lies' ? 'off' : truth, output: '' }
    }
    if (mode !== 'deaf' && mode !== 'lies') {
      this.#dark.add(`${host.id}/${device}`)
      const isTwin = device === 'left' || device === 'right'
      const isDark = !isTwin || ['left', 'right'].every(side => this.#dark.has(`${host.id}/${side}`))
      if (isDark) {
        world.powerLoss(host, 'power device')
        for (const side of ['left', 'right']) this.#dark.delete(`${host.id}/${side}`)
      }
    }
    if (!world.rules.replyProvesNothing) this.#believe(host)
    return mode === 'mute' ? no : { succeeded: true, powerState: 'unknown', output: '' }
  }

  /** What a coordinator does that takes the answer for the deed. */
  #believe(host: Machine): void {
    const row = hostRow(this.#coordinator.records, host.id)
    this.#coordinator.markLost(row, 'power_off', () => true)
    this.#coordinator.world.sanlock.records.get(host.id)!.isFree = true
  }

  #soon<T>(delay: number, result: () => T): Promise<T> {
    const { world } = this.#coordinator
    return new Promise((resolve, reject) =>
      world.after(delay, () => {
        world.hasNews = true
        try {
          resolve(result())
        } catch (error) {
          reject(error as Error)
        }
      })
    )
  }
}

/** As clear-leases.ts: the record as it was last reported goes with the request, and is compared. */
export function clearLeases(coordinator: SimCoordinator): void {
  const { world, records, offSince } = coordinator
  for (const row of records.hosts.values()) {
    if (row.health !== 'proven_stopped') continue
    const off = row.proof === 'power_off' ? offSince(row.id) : null
    if (off !== null && world.rules.hasRenewedSince(off, coordinator.lastRenewal(row.id))) continue
    if (off === null && world.rules.clearsOnlyAfterPower) continue
    const report = coordinator.leaseReport(row.id)
    if (off !== null && (!report || !world.rules.tellsOfRenewals(off, report))) continue
    const record = world.sanlock.records.get(row.id)
    if (!record || record.isFree || !canClear(coordinator, row.id)) continue
    const { generation, lastRenewal } = record
    world.after(1, () => {
      const seen = world.rules.clearingCompares ? { generation, lastRenewal } : record
      if (canClear(coordinator, row.id) && world.sanlock.clear(row.id, seen.generation, seen.lastRenewal))
        world.tell(`the leases of ${row.id} were freed`)
    })
  }
}

function canClear(coordinator: SimCoordinator, hostId: string): boolean {
  const { world, ready } = coordinator
  return [...world.machines.values()].some(
    host =>
      host.id !== hostId &&
      host.storage &&
      host.isOn &&
      host.inLockspace &&
      ready.has(host.id) &&
      coordinator.hears(host)
  )
}
