import type { GetHostResponse__Output } from '../proto/generated/types/drover/agent/v1/GetHostResponse.js'
import type { Occurrence__Output } from '../proto/generated/types/drover/agent/v1/Occurrence.js'
import type { StorageDomainState__Output } from '../proto/generated/types/drover/agent/v1/StorageDomainState.js'
import { unobserveVm } from './observed-vms.js'
import type { StaleStore } from './stale-store.js'
import { keptFree, metadataNews, spaceNews } from './storage-space.js'
import { addEvent } from './store/events.js'
import { noteHost, type Host } from './store/hosts.js'
import { bit, sql, type Tx } from './store/query.js'
import {
  deleteHostView,
  putHostView,
  storageDomainOrNull,
  type StorageDomain,
  viewsOfHost,
  type HostLease
} from './store/storage-domains.js'
import type { StorageDomainHealth } from './store/tables.js'
import { vmsOfHost } from './store/vms.js'
import { wallOf, wordOf } from './wire.js'

// From what hosts say to observed rows; of VMs: observed-vms.ts. Only observe.ts calls these: it is the one writer of
// observed state.

/** An agent that is older than the coordinator goes on working; people hear what it cannot do. */
export function noteOldAgent(tx: Tx, { id, name }: Host, lacks: readonly string[], now: number): void {
  const most = 30
  const rest = lacks.length > most ? ` and ${lacks.length - most} more` : ''
  const text =
    `the agent of host ${name} is older than this coordinator: all that it knows works, these it cannot do: ` +
    `${lacks.slice(0, most).join(', ')}${rest}; upgrade drover-agent there`
  addEvent(tx, { severity: 'warning', kind: 'host.agent_too_old', text, objects: { host: id } }, now)
}

export function observeStorageDomain(
  tx: Tx,
  hostId: string,
  seen: StorageDomainState__Output,
  now: number
): void {
  const id = seen.storageDomainId
  const before = storageDomainOrNull(tx, id)
  if (!before) return
  const space = { totalBytes: Number(seen.totalBytes), freeBytes: Number(seen.freeBytes) }
  const least = keptFree({ ...space, criticalBytes: before.criticalBytes })
  const news = spaceNews(before.name, before, space, least)
  if (news) addEvent(tx, { ...news, objects: { storageDomain: id } }, now)
  noteMetadata(tx, before, seen.metadataPercent, now)
  putHostView(tx, {
    ...{ storageDomainId: id, hostId, problem: seen.problem, readLatencyMs: seen.readLatencyMs },
    health: (wordOf('STORAGE_DOMAIN_HEALTH', seen.health) || 'inactive') as StorageDomainHealth,
    totalBytes: Number(seen.totalBytes),
    freeBytes: Number(seen.freeBytes),
    hostIdHeld: bit(seen.hostIdHeld),
    isManager: bit(seen.manager),
    lastOk: wallOf(seen.lastOk),
    leasesJson: JSON.stringify(seen.hostLeases.map(leaseOf))
  })
  if (!seen.metadata) return
  const metadataJson = JSON.stringify(seen.metadata)
  tx.run(
    sql
      .updateTable('storageDomain')
      .set({ metadataJson })
      .where('id', '=', id)
      .where(eb => eb.or([eb('metadataJson', 'is', null), eb('metadataJson', '<>', metadataJson)]))
  )
}

function noteMetadata(
  tx: Tx,
  { id, name, metadataPercent: before }: StorageDomain,
  percent: number,
  now: number
) {
  // A host that has not looked yet says nothing.
  if (percent === before || percent === 0) return
  const news = metadataNews(name, before, percent)
  if (news) addEvent(tx, { ...news, objects: { storageDomain: id } }, now)
  tx.run(sql.updateTable('storageDomain').set({ metadataPercent: percent }).where('id', '=', id))
}

const leaseOf = (lease: StorageDomainState__Output['hostLeases'][number]): HostLease => ({
  sanlockHostId: lease.sanlockHostId,
  hostName: lease.hostName,
  generation: lease.generation,
  timestamp: lease.timestamp,
  unchangedSeconds: lease.unchangedSeconds,
  watchedSeconds: lease.watchedSeconds,
  state: (wordOf('HOST_LEASE_STATE', lease.state) || 'unspecified') as HostLease['state']
})

export function unobserveStorageDomain(tx: Tx, hostId: string, storageDomainId: string): void {
  deleteHostView(tx, storageDomainId, hostId)
}

/** What a host says of itself. Statistics are not written down. */
export function observeHost(
  tx: Tx,
  known: Host,
  { capabilities, recovering }: GetHostResponse__Output
): void {
  if (!capabilities) return
  const problem = problemOf(recovering, capabilities.libvirtVersion)
  const capabilitiesJson = JSON.stringify(capabilities)
  const { hardwareId, agentVersion } = capabilities
  const isSame = JSON.stringify(known.capabilities) === capabilitiesJson && problem === known.problem
  if (!isSame) noteHost(tx, known.id, { capabilitiesJson, problem, hardwareId, agentVersion })
}

/** Why a host that answers cannot run VMs. */
function problemOf(isRecovering: boolean, libvirtVersion: string): string {
  if (isRecovering) return 'the agent is still finding out what runs there'
  return libvirtVersion === '' ? 'libvirtd does not answer' : ''
}

/** After a snapshot: what the host did not mention does not exist there. */
export function removeUnmentioned(
  tx: Tx,
  hostId: string,
  mentioned: ReadonlySet<string>,
  stale: StaleStore,
  now: number
): void {
  const vms = [
    ...vmsOfHost(tx, hostId).map(({ id }) => id),
    ...tx.all(sql.selectFrom('vm').select('id').where('migratingToHostId', '=', hostId)).map(({ id }) => id)
  ]
  for (const id of vms) if (!mentioned.has(`vm/${id}`)) unobserveVm(tx, hostId, id, stale, now)
  for (const { storageDomainId } of viewsOfHost(tx, hostId)) {
    if (!mentioned.has(`storageDomain/${storageDomainId}`)) deleteHostView(tx, storageDomainId, hostId)
  }
}

/** Something that happened there, for people. */
export function observeOccurrence(tx: Tx, hostId: string, seen: Occurrence__Output, now: number): void {
  const [kind, id] = seen.key.split('/')
  const objects = { host: hostId, ...(kind === 'vm' && id ? { vm: id } : {}) }
  const severity = /panick|crash|lost|corrupt/.test(seen.what)
    ? 'error'
    : /paused|fail|hung|unresponsive/.test(seen.what)
      ? 'warning'
      : 'info'
  addEvent(tx, { severity, kind: seen.what, text: seen.text, objects }, wallOf(seen.time) ?? now)
}
