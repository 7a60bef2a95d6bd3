import { Fault } from '../../common/fault.js'
import type { ClusterSnapshot, PlacementRequest } from '../scheduler/cluster.js'
import { summarize } from '../scheduler/explain.js'
import { place, type Placement } from '../scheduler/place.js'
import { recordOf } from '../scheduler/record.js'
import { addDecisionRecord } from '../store/decision-records.js'
import { addDecision } from '../store/decisions.js'
import { addEvent } from '../store/events.js'
import { hosts } from '../store/hosts.js'
import { reserve } from '../store/pending.js'
import type { Reader, Tx } from '../store/query.js'
import { storageDomainOrNull, viewsOfHost } from '../store/storage-domains.js'
import { vm } from '../store/vms.js'
import { snapshotOf, wantedVm } from './cluster-snapshot.js'
import type { Loads } from './world.js'

export type Choice = {
  purpose: PlacementRequest['purpose']
  vmId: string
  onlyHostId: string | null
  preferredHostId: string | null
  currentHostId: string | null
  excluded: Record<string, string>
  /** Rules between VMs are only wishes: its host is being emptied, or was lost. */
  isRelaxed?: boolean
  /** Where no host keeps the rules between VMs, one that breaks them is better than none; it is written down. */
  mayRelax?: boolean
}
export type Chosen = {
  placement: Placement
  summary: string
  /** What it was made from. */
  from: { snapshot: ClusterSnapshot; request: PlacementRequest }
}

/** Where a VM would go now, and why: one look at the store, one pure decision. */
export function placeVm(reader: Reader, loads: Loads, choice: Choice): Chosen {
  const { vmId, excluded, isRelaxed = false, mayRelax: _, ...rest } = choice
  const row = vm(reader, vmId)
  const request: PlacementRequest = {
    ...{ ...rest, isRelaxed },
    vm: wantedVm(reader, loads, row),
    excluded: new Map(Object.entries(excluded))
  }
  const snapshot = snapshotOf(reader, loads, row.clusterId, vmId)
  const placement = place(snapshot, request)
  return { placement, summary: summarize(request, placement), from: { snapshot, request } }
}

/** The same, written down: the decision with its reasons, and the room it promises. */
export function chooseHost(
  tx: Tx,
  loads: Loads,
  choice: Choice,
  jobId: string,
  now: number
): { hostId: string | null; summary: string } {
  const { placement, summary, from } = relaxed(tx, loads, choice, now) ?? placeVm(tx, loads, choice)
  const hostId = placement.kind === 'placed' ? placement.hostId : null
  const { vmId, purpose } = choice
  addDecision(tx, {
    ...{ vmId, purpose, summary, jobId, time: now, hostId: hostId ?? '', ordinal: 0 },
    recordId: addDecisionRecord(tx, recordOf(from.snapshot, [from.request]), now),
    verdicts: placement.verdicts.map(({ filter, ...verdict }) => ({ ...verdict, filter: filter ?? '' }))
  })
  if (hostId !== null) {
    const { vcpus, memoryBytes } = vm(tx, vmId)
    reserve(tx, { vmId, hostId, jobId, vcpus, memoryBytes, created: now })
  }
  return { hostId, summary }
}

/** The choice without the rules between VMs, where only they stand in the way and may be broken for a while. */
function relaxed(tx: Tx, loads: Loads, choice: Choice, now: number): Chosen | null {
  if (!choice.mayRelax || placeVm(tx, loads, choice).placement.kind === 'placed') return null
  const found = placeVm(tx, loads, { ...choice, isRelaxed: true })
  if (found.placement.kind !== 'placed') return null
  const { name } = vm(tx, choice.vmId)
  const why = choice.purpose === 'restart' ? 'its host was lost' : 'its host is being emptied'
  const text = `VM ${name}: the rules between VMs are broken for a while, because ${why} and no host keeps them`
  const objects = { vm: choice.vmId }
  addEvent(tx, { severity: 'warning', kind: 'vm.affinity_relaxed', text, objects }, now)
  return { ...found, summary: `${found.summary} (rules between VMs relaxed: ${why})` }
}

/**
 * A host that does storage work: up, with all these storage domains active. In one storage domain it is the manager,
 * who has the lease already; else the number spreads the work: the same one gets the same host.
 */
export function storageHost(reader: Reader, storageDomainIds: readonly string[], number: number): string {
  const able = hosts(reader).filter(({ id, status }) => {
    if (status !== 'up' && status !== 'preparing_for_maintenance') return false
    const active = viewsOfHost(reader, id).filter(({ health }) => health === 'active')
    return storageDomainIds.every(wanted => active.some(view => view.storageDomainId === wanted))
  })
  const [only, ...others] = storageDomainIds
  const manager = only !== undefined && others.length === 0 ? managerOf(reader, only) : null
  const chosen = able.find(({ id }) => id === manager) ?? able[number % able.length]
  if (chosen) return chosen.id
  throw new Fault('NO_HOST', `no host that is up has storage domain ${storageDomainIds.join(' and ')} active`)
}

const managerOf = (reader: Reader, storageDomainId: string): string | null =>
  storageDomainOrNull(reader, storageDomainId)?.managerHostId ?? null
