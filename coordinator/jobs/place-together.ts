import { placeAll } from '../scheduler/batch.js'
import type { PlacementRequest } from '../scheduler/cluster.js'
import type { Reader } from '../store/query.js'
import { vm as vmRow, type Vm } from '../store/vms.js'
import { snapshotOf, wantedVm } from './cluster-snapshot.js'
import type { Loads } from './world.js'

/**
 * Hosts for many VMs, looked for together, so that the last one is not stranded by those that could have gone
 * anywhere. A wish, VM by VM: each is looked at again when its turn comes, and goes elsewhere if it must. VMs of
 * which nothing is said found no host in this plan.
 */
export function placeTogether(
  reader: Reader,
  loads: Loads,
  purpose: PlacementRequest['purpose'],
  vmIds: readonly string[]
): Map<string, string> {
  const rows = vmIds.map(id => vmRow(reader, id))
  const plan = new Map<string, string>()
  for (const clusterId of new Set(rows.map(row => row.clusterId))) {
    const requests = rows
      .filter(row => row.clusterId === clusterId)
      .toSorted((a, b) => a.priority - b.priority || (a.id < b.id ? -1 : 1))
      .map(row => requestOf(reader, loads, purpose, row))
    for (const { vmId, hostId } of placeAll(snapshotOf(reader, loads, clusterId), requests).placements)
      if (hostId !== null) plan.set(vmId, hostId)
  }
  return plan
}

function requestOf(
  reader: Reader,
  loads: Loads,
  purpose: PlacementRequest['purpose'],
  row: Vm
): PlacementRequest {
  const currentHostId = purpose === 'migrate' ? row.hostId : null
  const preferredHostId = purpose === 'restart' ? row.hostId : null
  return {
    ...{ purpose, vm: wantedVm(reader, loads, row), currentHostId, preferredHostId, onlyHostId: null },
    ...{ excluded: new Map(), isRelaxed: false }
  }
}
