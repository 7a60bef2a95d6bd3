import { Fault } from '../../common/fault.js'
import { bytes, type Bytes } from '../../common/units.js'
import type { ClusterSnapshot, PlacementRequest, SchedulableHost, VmLoad } from '../scheduler/cluster.js'
import { summarize } from '../scheduler/explain.js'
import { place, type Placement } from '../scheduler/place.js'
import { cluster } from '../store/clusters.js'
import { addDecision } from '../store/decisions.js'
import { disk } from '../store/disks.js'
import { hosts, hostsOfCluster, type Host } from '../store/hosts.js'
import { pendingOn, reserve } from '../store/pending.js'
import type { Reader, Tx } from '../store/query.js'
import { viewsOfHost } from '../store/storage-domains.js'
import { pinnedHosts, vm, vmDisks, vmNics, vmOrNull, vmsOfHost, type Vm } from '../store/vms.js'
import type { Loads } from './world.js'

export type Choice = {
  purpose: PlacementRequest['purpose']
  vmId: string
  onlyHostId: string | null
  preferredHostId: string | null
  currentHostId: string | null
  excluded: Record<string, string>
}
export type Chosen = { placement: Placement; summary: string }

/** Where a VM would go now, and why: one look at the store, one pure decision. */
export function placeVm(reader: Reader, loads: Loads, choice: Choice): Chosen {
  const { vmId, excluded, ...rest } = choice
  const row = vm(reader, vmId)
  const request: PlacementRequest = {
    ...rest,
    vm: requestOf(reader, row),
    excluded: new Map(Object.entries(excluded))
  }
  const placement = place(snapshotOf(reader, loads, row.clusterId, vmId), request)
  return { placement, summary: summarize(request, placement) }
}

/** The same, written down: the decision with its reasons, and the room it promises. */
export function chooseHost(
  tx: Tx,
  loads: Loads,
  choice: Choice,
  jobId: string,
  now: number
): { hostId: string | null; summary: string } {
  const { placement, summary } = placeVm(tx, loads, choice)
  const hostId = placement.kind === 'placed' ? placement.hostId : null
  const { vmId, purpose } = choice
  addDecision(tx, {
    ...{ vmId, purpose, summary, jobId, time: now, hostId: hostId ?? '' },
    verdicts: placement.verdicts.map(({ filter, ...verdict }) => ({ ...verdict, filter: filter ?? '' }))
  })
  if (hostId !== null) {
    const { vcpus, memoryBytes } = vm(tx, vmId)
    reserve(tx, { vmId, hostId, jobId, vcpus, memoryBytes, created: now })
  }
  return { hostId, summary }
}

function requestOf(reader: Reader, row: Vm): PlacementRequest['vm'] {
  const domains = vmDisks(reader, row.id).map(({ diskId }) => disk(reader, diskId).storageDomainId)
  if (row.leaseStorageDomainId !== null) domains.push(row.leaseStorageDomainId)
  const bridges = vmNics(reader, row.id).flatMap(({ bridge }) => (bridge === '' ? [] : [bridge]))
  return {
    vmId: row.id,
    name: row.name,
    vcpus: row.vcpus,
    memory: bytes(row.memoryBytes),
    cpuModel: row.cpuModel || cluster(reader, row.clusterId).cpuModel,
    machineType: row.machineType,
    needsUefi: row.firmware === 'uefi',
    needsLease: row.leaseStorageDomainId !== null,
    bridges: [...new Set(bridges)],
    storageDomainIds: [...new Set(domains)],
    pinnedHostIds: pinnedHosts(reader, row.id),
    isHa: row.isHa
  }
}

/** A cluster as the scheduler looks at it; the VM that looks for a host counts nowhere. */
export function snapshotOf(
  reader: Reader,
  loads: Loads,
  clusterId: string,
  exceptVmId: string
): ClusterSnapshot {
  const row = cluster(reader, clusterId)
  return {
    policy: {
      cpuFactor: row.cpuWeight,
      memoryFactor: row.memoryWeight,
      memoryOvercommitPercent: row.memoryOvercommitPercent,
      cpuOvercommitPercent: row.cpuOvercommitPercent
    },
    hosts: hostsOfCluster(reader, clusterId).map(host => schedulable(reader, loads, host, exceptVmId))
  }
}

function schedulable(reader: Reader, loads: Loads, host: Host, exceptVmId: string): SchedulableHost {
  const { capabilities } = host
  const running = vmsOfHost(reader, host.id)
    .filter(({ id, status }) => id !== exceptVmId && status !== 'down')
    .map(row => loadOf(row, loads))
  const seen = new Set(running.map(({ vmId }) => vmId))
  const pending = pendingOn(reader, host.id).flatMap(({ vmId }) => {
    const row = vmId === exceptVmId || seen.has(vmId) ? null : vmOrNull(reader, vmId)
    return row ? [loadOf(row, loads)] : []
  })
  const memory = bytes(Number(capabilities?.memoryBytes ?? 0))
  return {
    hostId: host.id,
    name: host.name,
    status: host.status,
    problem: host.problem,
    cpus: capabilities?.cpus ?? 0,
    memory,
    memoryAvailable: loads.memoryAvailable(host.id) ?? unpromised(memory, running),
    cpuModel: capabilities?.cpuModel ?? '',
    usableCpuModels: capabilities?.usableCpuModels ?? [],
    machineTypes: capabilities?.machineTypes ?? [],
    bridges: capabilities?.bridges ?? [],
    isKvm: capabilities?.kvm ?? false,
    hasHaLeases: capabilities?.haLeases ?? false,
    hasUefi: capabilities?.uefi ?? false,
    storageDomainIds: viewsOfHost(reader, host.id)
      .filter(({ health }) => health === 'active')
      .map(({ storageDomainId }) => storageDomainId),
    managedStorageDomains: 0,
    running,
    pending
  }
}

const loadOf = ({ id, vcpus, memoryBytes, isHa }: Vm, loads: Loads): VmLoad => {
  return { vmId: id, vcpus, memory: bytes(memoryBytes), cpuPercent: loads.cpuPercent(id), isHa }
}

/** Before the first measurement: what no VM was promised. */
const unpromised = (memory: Bytes, running: readonly VmLoad[]) =>
  bytes(Math.max(0, memory - running.reduce((sum, vm) => sum + vm.memory, 0)))

/**
 * A host that does storage work: up, with all these storage domains active. The number spreads the work: the
 * same one gets the same host.
 */
export function storageHost(reader: Reader, storageDomainIds: readonly string[], number: number): string {
  const able = hosts(reader).filter(({ id, status }) => {
    if (status !== 'up' && status !== 'preparing_for_maintenance') return false
    const active = viewsOfHost(reader, id).filter(({ health }) => health === 'active')
    return storageDomainIds.every(wanted => active.some(view => view.storageDomainId === wanted))
  })
  const chosen = able[number % able.length]
  if (chosen) return chosen.id
  throw new Fault('NO_HOST', `no host that is up has storage domain ${storageDomainIds.join(' and ')} active`)
}
