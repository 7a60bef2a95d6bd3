import { GuestConsole } from '../guest-console.js'
import { poll, type Lab } from '../lab.js'
import type { ProgressOf } from '../progress.js'
import type { World } from '../world.js'
import type { Step } from './runner.js'

const isLoopback = (address: string) => address.startsWith('127.') || address === '::1'
const secondsSince = (begin: number) => ((performance.now() - begin) / 1000).toFixed(1)

/** The main job, step by step: each step leaves in `this` what the next ones need. */
export class Story {
  readonly #world: World
  #console: GuestConsole | null = null
  #vmId = ''
  #cut = { host: '', acknowledged: 0, generation: '', begin: 0 }
  #poweredOn: Promise<unknown> = Promise.resolve()

  constructor(world: World) {
    this.#world = world
  }

  get vmId(): string {
    return this.#vmId
  }

  get steps(): Step[] {
    const world = this.#world
    return [
      { name: 'boot three hosts', run: () => world.boot().then(() => 'coord, h1, h2') },
      {
        name: 'install the packages',
        run: () => world.install().then(() => 'drover-coordinator on coord, drover-agent on h1 and h2')
      },
      { name: 'start the coordinator', run: () => world.startCoordinator() },
      { name: 'create a cluster', run: () => world.createCluster().then(() => 'demo') },
      { name: 'enrol two hosts', run: () => this.#enrol() },
      { name: 'create shared storage', run: progress => this.#createStorage(progress) },
      { name: 'import an image as a template', run: progress => this.#createTemplate(progress) },
      { name: 'create a highly available VM', run: progress => this.#createVm(progress) },
      { name: 'start it', run: progress => this.#start(progress) },
      { name: 'wait for the guest', run: () => this.#waitForGuest() },
      { name: 'migrate it live while it writes', run: progress => this.#migrate(progress) },
      { name: 'cut the power of its host', run: () => this.#cutPower() },
      { name: 'see it restarted on the other host', run: progress => this.#seeRestart(progress) },
      { name: 'find its acknowledged writes', run: () => this.#findWrites() },
      { name: 'power the host on again', run: () => this.#powerOn() },
      { name: 'audit', run: () => this.#audit() }
    ]
  }

  /** Lets go of the connections; the lab stays. */
  close(): void {
    this.#console?.[Symbol.dispose]()
    this.#world.close()
  }

  async #enrol(): Promise<string> {
    const hosts = await this.#world.enrol()
    return hosts
      .map(({ name, address, capabilities }) => {
        const speed = capabilities?.kvm ? 'KVM' : 'emulation: KVM was tried, and runs no guest here'
        return `${name} ${address}, ${capabilities?.cpus} CPUs, QEMU ${capabilities?.qemuVersion}, ${speed}`
      })
      .join('\n')
  }

  async #createStorage(progress: ProgressOf): Promise<string> {
    const { name, freeBytes, hosts } = await this.#world.createStorage(progress, 1)
    return `${name}, ${(Number(freeBytes) / 2 ** 30).toFixed(1)} GiB free, active on ${hosts.length} hosts`
  }

  async #createTemplate(progress: ProgressOf): Promise<string> {
    const size = await this.#world.createTemplate(progress)
    return `linux, ${(size / 2 ** 20).toFixed(0)} MiB: Debian's kernel, busybox, qemu-guest-agent`
  }

  async #createVm(progress: ProgressOf): Promise<string> {
    this.#vmId = await this.#world.createVm('web', progress)
    return 'web, a thin disk on top of the template, with a lease'
  }

  async #start(progress: ProgressOf): Promise<string> {
    const { api, services } = this.#world
    this.#console = new GuestConsole(api, this.#vmId)
    await api.job(services.vm.StartVm, { vmId: this.#vmId }, progress, this.#limit(120))
    const { hostId } = await this.#world.vm(this.#vmId)
    const { decisions } = await api.ask(services.vm.ExplainVm, { vmId: this.#vmId })
    const verdicts = (decisions[0]?.verdicts ?? []).map(({ hostName, filter, reason, score }) =>
      filter === '' ? `${hostName}: score ${score.toFixed(3)}` : `${hostName}: ${filter}, ${reason}`
    )
    return `the scheduler chose ${this.#world.nameOf(hostId)} (${verdicts.join('; ')})`
  }

  async #waitForGuest(): Promise<string> {
    const { guest } = await poll('the guest agent', this.#limit(240), async () => {
      const seen = await this.#world.vm(this.#vmId)
      const addresses = seen.guest?.interfaces.flatMap(({ addresses }) => addresses) ?? []
      return seen.guest?.connected && addresses.some(address => !isLoopback(address)) ? seen : null
    })
    await poll('the writer in the guest', this.#limit(120), async () =>
      this.console.acknowledged.length > 2 ? true : null
    )
    const addresses = guest?.interfaces.flatMap(({ name, addresses }) =>
      addresses.filter(address => !isLoopback(address)).map(address => `${name} ${address}`)
    )
    const console = this.console.tail(3).map(line => `console: ${line}`)
    return [`${guest?.osName}, ${addresses?.join(', ')}`, ...console].join('\n')
  }

  async #migrate(progress: ProgressOf): Promise<string> {
    const { api, services } = this.#world
    const before = await this.#world.vm(this.#vmId)
    const first = this.console.lastAcknowledged
    const begin = performance.now()
    await api.job(services.vm.MigrateVm, { vmId: this.#vmId }, progress, this.#limit(120))
    const took = secondsSince(begin)
    const after = await this.#world.vm(this.#vmId)
    if (after.hostId === before.hostId) throw new Error('it is still on the same host')
    await poll('writes on the new host', this.#limit(120), async () =>
      this.console.lastAcknowledged > first + 20 ? true : null
    )
    if (this.console.found.length > 1) throw new Error('the guest booted again')
    const [from, to] = [before, after].map(({ hostId }) => this.#world.nameOf(hostId))
    return `${from} → ${to} in ${took} s; writes went on from ${first} to ${this.console.lastAcknowledged}`
  }

  async #cutPower(): Promise<string> {
    const { hostId, vmGeneration } = await this.#world.vm(this.#vmId)
    const host = this.#world.nameOf(hostId)
    await this.#world.lab.off(host)
    // What the console has said by now was on the disk before the power went.
    const acknowledged = this.console.lastAcknowledged
    this.#cut = { host, acknowledged, generation: vmGeneration, begin: performance.now() }
    return `${host} is off; the last acknowledged write is ${acknowledged}`
  }

  async #seeRestart(progress: ProgressOf): Promise<string> {
    const { host, generation, begin } = this.#cut
    const vm = await poll('the VM on the other host', this.#limit(240), async () => {
      const [seen, lost] = await Promise.all([this.#world.vm(this.#vmId), this.#world.host(host)])
      progress(`host ${lost.status}, VM ${seen.status}`)
      const runs = seen.status === 'VM_STATUS_UP' || seen.status === 'VM_STATUS_POWERING_UP'
      return runs && seen.hostId !== '' && this.#world.nameOf(seen.hostId) !== host ? seen : null
    })
    const took = secondsSince(begin)
    const starts = Number(vm.vmGeneration) - Number(generation)
    if (starts !== 1) throw new Error(`it was started ${starts} times`)
    const summary = `on ${this.#world.nameOf(vm.hostId)}, ${took} s after the power cut, started once`
    return [summary, ...(await this.#latestEvents())].join('\n')
  }

  async #latestEvents(): Promise<string[]> {
    const { api, services } = this.#world
    const { events } = await api.ask(services.event.ListEvents, { pageSize: 8 })
    return events.toReversed().map(({ kind, text }) => `${kind}: ${text}`)
  }

  async #findWrites(): Promise<string> {
    const { lab } = this.#world
    const { host } = this.#cut
    // The host boots while the guest does; the next step looks at it.
    this.#poweredOn = lab.isPowered(host).then(isOn => (isOn ? null : lab.on(host)))
    this.#poweredOn.catch(() => {})
    const found = await poll(
      'the guest booted again',
      this.#limit(240),
      async () => this.console.found[1] ?? null
    )
    const { acknowledged } = this.#cut
    if (found < acknowledged) throw new Error(`acknowledged ${acknowledged}, found ${found}`)
    return `acknowledged before the cut: ${acknowledged}; found after the restart: ${found}`
  }

  async #powerOn(): Promise<string> {
    const { lab } = this.#world
    const { host } = this.#cut
    await this.#poweredOn
    await this.#world.whenUp(host)
    const running = await lab.exec(host, ['virsh', '-q', 'list', '--name'])
    if (running !== '') throw new Error(`${host} runs ${running}`)
    return `${host} is back and runs nothing`
  }

  async #audit(): Promise<string> {
    const violations = await this.#world.violations()
    if (violations.length > 0) throw new Error(violations.join('\n'))
    return 'no violation'
  }

  #limit(seconds: number): number {
    return seconds * this.#world.patience
  }

  get console(): GuestConsole {
    if (this.#console === null) throw new Error('no console yet')
    return this.#console
  }
}

/** What a person types next, when everything is left up. */
export async function howToReach(lab: Lab): Promise<string> {
  const run = `LAB_NAME=${lab.name} npm run -s lab --`
  const coordinator = await lab.address('coord')
  return `Everything is left up. In this folder:
  the CLI           ${run} exec coord drover vm list
  the VM's console  ${run} shell coord, then: drover vm console web
  gRPC              ${coordinator}:7443 (mutual TLS), or as root without: unix:${await lab.socket('coord', '/run/drover/coordinator.sock')}
  hosts             ${run} status | shell h1 | off h2 | on h2
  and the end       ./quickstart --down`
}
