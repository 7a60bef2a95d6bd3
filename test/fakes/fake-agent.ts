import 'reflect-metadata'
import { randomUUID, webcrypto } from 'node:crypto'
import { Pkcs10CertificateRequestGenerator, PemConverter } from '@peculiar/x509'
import { pino } from 'pino'
import {
  ruleAfter,
  throwIfStale,
  throwIfStaleEpoch,
  throwIfStaleWelcome,
  throwIfTwin,
  type Rule
} from '../../agent/gate.js'
import { RpcClient } from '../../common/client.js'
import { systemClock } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import { contentHash } from '../../common/ids.js'
import { readCertificateIdentity } from '../../common/identity.js'
import type { CallerRole } from '../../common/policy.js'
import type { Handler } from '../../common/rpc.js'
import { RpcServer } from '../../common/server.js'
import type { Certificates } from '../../common/tls.js'
import { seconds } from '../../common/units.js'
import type { ServiceDefinition } from '@grpc/grpc-js'
import { ownContractHash } from '../../coordinator/agent-contracts.js'
import { agentServices, coordinatorServices, descriptorSet, standardServices } from '../../proto/load.js'
import { FakeWatch } from './fake-watch.js'

// An agent without a host: the real gRPC server and contract, and behind it VMs and storage domains that are
// rows of a table. It keeps what an agent promises: epoch and generation are checked, a request id has one
// effect and one answer, tasks outlast their calls, and the watch stream tells everything.

export type Wire = Record<string, any> // eslint-disable-line @typescript-eslint/no-explicit-any
type Ruler = Pick<Rule, 'coordinatorEpoch' | 'coordinatorIncarnation'>
/** What an agent speaks: that of this version, unless a test wants an older one. */
export type Api = {
  descriptorSet: Uint8Array
  services: Partial<Record<keyof typeof agentServices, object>>
  contractHash?: string
}
const thisVersion = (): Api => ({ descriptorSet, services: agentServices, contractHash: ownContractHash() })

export type FakeTask = { taskId: string; kind: string; state: string; hash: string; answer: Wire }

/** What a task does; throws a Fault to fail. It may wait, and tell how far it is. */
export type Work = (request: Wire, told: (progress: Wire) => void, signal: AbortSignal) => unknown

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const log = pino({ level: process.env['TEST_LOG'] ?? 'silent' })
const forever = new AbortController().signal

export class FakeAgent {
  hostId = ''
  installationId: string | null = null
  hostGeneration = 0
  coordinatorEpoch = 0
  sanlockHostId = 0
  address = ''
  bootId: string = randomUUID()
  hardwareId: string = randomUUID()
  /** The life of a coordinator that greeted first at its epoch. */
  coordinatorIncarnation = ''
  isRecovering = false
  peers: Wire[] = []
  deniedSerials: string[] = []
  deniedHostIds: string[] = []
  capabilities: Wire
  readonly vms = new Map<string, Wire>()
  readonly storageDomains = new Map<string, Wire>()
  /** LUNs that it sees. */
  luns: Wire[] = []
  readonly thinDisks = new Map<string, Wire>()
  readonly tasks = new Map<string, FakeTask>()
  /** Every request that had an effect, by method: how often, for "exactly once". */
  readonly effects = new Map<string, number>()
  /** Work of tasks by method name, for example "StartVm"; tests put their own here. */
  readonly works = new Map<string, Work>()
  /** Replies to these methods are lost: the work is done, the answer never comes. */
  readonly losesReplyOf = new Set<string>()
  /** What it uses of its machine, for the audit. */
  use: object | undefined = undefined
  watch = new FakeWatch()
  #server: RpcServer | null = null
  #certificates: Certificates | null = null
  #nextKey = ''
  #cancels = new Map<string, AbortController>()

  #api: Api

  constructor(capabilities: Wire = {}, api: Api = thisVersion()) {
    this.#api = api
    this.capabilities = {
      hardwareId: this.hardwareId,
      ...{ hostname: 'fake', agentVersion: '0.0.0', libvirtVersion: '9.0.0', qemuVersion: '7.2.0' },
      ...{
        cpus: 8,
        cpuModel: 'Skylake-Server',
        memoryBytes: String(16 * 2 ** 30),
        kvm: true,
        haLeases: true
      },
      machineTypes: ['pc-q35-7.2'],
      ...capabilities
    }
    this.works.set('StartVm', request => this.#startVm(request))
    this.works.set('DestroyVm', ({ vmId }) => this.removeVm(vmId))
    this.works.set('ShutdownVm', ({ vmId }) => this.downVm(vmId, 'shutdown', true))
    for (const method of ['ConnectStorageDomain', 'CreateStorageDomain']) {
      this.works.set(method, request => this.#connect(request))
    }
    this.works.set('CreateLease', () => ({ offset_bytes: String(3 * 2 ** 20) }))
    this.works.set('ActivateStorageDomain', request => this.#health(request, 'ACTIVE'))
    this.works.set('DeactivateStorageDomain', request => this.#health(request, 'INACTIVE'))
  }

  /** Joins an installation with a token, as `drover-agent enrol` does, and serves. */
  async enrol(coordinator: { port: number; trust: string }, token: string): Promise<void> {
    const { key, csr } = await newKey()
    using client = new RpcClient(
      {
        address: `127.0.0.1:${coordinator.port}`,
        trust: coordinator.trust,
        expect: ({ role }) => role === 'COORDINATOR'
      },
      systemClock
    )
    const port = this.#server ? Number(this.address.split(':')[1]) : await this.#reservePort()
    this.address = `127.0.0.1:${port}`
    const { Enrol } = coordinatorServices.enrolment
    const { hardwareId, bootId, address } = this
    const request = { token, csr, hardwareId, bootId, address, hostname: 'fake' }
    const answer = (await client.call(Enrol, request, forever)) as Wire
    this.hostId = answer['hostId']
    this.installationId = answer['installationId']
    this.hostGeneration = Number(answer['hostGeneration'])
    this.#certificates = { key, certificate: answer['certificatePem'], trust: answer['trustPem'] }
    if (this.#server) this.#server.reload(this.#certificates)
    else await this.serve()
  }

  async serve(): Promise<void> {
    const certificates = this.#certificates
    if (!certificates) throw new Error('the fake agent was not enrolled')
    this.watch = new FakeWatch()
    for (const vm of this.vms.values()) this.watch.publish(`vm/${vm['vmId']}`, { vm })
    for (const domain of this.storageDomains.values()) {
      this.watch.publish(`storageDomain/${domain['storageDomainId']}`, { storageDomain: domain })
    }
    this.watch.publish('host', { host: this.#about() })
    const server = new RpcServer({
      ...{ log, clock: systemClock, contract: { descriptorSet: this.#api.descriptorSet, standardServices } },
      trust: {
        installation: () => this.installationId,
        denies: ({ serial, id }) => this.deniedSerials.includes(serial) || this.deniedHostIds.includes(id)
      },
      gate: ({ message, policy, path, caller }) => this.#gate(message, path, policy.readOnly, caller.role)
    })
    this.#server = server
    const all = {
      host: this.#hostHandlers(),
      task: this.#taskHandlers(),
      vm: this.#vmHandlers(),
      storage: this.#storageHandlers(),
      san: {
        listLuns: plain(() => ({ luns: this.luns })),
        seeLuns: plain(({ wwids }) => ({
          wwids: (wwids as string[]).filter(wwid => this.luns.some(lun => lun['wwid'] === wwid))
        }))
      },
      watch: { watch: this.#watchHandler() },
      thin: {
        getThinDisk: plain(({ diskId }) => {
          const found = this.thinDisks.get(String(diskId))
          if (found) return found
          throw new Fault('NOT_FOUND', `no thin disk ${String(diskId)}`)
        }),
        getExtendTimes: plain(() => ({ times: [] }))
      },
      debug: { dump: plain(() => ({ json: JSON.stringify({ use: this.use }) })) }
    }
    for (const [name, handlers] of Object.entries(all)) {
      const service = this.#api.services[name as keyof typeof all] as ServiceDefinition | undefined
      if (service) server.add(service, only(service, handlers) as never)
    }
    server.addStandard()
    const port = Number(this.address.split(':')[1])
    await server.listenTls({ host: '127.0.0.1', port, certificates, allowAnonymous: false })
    server.health.ready = true
  }

  /** Its next life is of this version. */
  upgrade(): void {
    this.#api = thisVersion()
  }

  /** Dies at once, as a process does: connections break, tasks that ran are lost, VMs run on. */
  async die(): Promise<void> {
    const server = this.#server
    this.#server = null
    for (const task of this.tasks.values()) {
      if (task.state === 'RUNNING') task.state = 'LOST'
    }
    for (const cancel of this.#cancels.values()) cancel.abort(new Fault('INTERRUPTED', 'the agent died'))
    this.watch.end()
    await server?.stop(seconds(0))
  }

  /** Sends nothing any more, and answers nothing: the cable is out. */
  async vanish(): Promise<void> {
    await this.die()
  }

  /** A change of a VM, as libvirt would tell it. */
  setVm(vm: Wire): void {
    const next = { ...this.vms.get(vm['vmId']), ...vm }
    this.vms.set(vm['vmId'], next)
    this.watch.publish(`vm/${vm['vmId']}`, { vm: next })
  }

  removeVm(vmId: string): void {
    this.vms.delete(vmId)
    this.watch.publish(`vm/${vmId}`, null)
  }

  downVm(vmId: string, exitReason: string, isAsked = false): void {
    if (!this.vms.has(vmId)) {
      if (isAsked) return
      throw new Fault('VM_NOT_FOUND', `no VM ${vmId}`)
    }
    this.setVm({ vmId, status: 'VM_STATUS_DOWN', exitReason })
  }

  publishHost(): void {
    this.watch.publish('host', { host: this.#about() })
  }

  get serial(): string {
    return this.#certificates ? serialOf(this.#certificates.certificate) : ''
  }

  #gate(message: object, path: string, readOnly: boolean, role: CallerRole): void {
    if (readOnly || role !== 'COORDINATOR' || !('coordinatorEpoch' in message)) return
    const { coordinatorEpoch, hostGeneration, coordinatorIncarnation = '' } = message as Wire
    const [epoch, generation] = [Number(coordinatorEpoch), Number(hostGeneration)]
    const standing = { isCoordinator: true, isRecovering: false }
    if (path.endsWith('/Welcome')) {
      throwIfStaleEpoch(epoch, standing, this)
      throwIfTwin(epoch, coordinatorIncarnation, this)
      throwIfStaleWelcome(generation, this)
    } else throwIfStale({ coordinatorEpoch: epoch, hostGeneration: generation }, standing, this)
    const after = ruleAfter<Ruler>(this, epoch, coordinatorIncarnation)
    this.coordinatorEpoch = after.coordinatorEpoch
    this.coordinatorIncarnation = after.coordinatorIncarnation
  }

  #about(): Wire {
    return {
      ...{ hostId: this.hostId, hostGeneration: String(this.hostGeneration), recovering: this.isRecovering },
      ...{ coordinatorEpoch: String(this.coordinatorEpoch), incarnation: this.watch.incarnation },
      capabilities: { ...this.capabilities, bootId: this.bootId },
      stats: {
        memoryAvailableBytes: String(8 * 2 ** 30),
        memoryTotalBytes: String(16 * 2 ** 30),
        cpuPercent: 5
      }
    }
  }

  #hostHandlers() {
    return {
      getHost: plain(() => this.#about()),
      welcome: plain(request => {
        this.hostGeneration = Number(request['hostGeneration'])
        this.sanlockHostId = request['sanlockHostId']
        this.peers = request['peers']
        this.#deny(request)
        this.#count('Welcome')
        return { incarnation: this.watch.incarnation }
      }),
      updateDenyList: plain(request => {
        this.#deny(request)
        return {}
      }),
      beginCertificateRenewal: plain(async () => {
        const { key, csr } = await newKey()
        this.#nextKey = key
        return { csr }
      }),
      completeCertificateRenewal: plain(({ certificatePem, trustPem }) => {
        this.#certificates = { key: this.#nextKey, certificate: certificatePem, trust: trustPem }
        this.#server?.reload(this.#certificates)
        this.#count('CompleteCertificateRenewal')
        return {}
      })
    }
  }

  #deny({ deniedSerials, deniedHostIds }: Wire): void {
    this.deniedSerials = deniedSerials
    this.deniedHostIds = deniedHostIds
  }

  #taskHandlers() {
    const known = (taskId: string) => {
      const task = this.tasks.get(taskId)
      if (!task) throw new Fault('NOT_FOUND', `no task ${taskId}`)
      return task
    }
    return {
      getTask: plain(({ taskId }) => this.#taskMessage(known(taskId))),
      listTasks: plain(() => ({ tasks: [...this.tasks.values()].map(task => this.#taskMessage(task)) })),
      cancelTask: plain(({ taskId }) => {
        const task = known(taskId)
        this.#cancels.get(taskId)?.abort(new Fault('CANCELLED', 'somebody asked'))
        return this.#taskMessage(task)
      }),
      acknowledgeTasks: plain(({ taskIds }) => {
        for (const id of taskIds) this.tasks.delete(id)
        return {}
      })
    }
  }

  #vmHandlers() {
    return {
      ...this.#taskMethods([
        'startVm',
        'shutdownVm',
        'rebootVm',
        'resetVm',
        'pauseVm',
        'resumeVm',
        'destroyVm',
        'changeCd'
      ]),
      getVm: plain(({ vmId }) => {
        const vm = this.vms.get(vmId)
        if (!vm) throw new Fault('VM_NOT_FOUND', `no VM ${vmId}`)
        return vm
      }),
      listVms: plain(() => ({ vms: [...this.vms.values()] })),
      setVmLimits: plain(async (request, signal) => {
        await this.works.get('SetVmLimits')?.(request, () => {}, signal)
        return {}
      })
    }
  }

  #storageHandlers() {
    return {
      ...this.#taskMethods([
        ...['connectStorageDomain', 'disconnectStorageDomain', 'createStorageDomain', 'attachStorageDomain'],
        ...['activateStorageDomain', 'deactivateStorageDomain', 'detachStorageDomain', 'formatStorageDomain'],
        ...['createVolume', 'removeImage', 'copyImage', 'shareVolume', 'resizeVolume', 'mergeVolumes'],
        ...['importImage', 'createLease', 'removeLease', 'awaitLease']
      ]),
      listVolumes: plain(() => ({ volumes: [] })),
      listLeases: plain(() => ({ leases: [] })),
      auditStorageDomain: plain(() => ({ findings: [] }))
    }
  }

  #watchHandler(): Handler {
    return {
      kind: 'serverStream',
      bind:
        message =>
        ({ signal }) =>
          this.watch.stream(
            message as Wire,
            () => ({
              hostGeneration: String(this.hostGeneration),
              bootId: this.bootId,
              agentVersion: '0.0.0',
              contractHash: this.#api.contractHash ?? ''
            }),
            signal
          )
    }
  }

  #taskMethods(names: string[]): Record<string, Handler> {
    return Object.fromEntries(
      names.map(name => [
        name,
        plain((request, signal) => this.#task(name.charAt(0).toUpperCase() + name.slice(1), request, signal))
      ])
    )
  }

  /** The same request finds its task; one that was lost is done again. */
  async #task(method: string, request: Wire, signal: AbortSignal): Promise<Wire> {
    const { requestId: taskId, coordinatorEpoch: _, hostGeneration: __, ...content } = request
    const hash = contentHash({ method, content })
    const known = this.tasks.get(taskId)
    if (known && known.hash !== hash) throw new Fault('REQUEST_ID_REUSED', `request id ${taskId} was used`)
    if (!known || known.state === 'LOST') {
      this.#count(method)
      this.#begin({ taskId, kind: method, state: 'RUNNING', hash, answer: {} }, request)
    }
    const task = this.tasks.get(taskId) as FakeTask
    if (this.losesReplyOf.has(method)) {
      this.losesReplyOf.delete(method)
      await new Promise<never>((_, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
      )
    }
    return this.#taskMessage(task)
  }

  #begin(task: FakeTask, request: Wire): void {
    const cancel = new AbortController()
    this.tasks.set(task.taskId, task)
    this.#cancels.set(task.taskId, cancel)
    const told = (progress: Wire) => {
      task.answer = { ...task.answer, progress }
      this.#publishTask(task)
    }
    const work = this.works.get(task.kind)
    const end = (state: string, answer: Wire) => {
      if (task.state !== 'RUNNING') return
      Object.assign(task, { state, answer: { ...task.answer, ...answer } })
      this.#publishTask(task)
    }
    Promise.resolve()
      .then(() => work?.(request, told, cancel.signal))
      .then(
        result => end('SUCCEEDED', { result: result ?? {} }),
        (error: unknown) => {
          const fault = error instanceof Fault ? error : new Fault('INTERNAL', String(error))
          if (fault.reason === 'CANCELLED') return end('CANCELLED', {})
          const { reason, message, nextStep, facts } = fault
          end('FAILED', { failure: { reason, message, nextStep, facts } })
        }
      )
      .catch((error: unknown) => log.error({ err: error }, 'fake task'))
  }

  #publishTask(task: FakeTask): void {
    this.watch.publish(`task/${task.taskId}`, { task: this.#taskMessage(task) })
  }

  #taskMessage({ taskId, kind, state, answer }: FakeTask): Wire {
    return { taskId, kind, state: `TASK_STATE_${state}`, ...answer }
  }

  #startVm({ vmGeneration, spec }: Wire): void {
    const vm = { vmId: spec['vmId'], name: spec['name'], vmGeneration, spec, exitReason: '', failure: null }
    this.setVm({ ...vm, status: 'VM_STATUS_POWERING_UP' })
    this.setVm({ ...vm, status: 'VM_STATUS_UP' })
  }

  #connect({ storageDomainId, connection }: Wire): void {
    this.#setDomain({ storageDomainId, connection, health: 'STORAGE_DOMAIN_HEALTH_INACTIVE' })
  }

  #health({ storageDomainId }: Wire, health: string): void {
    this.#setDomain({
      storageDomainId,
      health: `STORAGE_DOMAIN_HEALTH_${health}`,
      hostIdHeld: health === 'ACTIVE'
    })
  }

  #setDomain(domain: Wire): void {
    const next = {
      totalBytes: String(2 ** 40),
      freeBytes: String(2 ** 39),
      ...this.storageDomains.get(domain['storageDomainId']),
      ...domain
    }
    this.storageDomains.set(domain['storageDomainId'], next)
    this.watch.publish(`storageDomain/${domain['storageDomainId']}`, { storageDomain: next })
  }

  #count(method: string): void {
    this.effects.set(method, (this.effects.get(method) ?? 0) + 1)
  }

  async #reservePort(): Promise<number> {
    const { createServer } = await import('node:net')
    const server = createServer()
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    await new Promise(resolve => server.close(resolve))
    return port
  }
}

/** The handlers of those methods that the service has. */
function only(service: ServiceDefinition, handlers: Record<string, Handler>): Record<string, Handler> {
  const own = new Set(Object.keys(service).map(name => name.charAt(0).toLowerCase() + name.slice(1)))
  return Object.fromEntries(Object.entries(handlers).filter(([name]) => own.has(name)))
}

/** A unary handler without a check of its own: the fake believes what the coordinator sends. */
function plain(work: (request: Wire, signal: AbortSignal) => unknown): Handler {
  return {
    kind: 'unary',
    bind:
      message =>
      async ({ signal }) =>
        (await work(message as Wire, signal)) as object
  }
}

async function newKey() {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const request = await Pkcs10CertificateRequestGenerator.create({
    ...{ name: 'CN=whoever', keys, signingAlgorithm: algorithm }
  })
  const key = PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY')
  return { key, csr: Buffer.from(request.rawData) }
}

function serialOf(pem: string): string {
  const end = '-----END CERTIFICATE-----'
  const der = PemConverter.decodeFirst(`${pem.slice(0, pem.indexOf(end))}${end}`)
  return readCertificateIdentity(new Uint8Array(der)).serial
}
