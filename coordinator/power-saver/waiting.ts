import { wantedVm } from '../jobs/cluster-snapshot.js'
import { isRunning } from '../jobs/observed-vm.js'
import type { Loads } from '../jobs/world.js'
import type { PlacementRequest } from '../scheduler/cluster.js'
import { hostsOfCluster } from '../store/hosts.js'
import { faultOrNull } from '../store/jobs.js'
import { sql, type Reader } from '../store/query.js'
import { vm, vmsOfHost } from '../store/vms.js'

/** More are not looked at in one round: each is compared with every host. */
const mostLookedAt = 20

/**
 * VMs that look for a host: starts that wait for one, restarts that failed for want of one, and what runs on hosts
 * that are to be empty.
 */
export function waitingVms(reader: Reader, loads: Loads, clusterId: string): PlacementRequest[] {
  const all = [
    ...waitingStarts(reader, clusterId),
    ...homeless(reader, clusterId),
    ...leaving(reader, clusterId)
  ]
  return all.slice(0, mostLookedAt).map(({ vmId, ...wanted }) => ({
    ...{ currentHostId: null, onlyHostId: null, isRelaxed: false, ...wanted },
    ...{ preferredHostId: null, excluded: new Map(), vm: wantedVm(reader, loads, vm(reader, vmId)) }
  }))
}

type Wanted = Pick<PlacementRequest, 'purpose'> &
  Partial<Pick<PlacementRequest, 'currentHostId' | 'onlyHostId' | 'isRelaxed'>> & { vmId: string }

function waitingStarts(reader: Reader, clusterId: string): Wanted[] {
  const jobs = reader.all(
    sql
      .selectFrom('job')
      .innerJoin('vm', 'vm.id', 'job.vmId')
      .select(['job.vmId', 'job.contextJson'])
      .where('job.kind', '=', 'vm.start')
      .where('job.ended', 'is', null)
      .where('vm.clusterId', '=', clusterId)
      .orderBy('job.created')
  )
  return jobs.flatMap(({ vmId, contextJson }) => {
    const context = JSON.parse(contextJson) as { hostId: string | null; onlyHostId: string | null }
    const { hostId, onlyHostId } = context
    return hostId === null ? [{ vmId, purpose: 'start' as const, onlyHostId }] : []
  })
}

/** Highly available, down, and the last restart found no host. */
function homeless(reader: Reader, clusterId: string): Wanted[] {
  const down = reader.all(
    sql
      .selectFrom('vm')
      .select('id')
      .where('clusterId', '=', clusterId)
      .where('status', '=', 'down')
      .where('wantedRunning', '=', 1)
      .where('isHa', '=', 1)
      .orderBy('priority')
      .limit(mostLookedAt)
  )
  return down.flatMap(({ id }) => {
    const last = reader.first(
      sql
        .selectFrom('job')
        .select('turnedBackJson')
        .where('vmId', '=', id)
        .where('kind', '=', 'vm.restart')
        .orderBy('created', 'desc')
        .limit(1)
    )
    const isHomeless = last && faultOrNull(last.turnedBackJson)?.reason === 'NO_HOST'
    return isHomeless ? [{ vmId: id, purpose: 'restart' as const }] : []
  })
}

/** Their host is emptied, and not by power saving, which looks before it begins. */
function leaving(reader: Reader, clusterId: string): Wanted[] {
  const emptied = hostsOfCluster(reader, clusterId).filter(
    ({ mode, rested }) => mode === 'preparing' && rested === 0
  )
  return emptied.flatMap(({ id }) =>
    vmsOfHost(reader, id)
      .filter(row => isRunning(row) && !row.isExternal)
      .map(row => ({
        ...{ vmId: row.id, purpose: 'migrate' as const, currentHostId: id, isRelaxed: true }
      }))
  )
}
