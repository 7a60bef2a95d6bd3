import { cpSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { randomUUID } from 'node:crypto'
import type { Host__Output as Host } from '../../../proto/generated/types/drover/v1/Host.js'
import type { Vm__Output as Vm } from '../../../proto/generated/types/drover/v1/Vm.js'
import { Api } from '../api.js'
import { GuestConsole } from '../guest-console.js'
import { buildGuest, poll, project, type Lab } from '../lab.js'
import type { ProgressOf } from '../progress.js'
import type { Step } from './runner.js'

const hypervisors = ['h1', 'h2']

// Settings of a host that is a namespace: no watchdog, and a shared folder that libvirt does not know as shared.
const agentConfig = `unsafe_ha_without_watchdog = true
unsafe_shared_filesystem = true
allowed_directories = ["/lab/shared"]
`

/** The main job, step by step: each step leaves in `this` what the next ones need. */
export class Story {
  readonly #lab: Lab
  #api: Api | null = null
  #console: GuestConsole | null = null
  #hosts = new Map<string, string>()
  #ids = { cluster: '', storageDomain: '', template: '', vm: '' }
  #cut = { host: '', acknowledged: 0, generation: '' }

  constructor(lab: Lab) {
    this.#lab = lab
  }

  get steps(): Step[] {
    return [
      { name: 'boot three hosts', run: () => this.#boot() },
      { name: 'install the packages', run: () => this.#install() },
      { name: 'start the coordinator', run: () => this.#startCoordinator() },
      { name: 'create a cluster', run: () => this.#createCluster() },
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

  async close(): Promise<void> {
    this.#console?.[Symbol.dispose]()
    this.#api?.[Symbol.dispose]()
  }

  async #boot(): Promise<string> {
    await this.#lab.up('coord', ...hypervisors)
    await buildGuest(join(this.#lab.files, 'guest.qcow2'))
    return ['coord', ...hypervisors].join(', ')
  }

  async #install(): Promise<string> {
    const packages = readdirSync(join(project, 'build')).filter(name => name.endsWith('.deb'))
    for (const name of packages) cpSync(join(project, 'build', name), join(this.#lab.files, name))
    const install = (host: string, kind: string, after = '') =>
      this.#lab.shell(
        host,
        `export DROVER_NODE=${process.execPath}; mkdir -p /etc/drover/conf.d; cat >/etc/drover/conf.d/lab.toml
        dpkg -i /lab/files/drover-common_*.deb /lab/files/drover-${kind}_*.deb; ${after}`,
        { seconds: 120, input: kind === 'agent' ? agentConfig : '' }
      )
    const configure = '/usr/lib/drover/configure-host; systemctl restart libvirtd'
    await Promise.all([
      install('coord', 'coordinator'),
      ...hypervisors.map(host => install(host, 'agent', configure))
    ])
    return 'drover-coordinator.deb on coord, drover-agent.deb on h1 and h2'
  }

  async #startCoordinator(): Promise<string> {
    const isActive = async () =>
      (await this.#lab.exec('coord', ['systemctl', 'is-active', 'drover-coordinator'])) ? true : null
    await poll('drover-coordinator', 30, isActive)
    this.#api = new Api(await this.#lab.socket('coord', '/run/drover/coordinator.sock'))
    await this.#api.ready(20)
    const { version, installationId } = await this.api.ask(this.api.services.coordinator.GetCoordinator, {})
    return `version ${version}, installation ${installationId}`
  }

  async #createCluster(): Promise<string> {
    const cluster = await this.api.ask(this.api.services.cluster.CreateCluster, {
      requestId: randomUUID(),
      cluster: {
        name: 'demo',
        ha: { silenceSeconds: 5, fencingEnabled: true, statusGapSeconds: 1, startGraceSeconds: 1 }
      }
    })
    this.#ids.cluster = cluster.clusterId
    return cluster.name
  }

  async #enrol(): Promise<string> {
    await Promise.all(hypervisors.map(name => this.#enrolOne(name)))
    const hosts = await Promise.all(hypervisors.map(name => this.#whenUp(name)))
    return hosts
      .map(({ name, address, capabilities }) => {
        const speed = capabilities?.kvm ? 'KVM' : 'emulation (KVM runs no guest here)'
        return `${name} ${address}, ${capabilities?.cpus} CPUs, QEMU ${capabilities?.qemuVersion}, ${speed}`
      })
      .join('\n')
  }

  async #enrolOne(name: string): Promise<void> {
    const created = await this.api.ask(this.api.services.host.CreateHost, {
      requestId: randomUUID(),
      host: {
        name,
        clusterId: this.#ids.cluster,
        powerManagement: { enabled: true, devices: [await this.#lab.powerDevice(name)] }
      }
    })
    this.#hosts.set(name, created.host?.hostId ?? '')
    const coordinator = `${await this.#lab.address('coord')}:7443`
    await this.#lab.shell(
      name,
      `cat >/run/token; drover-agent enrol --token-file /run/token --coordinator ${coordinator} \\
        --ca-fingerprint ${created.caFingerprint} --address ${await this.#lab.address(name)}:7444; rm /run/token`,
      { input: created.token }
    )
  }

  #whenUp(name: string): Promise<Host> {
    return poll(`host ${name} up`, 60, async () => {
      const host = await this.#host(name)
      return host.status === 'HOST_STATUS_UP' ? host : null
    })
  }

  #host(name: string): Promise<Host> {
    return this.api.ask(this.api.services.host.GetHost, { hostId: this.#hosts.get(name) ?? name })
  }

  async #createStorage(progress: ProgressOf): Promise<string> {
    await this.#lab.shell('h1', 'mkdir -p /lab/shared/storage; chown 36:36 /lab/shared/storage')
    const job = await this.api.job(
      this.api.services.storageDomain.CreateStorageDomain,
      {
        storageDomain: {
          name: 'shared',
          connection: { posix: { path: '/lab/shared/storage' } },
          ioTimeoutSeconds: 2
        },
        hostId: this.#hosts.get('h1') ?? ''
      },
      progress
    )
    this.#ids.storageDomain = job.objects['storageDomain'] ?? ''
    const { services } = this.api
    const domain = await poll('the storage domain active on both hosts', 90, async () => {
      const seen = await this.api.ask(services.storageDomain.GetStorageDomain, {
        storageDomainId: this.#ids.storageDomain
      })
      progress(seen.status)
      const ready = seen.hosts.filter(({ health }) => health === 'STORAGE_DOMAIN_HEALTH_ACTIVE')
      return seen.status === 'STORAGE_DOMAIN_STATUS_ACTIVE' && ready.length === hypervisors.length
        ? seen
        : null
    })
    return `${domain.name}, ${(Number(domain.freeBytes) / 2 ** 30).toFixed(1)} GiB free, active on ${domain.hosts.length} hosts`
  }

  async #createTemplate(progress: ProgressOf): Promise<string> {
    const { services } = this.api
    const data = readFileSync(join(this.#lab.files, 'guest.qcow2'))
    const imported = await this.api.importDisk(
      { name: 'linux', storageDomainId: this.#ids.storageDomain, sourceFormat: 'DISK_FORMAT_QCOW2' },
      data,
      progress
    )
    const made = await this.api.job(
      services.vm.CreateVm,
      {
        vm: {
          name: 'linux-base',
          clusterId: this.#ids.cluster,
          vcpus: 1,
          memoryBytes: String(256 * 2 ** 20),
          disks: [{ diskId: imported.objects['disk'] ?? '' }]
        }
      },
      progress
    )
    const job = await this.api.job(
      services.template.CreateTemplate,
      { vmId: made.objects['vm'] ?? '', template: { name: 'linux' } },
      progress
    )
    this.#ids.template = job.objects['template'] ?? ''
    return `linux, ${(data.length / 2 ** 20).toFixed(0)} MiB: Debian kernel, busybox, qemu-guest-agent`
  }

  async #createVm(progress: ProgressOf): Promise<string> {
    const job = await this.api.job(
      this.api.services.vm.CreateVm,
      {
        templateId: this.#ids.template,
        vm: {
          name: 'web',
          clusterId: this.#ids.cluster,
          ha: { enabled: true, priority: 1, leaseStorageDomainId: this.#ids.storageDomain },
          nics: [{ bridge: 'br0' }]
        }
      },
      progress
    )
    this.#ids.vm = job.objects['vm'] ?? ''
    return 'web, a thin disk on top of the template, with a lease'
  }

  async #start(progress: ProgressOf): Promise<string> {
    this.#console = new GuestConsole(this.api, this.#ids.vm)
    await this.api.job(this.api.services.vm.StartVm, { vmId: this.#ids.vm }, progress)
    const vm = await this.#vm()
    const { decisions } = await this.api.ask(this.api.services.vm.ExplainVm, { vmId: this.#ids.vm })
    const decision = decisions[0]
    const verdicts = (decision?.verdicts ?? []).map(
      ({ hostName, filter, reason, score }) =>
        `${hostName}: ${filter === '' ? `score ${score.toFixed(3)}` : `${filter}: ${reason}`}`
    )
    return `the scheduler chose ${this.#nameOf(vm.hostId)} (${verdicts.join('; ')})`
  }

  async #waitForGuest(): Promise<string> {
    const vm = await poll('the guest agent', 90, async () => {
      const seen = await this.#vm()
      const addresses = seen.guest?.interfaces.flatMap(({ addresses }) => addresses) ?? []
      return seen.guest?.connected && addresses.some(address => !isLoopback(address)) ? seen : null
    })
    await poll('the writer in the guest', 60, async () =>
      this.console.acknowledged.length > 2 ? true : null
    )
    const addresses = vm.guest?.interfaces.flatMap(({ name, addresses }) =>
      addresses.filter(address => !isLoopback(address)).map(address => `${name} ${address}`)
    )
    return [
      `${vm.guest?.osName}, ${addresses?.join(', ')}`,
      ...this.console.tail(3).map(line => `console: ${line}`)
    ].join('\n')
  }

  async #migrate(progress: ProgressOf): Promise<string> {
    const before = await this.#vm()
    const acknowledged = this.console.lastAcknowledged
    const begin = performance.now()
    await this.api.job(this.api.services.vm.MigrateVm, { vmId: this.#ids.vm }, progress)
    const took = ((performance.now() - begin) / 1000).toFixed(1)
    const after = await this.#vm()
    if (after.hostId === before.hostId) throw new Error('it is still on the same host')
    await poll('the guest writing on the new host', 30, async () =>
      this.console.lastAcknowledged > acknowledged + 20 ? true : null
    )
    if (this.console.found.length > 1) throw new Error('the guest booted again')
    return `${this.#nameOf(before.hostId)} → ${this.#nameOf(after.hostId)} in ${took} s; writes went on from ${acknowledged} to ${this.console.lastAcknowledged}`
  }

  async #cutPower(): Promise<string> {
    const vm = await this.#vm()
    const host = this.#nameOf(vm.hostId)
    await this.#lab.off(host)
    // What the console has said by now was on the disk before the power went.
    this.#cut = { host, acknowledged: this.console.lastAcknowledged, generation: vm.vmGeneration }
    return `${host} is off; the last acknowledged write is ${this.#cut.acknowledged}`
  }

  async #seeRestart(progress: ProgressOf): Promise<string> {
    const begin = performance.now()
    const vm = await poll('the VM on the other host', 240, async () => {
      const [seen, host] = await Promise.all([this.#vm(), this.#host(this.#cut.host)])
      progress(`host ${host.status}, VM ${seen.status}`)
      const moved = seen.hostId !== '' && this.#nameOf(seen.hostId) !== this.#cut.host
      return moved && seen.status === 'VM_STATUS_UP' ? seen : null
    })
    const took = ((performance.now() - begin) / 1000).toFixed(1)
    const starts = Number(vm.vmGeneration) - Number(this.#cut.generation)
    if (starts !== 1) throw new Error(`it was started ${starts} times`)
    const events = await this.#eventsSinceCut()
    return [`on ${this.#nameOf(vm.hostId)}, ${took} s after the power cut, started once`, ...events].join(
      '\n'
    )
  }

  async #eventsSinceCut(): Promise<string[]> {
    const { events } = await this.api.ask(this.api.services.event.ListEvents, { pageSize: 8 })
    return events.toReversed().map(({ kind, text }) => `${kind}: ${text}`)
  }

  async #findWrites(): Promise<string> {
    const found = await poll('the guest booted again', 90, async () => this.console.found[1] ?? null)
    if (found < this.#cut.acknowledged)
      throw new Error(`acknowledged ${this.#cut.acknowledged}, found ${found}`)
    return `acknowledged before the cut: ${this.#cut.acknowledged}; found after the restart: ${found}`
  }

  async #powerOn(): Promise<string> {
    if (!(await this.#lab.isPowered(this.#cut.host))) await this.#lab.on(this.#cut.host)
    await this.#whenUp(this.#cut.host)
    const running = await this.#lab.exec(this.#cut.host, ['virsh', '-q', 'list', '--name'])
    if (running.trim() !== '') throw new Error(`${this.#cut.host} runs ${running}`)
    return `${this.#cut.host} is back and runs nothing`
  }

  async #audit(): Promise<string> {
    const { findings, scope } = await this.api.ask(this.api.services.event.RunAudit, {}, 60)
    if (findings.length > 0)
      throw new Error(findings.map(({ object, text }) => `${object}: ${text}`).join('\n'))
    return `${scope}: no violation`
  }

  get api(): Api {
    if (this.#api === null) throw new Error('the coordinator is not there yet')
    return this.#api
  }
  private get console(): GuestConsole {
    if (this.#console === null) throw new Error('no console yet')
    return this.#console
  }

  #vm(): Promise<Vm> {
    return this.api.ask(this.api.services.vm.GetVm, { vmId: this.#ids.vm })
  }

  #nameOf(hostId: string): string {
    for (const [name, id] of this.#hosts) if (id === hostId) return name
    return hostId
  }
}

const isLoopback = (address: string) => address.startsWith('127.') || address === '::1'

/** What a person types next, when everything is left up. */
export async function howToReach(lab: Lab): Promise<string> {
  const run = `LAB_NAME=${lab.name} npm run -s lab --`
  const coordinator = await lab.address('coord')
  return `Everything is left up. In this folder:
  the CLI           ${run} exec coord drover vm list
  the VM's console  ${run} shell coord, then: drover vm console web   (leave with Ctrl-])
  gRPC              ${coordinator}:7443 (mutual TLS), or as root without: ${await lab.socket('coord', '/run/drover/coordinator.sock')}
  hosts             ${run} status | shell h1 | off h2 | on h2
  and the end       ./quickstart --down`
}
