import { execa } from 'execa'
import { randomUUID } from 'node:crypto'
import { cpSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Host__Output as Host } from '../../proto/generated/types/drover/v1/Host.js'
import type { Job__Output as Job } from '../../proto/generated/types/drover/v1/Job.js'
import type { StorageDomain__Output as StorageDomain } from '../../proto/generated/types/drover/v1/StorageDomain.js'
import type { Vm as WantedVm, Vm__Output as Vm } from '../../proto/generated/types/drover/v1/Vm.js'
import { Api } from './api.js'
import { buildGuest, poll, type Lab } from './lab.js'
import type { ProgressOf } from './progress.js'
import { root } from '../root.js'

// Settings of a host that is a namespace: no watchdog, and a shared folder that libvirt does not know as shared.
const agentConfig = `unsafe_ha_without_watchdog = true
unsafe_shared_filesystem = true
allowed_directories = ["/lab/shared"]
`
const quiet: ProgressOf = () => {}

/** The lab with Drover on it: a coordinator, hypervisors, a cluster, shared storage and a template, one by one. */
export class World implements AsyncDisposable {
  readonly lab: Lab
  readonly hypervisors: readonly string[]
  readonly hostIds = new Map<string, string>()
  /** How much longer everything may take here than on hosts of namespaces. */
  readonly patience: number
  readonly ids = { cluster: '', storageDomain: '', template: '' }
  #api: Api | null = null

  constructor(lab: Lab, hypervisors: readonly string[] = ['h1', 'h2'], patience = 1) {
    this.patience = patience
    this.lab = lab
    this.hypervisors = hypervisors
  }

  get api(): Api {
    if (this.#api === null) throw new Error('the coordinator is not there yet')
    return this.#api
  }
  /** Lets go of the connection; the lab stays. */
  close(): void {
    this.#api?.[Symbol.dispose]()
  }
  get services(): Api['services'] {
    return this.api.services
  }

  /** Everything at once, for tests. */
  async create(): Promise<void> {
    await this.createHosts()
    await this.createStorage()
    await this.createTemplate()
  }

  /** A cluster of hosts, without storage. */
  async createHosts(): Promise<void> {
    await execa('node', ['tools/package.mjs', '--if-stale'], { cwd: root, timeout: 180_000 })
    await this.boot()
    await this.install()
    await this.startCoordinator()
    await this.createCluster()
    await this.enrol()
  }

  async boot(): Promise<void> {
    await this.lab.up('coord', ...this.hypervisors)
    await buildGuest(join(this.lab.files, 'guest.qcow2'))
  }

  async install(): Promise<void> {
    const built = join(root, 'build')
    for (const name of readdirSync(built).filter(name => name.endsWith('.deb')))
      cpSync(join(built, name), join(this.lab.files, name))
    const install = (host: string, kind: string, after = '') =>
      this.lab.shell(
        host,
        `export DROVER_NODE=${process.execPath}; mkdir -p /etc/drover/conf.d; cat >/etc/drover/conf.d/lab.toml
        dpkg --force-unsafe-io -i /lab/files/drover-common_*.deb /lab/files/drover-${kind}_*.deb; ${after}`,
        { seconds: 180, input: kind === 'agent' ? agentConfig : '' }
      )
    const configure = '/usr/lib/drover/configure-host; systemctl restart sanlock libvirtd'
    await Promise.all([
      install('coord', 'coordinator'),
      ...this.hypervisors.map(host => install(host, 'agent', configure))
    ])
  }

  async startCoordinator(): Promise<string> {
    await poll('drover-coordinator', 60, async () => {
      const state = await this.lab.exec('coord', ['systemctl', 'is-active', 'drover-coordinator'])
      return state === 'active' ? state : null
    })
    await this.connect()
    const { version, installationId } = await this.api.ask(this.services.coordinator.GetCoordinator, {})
    return `version ${version}, installation ${installationId}`
  }

  /** A new connection to the coordinator, for example after its host was off. */
  async connect(): Promise<void> {
    this.close()
    this.#api = new Api(await this.lab.socket('coord', '/run/drover/coordinator.sock'))
    await this.#api.ready(30)
  }

  async createCluster(): Promise<void> {
    const cluster = await this.api.ask(this.services.cluster.CreateCluster, {
      requestId: randomUUID(),
      cluster: {
        name: 'demo',
        ha: { silenceSeconds: 5, fencingEnabled: true, statusGapSeconds: 1, startGraceSeconds: 1 }
      }
    })
    this.ids.cluster = cluster.clusterId
  }

  async enrol(): Promise<Host[]> {
    await Promise.all(this.hypervisors.map(name => this.enrolHost(name)))
    return Promise.all(this.hypervisors.map(name => this.whenUp(name)))
  }

  async enrolHost(name: string): Promise<void> {
    const created = await this.api.ask(this.services.host.CreateHost, {
      requestId: randomUUID(),
      host: {
        name,
        clusterId: this.ids.cluster,
        powerManagement: { enabled: true, devices: [await this.lab.powerDevice(name)] }
      }
    })
    this.hostIds.set(name, created.host?.hostId ?? '')
    const coordinator = `${await this.lab.address('coord')}:7443`
    await this.lab.shell(
      name,
      `cat >/run/token; drover-agent enrol --token-file /run/token --coordinator ${coordinator} \\
        --ca-fingerprint ${created.caFingerprint} --address ${await this.lab.address(name)}:7444; rm /run/token`,
      { input: created.token }
    )
  }

  whenUp(name: string, seconds = 90): Promise<Host> {
    return poll(`host ${name} up`, seconds, async () => {
      const host = await this.host(name)
      return host.status === 'HOST_STATUS_UP' ? host : null
    })
  }

  /** Into maintenance, or back into service. */
  async maintain(name: string, how: 'leave' | 'enter'): Promise<void> {
    const { DeactivateHost, ActivateHost } = this.services.host
    const hostId = this.hostIds.get(name) ?? name
    await this.api.job(how === 'leave' ? DeactivateHost : ActivateHost, { hostId })
  }

  host(name: string): Promise<Host> {
    return this.api.ask(this.services.host.GetHost, { hostId: this.hostIds.get(name) ?? name })
  }
  nameOf(hostId: string): string {
    for (const [name, id] of this.hostIds) if (id === hostId) return name
    return hostId
  }

  /** Joining it takes a host 2 to 5 times the I/O time-out, and its leases end after 8 times of it. */
  async createStorage(progress = quiet, ioTimeoutSeconds = 2): Promise<StorageDomain> {
    const [first = ''] = this.hypervisors
    await this.lab.shell(first, 'mkdir -p /lab/shared/storage; chown 36:36 /lab/shared/storage')
    const job = await this.api.job(
      this.services.storageDomain.CreateStorageDomain,
      {
        storageDomain: {
          name: 'shared',
          connection: { posix: { path: '/lab/shared/storage' } },
          ioTimeoutSeconds
        },
        hostId: this.hostIds.get(first) ?? ''
      },
      progress
    )
    this.ids.storageDomain = job.objects['storageDomain'] ?? ''
    return this.whenStorageActive(progress)
  }

  /** On every host, as after one of them was off. */
  whenStorageActive(progress = quiet): Promise<StorageDomain> {
    return poll('the storage domain active on all hosts', 120, async () => {
      const seen = await this.api.ask(this.services.storageDomain.GetStorageDomain, {
        storageDomainId: this.ids.storageDomain
      })
      progress(seen.status)
      const ready = seen.hosts.filter(({ health }) => health === 'STORAGE_DOMAIN_HEALTH_ACTIVE')
      const isActive = seen.status === 'STORAGE_DOMAIN_STATUS_ACTIVE'
      return isActive && ready.length === this.hypervisors.length ? seen : null
    })
  }

  /** The small guest as a disk. Its bytes come through the coordinator. */
  importGuest(data: Buffer, progress = quiet): Promise<Job> {
    return this.api.importDisk(
      { name: 'linux', storageDomainId: this.ids.storageDomain, sourceFormat: 'DISK_FORMAT_QCOW2' },
      data,
      progress
    )
  }

  /** The small guest as a disk, a VM around it, and a template of that. Its size in bytes. */
  async createTemplate(progress = quiet): Promise<number> {
    const data = readFileSync(join(this.lab.files, 'guest.qcow2'))
    const imported = await this.importGuest(data, progress)
    const made = await this.api.job(
      this.services.vm.CreateVm,
      {
        vm: {
          name: 'linux-base',
          clusterId: this.ids.cluster,
          vcpus: 1,
          memoryBytes: String(256 * 2 ** 20),
          disks: [{ diskId: imported.objects['disk'] ?? '' }]
        }
      },
      progress,
      this.patience * 120
    )
    const job = await this.api.job(
      this.services.template.CreateTemplate,
      { vmId: made.objects['vm'] ?? '', template: { name: 'linux' } },
      progress,
      this.patience * 120
    )
    this.ids.template = job.objects['template'] ?? ''
    return data.length
  }

  /** Disks of a VM beside its template's. */
  get moreDisks(): string[] {
    return []
  }

  /** A VM of the template, highly available unless it is wanted otherwise. Its id. */
  async createVm(name: string, progress = quiet, change: Partial<WantedVm> = {}): Promise<string> {
    const job = await this.api.job(
      this.services.vm.CreateVm,
      {
        templateId: this.ids.template,
        vm: {
          name,
          clusterId: this.ids.cluster,
          ha: { enabled: true, priority: 1, leaseStorageDomainId: this.ids.storageDomain },
          disks: this.moreDisks.map(diskId => ({ diskId })),
          nics: [{ bridge: 'br0' }],
          ...change
        }
      },
      progress,
      this.patience * 120
    )
    return job.objects['vm'] ?? ''
  }

  vm(vmId: string): Promise<Vm> {
    return this.api.ask(this.services.vm.GetVm, { vmId })
  }

  /** What `drover audit` says is wrong: nothing, on a good day. */
  async violations(): Promise<string[]> {
    const { findings } = await this.api.ask(this.services.event.RunAudit, {}, 60)
    return findings.map(({ invariant, object, text }) => `${invariant} ${object}: ${text}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
    await this.lab.down()
  }
}
