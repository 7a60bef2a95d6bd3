import { Fault, type Reason } from '../../../common/fault.js'
import { contentHash } from '../../../common/ids.js'

// Hosts and shared storage as jobs know them: small, strict, and forgetful of nothing. Every request id has
// one effect and one answer. Tests tell it what fails, which replies get lost, and look at what is left.

export type FakeVolume = {
  volumeId: string
  imageId: string
  parentId: string
  capacity: string
  format: string
  allocation: string
  role: 'LEAF' | 'INTERNAL' | 'SHARED'
}
export type FakeStorageDomain = {
  dataCenterId: string
  description: string
  volumes: Map<string, FakeVolume>
  leases: Set<string>
  /** Of a block storage domain. */
  devices?: Set<string>
}
export type FakeVm = {
  vmId: string
  generation: number
  status: string
  exitReason: string
  spec: Message
  /** Images in its CD-ROM drives, by their numbers, where somebody changed them. */
  cds?: Record<string, string>
}
export type FakeHost = {
  isSilent: boolean
  vms: Map<string, FakeVm>
  incoming: Set<string>
  connected: Set<string>
  active: Set<string>
  tasks: Map<string, FakeTask>
  /** Packages with a newer version: name, before, after. */
  upgrades: string[]
  /** Why it wants to be rebooted. */
  reboot: string
}
type Message = Record<string, unknown>
type FakeTask = { digest: string; answer: { result: Record<string, string> } | { fault: Fault } | null }
type Verb = (host: FakeHost, request: Message, hostId: string) => Record<string, string> | void

export type Chaos = {
  /** Called before and after each effect: throw to lose the request or the reply. */
  before?: (hostId: string, verb: string) => void
  after?: (hostId: string, verb: string) => void
}

export class FakeWorld {
  readonly hosts = new Map<string, FakeHost>()
  readonly storage = new Map<string, FakeStorageDomain>()
  readonly uploads = new Set<string>()
  /** Everything that was really done, in order. */
  readonly effects: string[] = []
  /** What verbs answer instead of working, one failure a call. */
  readonly failures = new Map<string, Reason[]>()
  chaos: Chaos = {}
  /** A VM on a host is another now. */
  onVm: (hostId: string, vm: FakeVm | null, vmId: string) => void = () => {}
  /** It has booted anew, and had that boot id before. */
  onBoot: (hostId: string, before: string) => void = () => {}
  onStorageDomain: (hostId: string, storageDomainId: string, health: string) => void = () => {}

  readonly powerOff = new Set<string>()
  /** Hosts that are proven to be stopped. */
  readonly gone = new Set<string>()
  isGone = (hostId: string) => this.gone.has(hostId)

  addHost(hostId: string): FakeHost {
    const host: FakeHost = {
      isSilent: false,
      vms: new Map(),
      incoming: new Set(),
      connected: new Set(),
      active: new Set(),
      tasks: new Map(),
      upgrades: [],
      reboot: ''
    }
    this.hosts.set(hostId, host)
    return host
  }

  host(hostId: string): FakeHost {
    const host = this.hosts.get(hostId)
    if (!host || host.isSilent) throw new Fault('HOST_UNREACHABLE', `${hostId} does not answer`)
    return host
  }

  fail(verb: string, ...reasons: Reason[]): void {
    this.failures.set(verb, reasons)
  }

  /** One mutation: the same id has one effect and one answer. */
  task(hostId: string, verb: string, request: Message): Record<string, string> {
    this.chaos.before?.(hostId, verb)
    const host = this.host(hostId)
    const { requestId, coordinatorEpoch: _, hostGeneration: __, ...content } = request
    if (typeof requestId !== 'string' || requestId === '') throw new Fault('INVALID_REQUEST', 'no request id')
    const digest = contentHash({ verb, content })
    const known = host.tasks.get(requestId)
    if (known && known.digest !== digest) throw new Fault('REQUEST_ID_REUSED', requestId)
    const task = known ?? { digest, answer: null }
    host.tasks.set(requestId, task)
    if (!task.answer) {
      const [reason] = this.failures.get(verb)?.splice(0, 1) ?? []
      const fault = reason && new Fault(reason, `${verb} failed`)
      if (fault && (fault.status === 'UNAVAILABLE' || fault.status === 'DEADLINE_EXCEEDED')) throw fault
      task.answer = fault ? { fault } : this.#answer(hostId, host, verb, request)
    }
    this.chaos.after?.(hostId, verb)
    if ('fault' in task.answer) throw task.answer.fault
    return task.answer.result
  }

  vm(hostId: string, vmId: string): FakeVm {
    const vm = this.host(hostId).vms.get(vmId)
    if (!vm) throw new Fault('VM_NOT_FOUND', `no VM ${vmId} on ${hostId}`)
    return vm
  }

  volumes(storageDomainId: string, imageId = ''): FakeVolume[] {
    const all = [...this.#domain(storageDomainId).volumes.values()]
    return all.filter(volume => imageId === '' || volume.imageId === imageId)
  }

  /** A guest or a power cut does this: the host tells by its watch stream. */
  setVm(hostId: string, vmId: string, status: string, exitReason = ''): void {
    const host = this.hosts.get(hostId)
    const vm = host?.vms.get(vmId)
    if (!host || !vm) return
    Object.assign(vm, { status, exitReason })
    this.onVm(hostId, vm, vmId)
  }

  #answer(hostId: string, host: FakeHost, verb: string, request: Message): NonNullable<FakeTask['answer']> {
    const work = this.#verbs[verb]
    if (!work) throw new TypeError(`the fake world has no ${verb}`)
    try {
      return { result: work(host, request, hostId) ?? {} }
    } catch (error) {
      if (error instanceof Fault) return { fault: error }
      throw error
    }
  }

  #domain(storageDomainId: string): FakeStorageDomain {
    const found = this.storage.get(storageDomainId)
    if (!found) throw new Fault('NOT_FOUND', `no storage domain ${storageDomainId}`)
    return found
  }

  #active(host: FakeHost, storageDomainId: string): FakeStorageDomain {
    if (!host.active.has(storageDomainId)) throw new Fault('WRONG_STATE', `${storageDomainId} is not active`)
    return this.#domain(storageDomainId)
  }

  #did(what: string, ...names: unknown[]): void {
    this.effects.push([what, ...names].join(' '))
  }

  readonly #verbs: Record<string, Verb> = {
    CreateStorageDomain: (host, { storageDomainId, description, dataCenterId }) => {
      const id = String(storageDomainId)
      if (this.storage.has(id)) return
      this.#did('create storage domain', id)
      this.storage.set(id, {
        dataCenterId: String(dataCenterId),
        description: String(description),
        volumes: new Map(),
        leases: new Set()
      })
      host.connected.add(id)
    },
    ConnectStorageDomain: (host, { storageDomainId }) => {
      this.#domain(String(storageDomainId))
      host.connected.add(String(storageDomainId))
    },
    DisconnectStorageDomain: (host, { storageDomainId }, hostId) => {
      if (host.active.has(String(storageDomainId))) throw new Fault('WRONG_STATE', 'it is active')
      host.connected.delete(String(storageDomainId))
      this.onStorageDomain(hostId, String(storageDomainId), 'removed')
    },
    AttachStorageDomain: (_, { storageDomainId, dataCenterId }) => {
      const domain = this.#domain(String(storageDomainId))
      if (domain.dataCenterId !== '' && domain.dataCenterId !== dataCenterId) {
        throw new Fault('WRONG_STATE', 'another data center owns it')
      }
      domain.dataCenterId = String(dataCenterId)
    },
    DetachStorageDomain: (_, { storageDomainId }) => {
      this.#domain(String(storageDomainId)).dataCenterId = ''
    },
    FormatStorageDomain: (_, { storageDomainId }) => {
      const domain = this.#domain(String(storageDomainId))
      if (domain.dataCenterId !== '') throw new Fault('WRONG_STATE', 'it is attached')
      this.#did('format storage domain', storageDomainId)
      this.storage.delete(String(storageDomainId))
      for (const other of this.hosts.values()) other.connected.delete(String(storageDomainId))
    },
    ActivateStorageDomain: (host, { storageDomainId, sanlockHostId }, hostId) => {
      const id = String(storageDomainId)
      if (!host.connected.has(id)) throw new Fault('WRONG_STATE', 'it is not connected')
      if (Number(sanlockHostId) < 1) throw new Fault('INVALID_REQUEST', 'sanlock_host_id')
      host.active.add(id)
      this.onStorageDomain(hostId, id, 'active')
    },
    DeactivateStorageDomain: (host, { storageDomainId }, hostId) => {
      host.active.delete(String(storageDomainId))
      this.onStorageDomain(hostId, String(storageDomainId), 'inactive')
    },
    RepairStorageDomain: (host, { storageDomainId }) => {
      this.#active(host, String(storageDomainId)).leases.delete('leaked')
      this.#did('repair', storageDomainId)
      return { done: 'a leaked lease', failed: '', left: '' }
    },
    ChangeDevice: (host, { storageDomainId, device, change }) => {
      const domain = this.#active(host, String(storageDomainId))
      const devices = (domain.devices ??= new Set())
      if (change === 'DEVICE_CHANGE_ADD') devices.add(String(device))
      if (change === 'DEVICE_CHANGE_REMOVE') devices.delete(String(device))
      this.#did('change device', change, device)
    },
    CreateVolume: (host, request) => {
      const domain = this.#active(host, String(request['storageDomainId']))
      const parentId = String(request['parentId'])
      const parent = domain.volumes.get(parentId)
      if (parentId !== '' && !parent) throw new Fault('VOLUME_NOT_FOUND', `no parent ${parentId}`)
      if (domain.volumes.has(String(request['volumeId']))) return
      if (parent?.role === 'LEAF') parent.role = 'INTERNAL'
      this.#publish(domain, request, 'LEAF', String(request['capacity']), parentId)
    },
    CopyImage: (host, request) => {
      const source = this.#active(host, String(request['sourceStorageDomainId']))
      const from = source.volumes.get(String(request['sourceVolumeId']))
      if (!from) throw new Fault('VOLUME_NOT_FOUND', 'no source')
      const domain = this.#active(host, String(request['storageDomainId']))
      this.#publish(domain, request, request['shared'] ? 'SHARED' : 'LEAF', from.capacity, '')
    },
    ImportImage: (host, request) => {
      const domain = this.#active(host, String(request['storageDomainId']))
      const source = String(request['source'])
      if (!source.startsWith('/') && !this.uploads.has(source)) throw new Fault('NOT_FOUND', 'no upload')
      this.#publish(domain, request, 'LEAF', String(2 ** 30), '')
    },
    RemoveImage: (host, { storageDomainId, imageId }) => {
      const domain = this.#active(host, String(storageDomainId))
      const own = [...domain.volumes.values()].filter(volume => volume.imageId === imageId)
      const ids = own.map(({ volumeId }) => volumeId)
      const child = [...domain.volumes.values()].find(
        volume => volume.imageId !== imageId && ids.includes(volume.parentId)
      )
      if (child) throw new Fault('WRONG_STATE', `${child.imageId} depends on it`)
      if (own.length > 0) this.#did('remove image', imageId)
      for (const id of ids) domain.volumes.delete(id)
    },
    ShareVolume: (host, { storageDomainId, volumeId }) => {
      const volume = this.#active(host, String(storageDomainId)).volumes.get(String(volumeId))
      if (!volume) throw new Fault('VOLUME_NOT_FOUND', 'no volume')
      volume.role = 'SHARED'
    },
    ResizeVolume: (host, { storageDomainId, volumeId, capacity }) => {
      const volume = this.#active(host, String(storageDomainId)).volumes.get(String(volumeId))
      if (!volume) throw new Fault('VOLUME_NOT_FOUND', 'no volume')
      this.#did('resize', volumeId, capacity)
      volume.capacity = String(capacity)
    },
    MergeVolumes: (host, { storageDomainId, topVolumeId, baseVolumeId }) => {
      const domain = this.#active(host, String(storageDomainId))
      const [top, base] = [domain.volumes.get(String(topVolumeId)), domain.volumes.get(String(baseVolumeId))]
      if (!base) throw new Fault('VOLUME_NOT_FOUND', 'no base')
      if (!top) return
      if (top.parentId !== base.volumeId) throw new Fault('WRONG_STATE', 'not adjacent')
      this.#did('merge', topVolumeId, baseVolumeId)
      base.capacity = top.capacity
      base.role = top.role
      for (const volume of domain.volumes.values()) {
        if (volume.parentId === top.volumeId) volume.parentId = base.volumeId
      }
      domain.volumes.delete(top.volumeId)
    },
    CreateLease: (host, { storageDomainId, leaseId }) => {
      const domain = this.#active(host, String(storageDomainId))
      if (!domain.leases.has(String(leaseId))) this.#did('create lease', leaseId)
      domain.leases.add(String(leaseId))
      return { offset_bytes: String((2 + domain.leases.size) * 2 ** 20) }
    },
    RemoveLease: (host, { storageDomainId, leaseId }) => {
      const domain = this.#active(host, String(storageDomainId))
      if (domain.leases.delete(String(leaseId))) this.#did('remove lease', leaseId)
    },
    UpgradePackages: (host, { dryRun }, hostId) => {
      const answer = { packages: host.upgrades.join('\n'), reboot: host.reboot }
      if (dryRun) return answer
      this.#did('upgrade', hostId)
      for (const vm of host.vms.values())
        if (vm.status !== 'down') throw new Fault('INTERNAL', `${vm.vmId} runs while its host is upgraded`)
      host.upgrades = []
      return answer
    },
    RebootHost: (host, { bootId }, hostId) => {
      this.#did('reboot', hostId)
      host.reboot = ''
      this.onBoot(hostId, String(bootId))
    },
    AwaitLease: (_, { storageDomainId, leaseId }) => {
      if (!this.#domain(String(storageDomainId)).leases.has(String(leaseId))) {
        throw new Fault('NOT_FOUND', 'no lease')
      }
      if (this.runningOn(String(leaseId)).length > 0) throw new Fault('LEASE_HELD', 'its owner is alive')
    },
    StartVm: (host, { vmGeneration, spec, paused }, hostId) => {
      const vmId = String((spec as Message)['vmId'])
      const before = host.vms.get(vmId)
      const generation = Number(vmGeneration)
      if (before && before.generation > generation) throw new Fault('STALE_GENERATION', 'older')
      if (before?.generation === generation && before.status !== 'down') return
      if (this.runningOn(vmId).length > 0) throw new Fault('LEASE_HELD', `${vmId} runs elsewhere`)
      this.#did('start', vmId, hostId)
      const vm = { vmId, generation, status: paused ? 'paused' : 'up', exitReason: '', spec: spec as Message }
      host.vms.set(vmId, vm)
      this.onVm(hostId, vm, vmId)
    },
    DestroyVm: (host, { vmId, vmGeneration }, hostId) => {
      const vm = host.vms.get(String(vmId))
      if (!vm || (Number(vmGeneration) !== 0 && vm.generation !== Number(vmGeneration))) return
      if (vm.status !== 'down') this.#did('destroy', vmId, hostId)
      host.vms.delete(String(vmId))
      this.onVm(hostId, null, String(vmId))
    },
    ShutdownVm: (_, { vmId }, hostId) => {
      this.vm(hostId, String(vmId))
      this.#did('shut down', vmId, hostId)
      this.setVm(hostId, String(vmId), 'down', 'shutdown')
    },
    RebootVm: (_, { vmId }, hostId) => {
      this.vm(hostId, String(vmId))
      this.#did('reboot', vmId, hostId)
    },
    ResetVm: (_, { vmId }, hostId) => {
      this.vm(hostId, String(vmId))
      this.#did('reset', vmId, hostId)
    },
    PauseVm: (_, { vmId }, hostId) => {
      this.vm(hostId, String(vmId))
      this.setVm(hostId, String(vmId), 'paused')
    },
    ResumeVm: (_, { vmId }, hostId) => {
      this.vm(hostId, String(vmId))
      this.setVm(hostId, String(vmId), 'up')
    },
    ChangeCd: (_, { vmId, drive, medium }, hostId) => {
      const vm = this.vm(hostId, String(vmId))
      const imageId = String((medium as Message | null)?.['imageId'] ?? '')
      this.#did('change CD', vmId, drive, imageId)
      vm.cds = { ...vm.cds, [String(drive)]: imageId }
      if (imageId === '') delete vm.cds[String(drive)]
    },
    PrepareIncoming: (host, { spec }) => {
      host.incoming.add(String((spec as Message)['vmId']))
      return { migrationAddress: '192.0.2.1:49152' }
    },
    CancelIncoming: (host, { vmId }) => {
      host.incoming.delete(String(vmId))
    },
    MigrateVm: (_, { vmId, vmGeneration, destinationHostId }, hostId) => {
      const id = String(vmId)
      const vm = this.vm(hostId, id)
      const there = this.host(String(destinationHostId))
      if (!there.incoming.has(id)) throw new Fault('WRONG_STATE', 'nobody expects it there')
      if (vm.generation !== Number(vmGeneration)) throw new Fault('STALE_GENERATION', 'another life')
      this.#did('migrate', id, hostId, destinationHostId)
      const moved = { ...vm, status: 'up' }
      there.incoming.delete(id)
      there.vms.set(id, moved)
      this.onVm(String(destinationHostId), moved, id)
      this.setVm(hostId, id, 'down', 'migrated')
    }
  }

  /** Hosts on which a VM runs: never two. */
  runningOn(vmId: string): string[] {
    return [...this.hosts].filter(([, { vms }]) => isRunning(vms.get(vmId))).map(([hostId]) => hostId)
  }

  #publish(
    domain: FakeStorageDomain,
    request: Message,
    role: FakeVolume['role'],
    capacity: string,
    parentId: string
  ): void {
    const volumeId = String(request['volumeId'])
    if (domain.volumes.has(volumeId)) return
    this.#did('create volume', volumeId)
    domain.volumes.set(volumeId, {
      volumeId,
      imageId: String(request['imageId']),
      parentId,
      capacity,
      format: String(request['format']),
      allocation: String(request['allocation']),
      role
    })
  }
}

const isRunning = (vm: FakeVm | undefined) => vm !== undefined && vm.status !== 'down'
