import { bytes } from '../../common/units.js'
import type { Movable } from '../balance/plan.js'
import type { HaVm } from '../forecast/reservation.js'
import type { PlacementRequest, WantedVm } from '../scheduler/cluster.js'
import { cluster as clusterRow } from '../store/clusters.js'
import { lunDevice } from '../store/luns.js'
import { sql, type Reader } from '../store/query.js'
import type { Loads } from './world.js'

// The running VMs of a whole cluster as decisions need them, by a handful of queries and not by some for each.

export type RunningVm = { hostId: string; wanted: WantedVm; isSteady: boolean; priority: number }

/** A VM whose state no job is about to change, and that runs without more ado. */
const steady: ReadonlySet<string> = new Set(['up'])

export function runningVmsOf(reader: Reader, loads: Loads, clusterId: string): RunningVm[] {
  const { cpuModel: clusterModel } = clusterRow(reader, clusterId)
  const rows = reader.all(
    sql
      .selectFrom('vm')
      .select(['id', 'name', 'hostId', 'vcpus', 'memoryBytes', 'cpuModel', 'machineType', 'firmware'])
      .select(['isHa', 'leaseStorageDomainId', 'status', 'isExternal', 'priority'])
      .where('clusterId', '=', clusterId)
      .where('hostId', 'is not', null)
      .where('status', '<>', 'down')
      .$narrowType<{ hostId: string }>()
  )
  const domains = pairs(
    reader.all(
      sql
        .selectFrom('vmImage')
        .innerJoin('vm', 'vm.id', 'vmImage.vmId')
        .innerJoin('disk', 'disk.id', 'vmImage.diskId')
        .select(['vmImage.vmId', 'disk.storageDomainId as value'])
        .where('vm.clusterId', '=', clusterId)
        .orderBy('vmImage.ordinal')
    )
  )
  const bridges = pairs(
    reader.all(
      sql
        .selectFrom('vmNic')
        .innerJoin('vm', 'vm.id', 'vmNic.vmId')
        .select(['vmNic.vmId', 'vmNic.bridge as value'])
        .where('vm.clusterId', '=', clusterId)
        .where('vmNic.bridge', '<>', '')
        .orderBy('vmNic.ordinal')
    )
  )
  const pins = pairs(
    reader.all(
      sql
        .selectFrom('vmPinnedHost')
        .innerJoin('vm', 'vm.id', 'vmPinnedHost.vmId')
        .select(['vmPinnedHost.vmId', 'vmPinnedHost.hostId as value'])
        .where('vm.clusterId', '=', clusterId)
        .orderBy('vmPinnedHost.hostId')
    )
  )
  const luns = pairs(
    reader.all(
      sql
        .selectFrom('vmLun')
        .innerJoin('vm', 'vm.id', 'vmLun.vmId')
        .select(['vmLun.vmId', 'vmLun.wwid as value'])
        .where('vm.clusterId', '=', clusterId)
        .orderBy('vmLun.ordinal')
    )
  )
  const claimed = new Set(
    reader
      .all(sql.selectFrom('claim').select('objectId').where('objectType', '=', 'vm'))
      .map(({ objectId }) => objectId)
  )
  return rows.map(row => {
    const lease = row.leaseStorageDomainId
    const storage = [...(domains.get(row.id) ?? []), ...(lease === null ? [] : [lease])]
    return {
      hostId: row.hostId,
      priority: row.priority,
      isSteady: steady.has(row.status) && row.isExternal === 0 && !claimed.has(row.id),
      wanted: {
        ...{ vmId: row.id, name: row.name, vcpus: row.vcpus, memory: bytes(row.memoryBytes) },
        ...{ cpuModel: row.cpuModel || clusterModel, machineType: row.machineType, isHa: row.isHa === 1 },
        ...{ needsUefi: row.firmware === 'uefi', needsLease: lease !== null },
        ...{ bridges: [...new Set(bridges.get(row.id) ?? [])], storageDomainIds: [...new Set(storage)] },
        ...{ pinnedHostIds: pins.get(row.id) ?? [], cpuPercent: loads.cpuPercent(row.id) },
        ...{ hugePageKib: 0, numaNodes: [], hostDevices: (luns.get(row.id) ?? []).map(lunDevice) }
      }
    }
  })
}

function pairs(rows: ReadonlyArray<{ vmId: string; value: string }>): Map<string, string[]> {
  const found = new Map<string, string[]>()
  for (const { vmId, value } of rows) {
    const known = found.get(vmId)
    if (known) known.push(value)
    else found.set(vmId, [value])
  }
  return found
}

const noExclusions: ReadonlyMap<string, string> = new Map()

const migration = ({ wanted, hostId }: RunningVm): PlacementRequest & { currentHostId: string } => ({
  ...{ purpose: 'migrate', vm: wanted, currentHostId: hostId, preferredHostId: null, onlyHostId: null },
  ...{ excluded: noExclusions, isRelaxed: false }
})

/** Those that may move without being asked: in a steady state, and not pinned. */
export function movablesOf(reader: Reader, vms: readonly RunningVm[], now: number): Movable[] {
  const moved = lastMoves(reader, now)
  return vms
    .filter(({ isSteady, wanted }) => isSteady && wanted.pinnedHostIds.length === 0)
    .map(vm => {
      const last = moved.get(vm.wanted.vmId)
      return { request: migration(vm), secondsSinceMove: last === undefined ? null : (now - last) / 1000 }
    })
}

/** HA VMs as the loss of their hosts would restart them. */
export const haVmsOf = (vms: readonly RunningVm[]): HaVm[] =>
  vms
    .filter(({ wanted }) => wanted.isHa)
    .toSorted((a, b) => b.priority - a.priority)
    .map(vm => ({
      hostId: vm.hostId,
      request: { ...migration(vm), purpose: 'restart', currentHostId: null }
    }))

/** When VMs that moved in the last hour arrived. */
function lastMoves(reader: Reader, now: number): Map<string, number> {
  const rows = reader.all(
    sql
      .selectFrom('job')
      .select(['vmId', 'ended'])
      .where('kind', '=', 'vm.migrate')
      .where('ended', '>', now - 3_600_000)
      .orderBy('ended')
  )
  return new Map(rows.map(({ vmId, ended }) => [vmId, ended ?? 0]))
}

/** Hosts that take part in migrations now, and how many of these there are. */
export function migrationsIn(reader: Reader, clusterId: string): { hostIds: Set<string>; count: number } {
  const rows = reader.all(
    sql
      .selectFrom('job')
      .innerJoin('vm', 'vm.id', 'job.vmId')
      .select('job.contextJson')
      .where('job.kind', '=', 'vm.migrate')
      .where('job.ended', 'is', null)
      .where('vm.clusterId', '=', clusterId)
  )
  const hostIds = new Set<string>()
  for (const { contextJson } of rows) {
    const context = JSON.parse(contextJson) as { sourceHostId?: string; destinationHostId?: string | null }
    if (context.sourceHostId) hostIds.add(context.sourceHostId)
    if (context.destinationHostId) hostIds.add(context.destinationHostId)
  }
  return { hostIds, count: rows.length }
}
