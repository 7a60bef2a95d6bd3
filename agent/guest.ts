import type { Clock } from '../common/clock.js'
import type { Logger } from '../common/log.js'
import { seconds, type Seconds } from '../common/units.js'
import { agentCommand } from '../libvirt/guest-agent.js'
import {
  agentIn,
  fileSystemsIn,
  hasUsefulAddress,
  hostnameIn,
  interfacesIn,
  noReport,
  osIn,
  readAnswer,
  usersIn,
  type GuestReport
} from './guest-report.js'
import type { Vm } from './vm.js'
import type { Vms } from './vms.js'

type Question = {
  command: string
  every: Seconds
  learn: (answer: unknown) => Partial<GuestReport>
}

const questions: Question[] = [
  {
    command: 'guest-network-get-interfaces',
    every: seconds(15),
    learn: a => ({ interfaces: interfacesIn(a) })
  },
  { command: 'guest-get-host-name', every: seconds(120), learn: a => ({ hostname: hostnameIn(a) }) },
  { command: 'guest-get-osinfo', every: seconds(120), learn: osIn },
  { command: 'guest-get-users', every: seconds(30), learn: a => ({ users: usersIn(a) }) },
  { command: 'guest-get-fsinfo', every: seconds(60), learn: a => ({ fileSystems: fileSystemsIn(a) }) }
]
const about = seconds(300)
const patience = seconds(2)
const mostAtOnce = 8
/** Between two looks at a guest agent: most often while somebody waits for the guest's first address. */
const pause = { searching: seconds(1), usual: seconds(5) }
/** How long one that failed is left alone: shortly while the guest boots, longer later. */
const pauseAfterFailure = { young: seconds(2), old: seconds(60) }
const bootTime = seconds(60)
const searchTime = seconds(120)

type Asked = { at: Map<string, Seconds>; commands: Set<string>; notBefore: Seconds; isAsking: boolean }

/**
 * Asks guest agents, a few at a time and each only what it says it can answer. What they say is shown and
 * decides nothing, but for one thing: a guest that answers has booted.
 */
export class GuestPoller {
  readonly #vms: Vms
  readonly #clock: Clock
  readonly #log: Logger
  readonly #asked = new WeakMap<Vm, Asked>()

  constructor(vms: Vms, clock: Clock, log: Logger) {
    this.#vms = vms
    this.#clock = clock
    this.#log = log
  }

  /** One look at everybody. */
  async round(signal: AbortSignal): Promise<void> {
    const now = this.#clock.monotonic()
    for (const vm of this.#vms.running()) {
      const isBooting = ['poweringUp', 'rebootInProgress'].includes(vm.state.status)
      if (isBooting && now - vm.since > bootTime) vm.apply({ kind: 'guestSilent' })
      if (!vm.isGuestAgentConnected && vm.guest?.connected) this.#silent(vm)
    }
    const due = this.#vms.running().filter(vm => this.#isDue(vm, now))
    for (let from = 0; from < due.length; from += mostAtOnce) {
      await Promise.all(due.slice(from, from + mostAtOnce).map(vm => this.#ask(vm, signal)))
    }
  }

  #isDue(vm: Vm, now: Seconds): boolean {
    const { notBefore, isAsking } = this.#stateOf(vm)
    const canAnswer = vm.isGuestAgentConnected && !vm.isUnresponsive && vm.state.status !== 'paused'
    return canAnswer && !isAsking && now >= notBefore
  }

  async #ask(vm: Vm, signal: AbortSignal): Promise<void> {
    const asked = this.#stateOf(vm)
    asked.isAsking = true
    try {
      this.#learn(vm, await this.#newsOf(vm, asked, signal))
      asked.notBefore = seconds(this.#clock.monotonic() + (isSearching(vm) ? pause.searching : pause.usual))
    } catch (error) {
      this.#log.debug({ err: error, vm: vm.id }, 'guest agent not heard')
      const age = vm.age() ?? 0
      asked.notBefore = seconds(
        this.#clock.monotonic() + (age < searchTime ? pauseAfterFailure.young : pauseAfterFailure.old)
      )
      if (age >= searchTime) this.#silent(vm)
    } finally {
      asked.isAsking = false
    }
  }

  async #newsOf(vm: Vm, asked: Asked, signal: AbortSignal): Promise<Partial<GuestReport>> {
    const now = this.#clock.monotonic()
    const ask = async (command: string) =>
      readAnswer(await agentCommand(vm.libvirtDomain, { execute: command }, signal, patience))
    let news: Partial<GuestReport> = {}
    if (isTime(asked, 'guest-info', about, now)) {
      const { version, commands } = agentIn(await ask('guest-info'))
      asked.commands = commands
      asked.at.set('guest-info', now)
      news = { agentVersion: version }
    }
    const isHasty = isSearching(vm)
    for (const { command, every, learn } of questions) {
      if (!asked.commands.has(command)) continue
      const isAddress = command === 'guest-network-get-interfaces'
      if (!isTime(asked, command, isAddress && isHasty ? seconds(0) : every, now)) continue
      news = { ...news, ...learn(await ask(command)) }
      asked.at.set(command, now)
    }
    return news
  }

  #learn(vm: Vm, news: Partial<GuestReport>): void {
    const before = vm.guest ?? noReport
    const after = { ...before, ...news, connected: true, seen: this.#clock.wall() }
    vm.guest = after
    vm.apply({ kind: 'guestSeen' })
    const isNew = JSON.stringify({ ...before, seen: 0 }) !== JSON.stringify({ ...after, seen: 0 })
    if (isNew) vm.changed()
  }

  #silent(vm: Vm): void {
    if (!vm.guest?.connected) return
    vm.guest = { ...vm.guest, connected: false }
    vm.changed()
  }

  #stateOf(vm: Vm): Asked {
    const known = this.#asked.get(vm)
    if (known) return known
    const fresh = { at: new Map(), commands: new Set<string>(), notBefore: seconds(0), isAsking: false }
    this.#asked.set(vm, fresh)
    return fresh
  }
}

/** A guest that is young and has not told an address yet. */
const isSearching = (vm: Vm): boolean =>
  (vm.age() ?? 0) < searchTime && !(vm.guest && hasUsefulAddress(vm.guest))

function isTime({ at }: Asked, command: string, every: Seconds, now: Seconds): boolean {
  const last = at.get(command)
  return last === undefined || now - last >= every
}
