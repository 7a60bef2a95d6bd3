import { basename } from 'node:path'
import type { Clock } from '../../common/clock.js'
import { Fault } from '../../common/fault.js'
import type { Logger } from '../../common/log.js'
import { type Bytes, bytes, MiB, seconds, type Seconds } from '../../common/units.js'
import { setBlockThreshold } from '../../libvirt/block-job.js'
import type { Libvirt } from '../../libvirt/connections.js'
import { domainFacts, type DomainFacts } from '../../libvirt/domain-facts.js'
import type { LibvirtEvent } from '../../libvirt/events.js'
import { domainStats } from '../../libvirt/stats.js'
import type { AgentConfig } from '../config.js'
import { every } from '../every.js'
import type { IdentityFile } from '../identity.js'
import type { Role } from '../manager/role.js'
import { setUpManager } from '../manager/set-up.js'
import type { Peers } from '../peers.js'
import type { PeerVolumes } from '../services/peer.js'
import type { Storage } from '../storage.js'
import { metadataUri } from '../vm-metadata.js'
import type { Vm } from '../vm.js'
import type { Vms } from '../vms.js'
import { type DiskUsage, Extender, key, type ThinDisk } from './extender.js'
import { FastPath } from './fast-path.js'
import { adaptivePolicy, conservativePolicy, type ThinPolicy } from './policy.js'
import { Ways, type WaysParts } from './ways.js'

type Parts = {
  vms: () => Vms
  storage: Storage
  libvirt: () => Libvirt
  peers: Peers
  identity: IdentityFile
  policy: ThinPolicy
  /** A manager that nobody asks for so long lets others have their turn. */
  managerIdle: Seconds
  clock: Clock
  log: Logger
}

const sweep = seconds(2)
/** How long what libvirt said of a VM's disks is believed. */
const fresh = seconds(30)

export function policyOf(config: AgentConfig): ThinPolicy {
  if (config.thin_policy === 'conservative') return conservativePolicy
  const least = MiB(config.thin_least_chunk_mib)
  const most = MiB(Math.max(config.thin_least_chunk_mib, config.thin_most_chunk_mib))
  return { ...adaptivePolicy, chunk: { least, most } }
}

/** The extender with everything that it needs of this host, and this host's side of its peers' requests. */
export function setUpExtender(parts: Parts, signal: AbortSignal) {
  const { vms, peers, clock, log } = parts
  const fast = new FastPath(hostId => peers.connect(hostId), clock)
  const { role, verbs } = setUpManager(
    {
      ...{ storage: parts.storage, identity: parts.identity, idle: parts.managerIdle, clock, log },
      handOver: (hostId, id, isForGood, end) => fast.handOver(hostId, id, isForGood, end),
      onChange: id => ways.forget(id)
    },
    signal
  )
  const ways: Ways = new Ways(waysParts(parts, fast, role))
  const disks = new ThinDisks(parts)
  const extender = new Extender({
    ...{ policy: parts.policy, clock, log },
    disks: end => disks.all(end),
    usage: (vmIds, end) => usageOf(parts.libvirt(), vmIds, end),
    arm: ({ vmId, device }, threshold, end) =>
      setBlockThreshold(vms().get(vmId).libvirtDomain, device, threshold, end),
    extend: (wanted, end) => ways.extend(wanted, end),
    refresh: ({ storageDomainId, volumeId }, end) =>
      refreshHere(parts.storage, storageDomainId, volumeId, end),
    destinationOf: vmId => {
      const vm = vms().find(vmId)
      const isLeaving = vm?.state.status === 'migratingFrom'
      return isLeaving ? (vm?.record?.migration?.destinationHostId ?? null) : null
    },
    refreshAt: (hostId, disk, end) => fast.refresh(hostId, disk, end),
    resume: async (vmId, end) => {
      const vm = vms().find(vmId)
      if (vm && isPausedForSpace(vm)) await vm.libvirtDomain.resume(end)
    },
    isPausedForSpace: vmId => {
      const vm = vms().find(vmId)
      return vm !== null && isPausedForSpace(vm)
    },
    isRunning: vmId => vms().find(vmId)?.state.status === 'up',
    freeSpace: id => parts.storage.find(id)?.report?.free ?? null,
    note: (vmId, what, text) => vms().options.note(vmId, what, text)
  })

  const onEvent = (event: LibvirtEvent) => {
    if (event.kind === 'blockThreshold') {
      const [threshold, excess] = [bytes(event.threshold), bytes(event.excess)]
      extender.onThreshold(event.uuid, event.dev, threshold, excess, signal)
    } else if (event.kind === 'ioError' && event.noSpace && event.action === 'pause') {
      extender.onNoSpace(event.uuid, event.alias, signal)
    }
  }
  const volumes: PeerVolumes = {
    extend: (id, { volumeId, to }, end) => role.serve(id, volumeId, to, end),
    refresh: (id, volumeId, end) => refreshHere(parts.storage, id, volumeId, end),
    handOver: (id, { hostId, isForGood }, end) => role.handOver(id, hostId, isForGood, end)
  }
  const run = () => {
    void every({ clock, log, name: 'thin disks' }, sweep, end => extender.round(end), signal)
    void every({ clock, log, name: 'manager role' }, seconds(1), end => role.round(end), signal)
    signal.addEventListener('abort', () => fast.close(), { once: true })
  }
  return { extender, onEvent, volumes, manager: verbs, run }
}

function waysParts(parts: Parts, fast: FastPath, role: Role): WaysParts {
  const { storage, identity, clock, log } = parts
  return {
    worker: {
      extend: ({ storageDomainId, volumeId, to }, end) => role.extend(storageDomainId, volumeId, to, end),
      askManager: ({ storageDomainId, volumeId, to }, end) =>
        storage.askActive(storageDomainId, 'askManager', { volumeId, to }, end),
      manager: async (id, end) => {
        const { isManager, owner } = await storage.askActive(id, 'managerState', {}, end)
        // A worker of ours that died was the manager: nobody is.
        const isElsewhere = owner !== null && owner.sanlockHostId !== identity.now.sanlockHostId
        if (isManager || isElsewhere)
          return { isManager, ownerSanlockHostId: isElsewhere ? owner.sanlockHostId : null }
        // It was handed over from here, and is on its way.
        const successor = role.successorOf(id)
        const heir = identity.now.peers.find(({ hostId }) => hostId === successor)
        return { isManager, ownerSanlockHostId: heir?.sanlockHostId ?? null }
      },
      takeManager: (id, end) => role.take(id, end)
    },
    peer: (hostId, wanted, end) => fast.extend(hostId, wanted, end),
    hostIdOf: number => identity.hostIdOf(number),
    ownHostId: () => identity.now.hostId,
    clock,
    log
  }
}

/** Which disks of running VMs are thin volumes on block storage, as libvirt's XML has them. */
class ThinDisks {
  readonly #parts: Parts
  readonly #known = new WeakMap<Vm, { facts: DomainFacts; at: Seconds; since: Seconds }>()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  async all(signal: AbortSignal): Promise<ThinDisk[]> {
    const vms = this.#parts
      .vms()
      .running()
      .filter(vm => this.#onBlock(vm).length > 0)
    const found = await Promise.all(vms.map(vm => this.#ofVm(vm, signal).catch(() => [])))
    return found.flat()
  }

  #onBlock(vm: Vm) {
    if (vm.state.status === 'migratingTo' || vm.state.status === 'waitForLaunch') return []
    return (vm.record?.spec.disks ?? []).filter(({ storageDomainId, readOnly, cdrom }) => {
      const kind = this.#parts.storage.find(storageDomainId)?.description?.metadata.kind
      return !readOnly && !cdrom && (kind === 'iscsi' || kind === 'fcp')
    })
  }

  async #ofVm(vm: Vm, signal: AbortSignal): Promise<ThinDisk[]> {
    const facts = await this.#facts(vm, signal)
    return this.#onBlock(vm).flatMap(({ diskId, storageDomainId }) => {
      const disk = facts.disks.find(({ serial }) => serial === diskId)
      const leaf = disk?.chain[0]
      if (!disk || !leaf || leaf.format !== 'qcow2' || leaf.index === null) return []
      const { target, isMirrorReady } = disk
      const device = `${target}[${leaf.index}]`
      const volumeId = basename(leaf.path)
      return [{ vmId: vm.id, target, device, diskId, storageDomainId, volumeId, isMirrored: isMirrorReady }]
    })
  }

  async #facts(vm: Vm, signal: AbortSignal): Promise<DomainFacts> {
    const now = this.#parts.clock.monotonic()
    const known = this.#known.get(vm)
    if (known && known.since === vm.since && now - known.at < fresh) return known.facts
    const facts = domainFacts(await vm.libvirtDomain.xml(signal), metadataUri)
    this.#known.set(vm, { facts, at: now, since: vm.since })
    return facts
  }
}

async function usageOf(
  libvirt: Libvirt,
  uuids: string[],
  signal: AbortSignal
): Promise<Map<string, DiskUsage>> {
  const usages = new Map<string, DiskUsage>()
  const sized = (value: number | null) => (value === null ? null : bytes(value))
  for (const { uuid, disks } of await domainStats(libvirt, { groups: ['block'], uuids }, signal)) {
    for (const { name, capacity, physical, allocation } of disks) {
      const usage = {
        capacity: sized(capacity),
        physical: sized(physical),
        allocation: sized(allocation)
      }
      usages.set(key(uuid, name), usage)
    }
  }
  return usages
}

async function refreshHere(
  storage: Storage,
  id: string,
  volumeId: string,
  signal: AbortSignal
): Promise<Bytes> {
  const [refreshed] = await storage.askActive(id, 'refreshVolumes', { volumeIds: [volumeId] }, signal)
  if (refreshed) return refreshed.size
  throw new Fault('VOLUME_NOT_FOUND', `volume ${volumeId} is not in use on this host`)
}

function isPausedForSpace({ state, record }: Vm): boolean {
  return state.status === 'paused' && state.pause === 'enospc' && record?.isPausedByUser !== true
}
