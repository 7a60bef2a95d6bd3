import type { Updateable } from 'kysely'
import type { GetHostResponse__Output } from '../proto/generated/types/drover/agent/v1/GetHostResponse.js'
import type { Occurrence__Output } from '../proto/generated/types/drover/agent/v1/Occurrence.js'
import type { StorageDomainState__Output } from '../proto/generated/types/drover/agent/v1/StorageDomainState.js'
import type { Vm__Output } from '../proto/generated/types/drover/agent/v1/Vm.js'
import { isUnbelieved, judge, type Verdict } from './observed-vm.js'
import { keptFree, metadataNews, spaceNews } from './storage-space.js'
import type { StaleStore } from './stale-store.js'
import { addEvent, type NewEvent } from './store/events.js'
import { host, hostOrNull, noteHost, type Host } from './store/hosts.js'
import { unreserve } from './store/pending.js'
import { bit, jsonOrNull, sql, type Tx } from './store/query.js'
import {
  deleteHostView,
  putHostView,
  storageDomainOrNull,
  type StorageDomain,
  viewsOfHost,
  type HostLease
} from './store/storage-domains.js'
import type { StorageDomainHealth, VmStatus, VmTable } from './store/tables.js'
import {
  deleteVmRow,
  insertVm,
  leaseOf as vmLeaseOf,
  noteVm,
  vmOrNull,
  vmsOfHost,
  type Vm
} from './store/vms.js'
import { wallOf, wordOf } from './wire.js'

// From what hosts say to observed rows. Only observe.ts calls this: it is the one writer of observed state.

/** An agent that is older than the coordinator goes on working; people hear what it cannot do. */
export function noteOldAgent(tx: Tx, { id, name }: Host, lacks: readonly string[], now: number): void {
  const most = 30
  const rest = lacks.length > most ? ` and ${lacks.length - most} more` : ''
  const text =
    `the agent of host ${name} is older than this coordinator: all that it knows works, these it cannot do: ` +
    `${lacks.slice(0, most).join(', ')}${rest}; upgrade drover-agent there`
  addEvent(tx, { severity: 'warning', kind: 'host.agent_too_old', text, objects: { host: id } }, now)
}

/** A copy of an earlier life of a VM that a host still has. */
export type Ghost = { vmId: string; generation: number; status: VmStatus }

/** What became of a host's word about a VM; what was not believed may be right a moment later. */
export type Heard = { kind: 'taken' } | { kind: 'unbelieved' } | { kind: 'ghost'; ghost: Ghost }
const taken: Heard = { kind: 'taken' }

/** What else is known: of other hosts, and of the store. */
export type Hearing = { isHeard(hostId: string): boolean; stale: StaleStore }

export function observeVm(
  tx: Tx,
  hostId: string,
  seen: Vm__Output,
  { isHeard, stale }: Hearing,
  now: number
): Heard {
  const known = vmOrNull(tx, seen.vmId)
  if (!known) {
    observeStranger(tx, hostId, seen, now)
    return taken
  }
  if (known.isExternal) {
    noteVm(tx, known.id, { ...stateOf(seen), hostId, name: seen.name })
    return taken
  }
  const generation = Number(seen.vmGeneration)
  const sighting = { hostId, generation, status: statusOf(seen), exitReason: seen.exitReason }
  const isHostHeard = known.hostId !== null && isHeard(known.hostId)
  const verdict = judge(sighting, { ...known, isHostHeard })
  apply(tx, known, hostId, seen, verdict, now)
  if (verdict.kind === 'believe' && sighting.status !== 'down') stale.noteVm(known.id, hostId)
  if (verdict.kind === 'ghost')
    return { kind: 'ghost', ghost: { vmId: known.id, generation, status: sighting.status } }
  return isUnbelieved(verdict, sighting) ? { kind: 'unbelieved' } : taken
}

const statusOf = (seen: Vm__Output) => (wordOf('VM_STATUS', seen.status) || 'unknown') as VmStatus

function stateOf(seen: Vm__Output): Updateable<VmTable> {
  return {
    status: statusOf(seen),
    pauseReason: wordOf('PAUSE_REASON', seen.pauseReason),
    exitReason: seen.exitReason,
    failureJson: jsonOrNull(seen.failure),
    guestJson: jsonOrNull(seen.guest),
    migrationJson: jsonOrNull(seen.migration),
    vncSocket: seen.vncSocket,
    started: wallOf(seen.started)
  }
}

function apply(tx: Tx, known: Vm, hostId: string, seen: Vm__Output, verdict: Verdict, now: number): void {
  switch (verdict.kind) {
    case 'ghost':
    case 'ignore':
      return
    case 'arriving':
      if (known.migratingToHostId !== hostId) noteVm(tx, known.id, { migratingToHostId: hostId })
      return
    case 'notArriving':
      return noteVm(tx, known.id, { migratingToHostId: null })
    case 'left': {
      // Nobody but the destination can say what it has. A store that was restored hears of it from the source.
      const to =
        known.migratingToHostId ?? hostOrNull(tx, seen.migration?.destinationHostId ?? '')?.id ?? null
      return noteVm(tx, known.id, {
        ...{ hostId: to ?? hostId, migratingToHostId: null, migrationJson: null },
        ...{ generation: Number(seen.vmGeneration), observedGeneration: Number(seen.vmGeneration) },
        status: to === null ? 'unknown' : 'migrating_to'
      })
    }
    case 'believe':
      return believe(tx, known, hostId, seen, verdict.hostId, now)
  }
}

function believe(
  tx: Tx,
  known: Vm,
  from: string,
  seen: Vm__Output,
  hostId: string | null,
  now: number
): void {
  const state = stateOf(seen)
  const generation = Number(seen.vmGeneration)
  const isMigrating = state.status === 'migrating_from'
  noteVm(tx, known.id, {
    ...state,
    hostId,
    observedGeneration: generation,
    // A host that knows a later start than the store: the store is older than the world. One that has an
    // earlier is believed where nothing came of the later ones.
    generation,
    ...(!isMigrating && { migratingToHostId: null }),
    ...(isMigrating && { migratingToHostId: seen.migration?.destinationHostId || known.migratingToHostId }),
    // A guest that was shut down from inside was stopped by somebody.
    ...(state.status === 'down' && state.exitReason === 'shutdown' && { wantedRunning: 0 })
  })
  if (state.status !== 'wait_for_launch' && state.status !== 'migrating_to') unreserve(tx, known.id, from)
  const event = eventOf(known, state.status as VmStatus, seen, from, host(tx, from).name)
  if (event) addEvent(tx, event, now)
}

const launching: ReadonlySet<string> = new Set(['down', 'creating', 'wait_for_launch', 'migrating_to'])
const running: ReadonlySet<string> = new Set(['powering_up', 'up'])

function eventOf(
  { id, name, status: before, hostId: beforeHost, pauseReason }: Vm,
  status: VmStatus,
  seen: Vm__Output,
  hostId: string,
  hostName: string
): NewEvent | null {
  const objects = { vm: id, host: hostId }
  const tell = (severity: NewEvent['severity'], kind: string, text: string): NewEvent => {
    return { severity, kind, text: `VM ${name} ${text}`, objects }
  }
  if (status === before) {
    const isMoved = running.has(status) && beforeHost !== null && beforeHost !== hostId
    return isMoved ? tell('info', 'vm.migrated', `runs on host ${hostName} now`) : null
  }
  if (status === 'paused') {
    const why = wordOf('PAUSE_REASON', seen.pauseReason)
    if (why === pauseReason && before === 'unknown') return null
    return tell(
      why === 'user' ? 'info' : 'error',
      `vm.paused.${why || 'other'}`,
      `is paused (${why || 'other'})`
    )
  }
  if (status === 'down') {
    const isBad = ['crashed', 'failed', 'lost'].includes(seen.exitReason)
    const why = seen.failure?.message || seen.exitReason || 'stopped'
    return tell(isBad ? 'error' : 'info', isBad ? 'vm.failed' : 'vm.down', `is down: ${why}`)
  }
  if (!running.has(status)) return null
  if (before === 'migrating_to' || before === 'migrating_from') {
    return beforeHost === hostId && before === 'migrating_from'
      ? null
      : tell('info', 'vm.migrated', `runs on host ${hostName} now`)
  }
  if (launching.has(before)) return tell('info', 'vm.started', `runs on host ${hostName}`)
  if (before === 'paused') return tell('info', 'vm.resumed', 'runs again')
  if (before === 'unknown') return tell('info', 'vm.seen_again', `still runs on host ${hostName}`)
  return null
}

/** A libvirt domain that this store does not know: shown, never touched. */
function observeStranger(tx: Tx, hostId: string, seen: Vm__Output, now: number): void {
  if (seen.foreign === '' && statusOf(seen) === 'down') return
  const { clusterId, name } = host(tx, hostId)
  insertVm(tx, {
    ...stateOf(seen),
    ...{ id: seen.vmId, name: seen.name, description: '', clusterId, templateId: null, hostId },
    vcpus: seen.spec?.vcpus ?? 0,
    memoryBytes: Number(seen.spec?.memoryBytes ?? 0),
    ...{ firmware: 'bios', isHa: 0, priority: 50, leaseStorageDomainId: null, cpuModel: '' },
    ...{ phase: 'ok', isExternal: 1, restartsJson: null, status: statusOf(seen), migratingToHostId: null },
    ...{
      failureJson: null,
      guestJson: null,
      migrationJson: null,
      started: wallOf(seen.started),
      created: now
    }
  })
  const isOurs = seen.foreign !== 'external'
  const text = isOurs
    ? `host ${name} runs VM ${seen.name} (${seen.vmId}), which this store does not know`
    : `host ${name} has a libvirt domain ${seen.name} that is not ours`
  const objects = { vm: seen.vmId, host: hostId }
  addEvent(tx, { severity: isOurs ? 'alert' : 'info', kind: 'vm.external', text, objects }, now)
}

/** All that the host has is written down: so the VMs on record there are there. */
export function noteTold(tx: Tx, hostId: string, stale: StaleStore): void {
  for (const { id, status } of vmsOfHost(tx, hostId))
    if (status !== 'down' && status !== 'unknown') stale.noteVm(id, hostId)
  stale.noteTold(hostId)
}

/** The host does not have the VM any more. */
export function unobserveVm(tx: Tx, hostId: string, vmId: string, stale: StaleStore, now: number): void {
  const known = vmOrNull(tx, vmId)
  if (!known) return
  if (known.isExternal) {
    if (known.hostId === hostId) deleteVmRow(tx, vmId)
    return
  }
  if (known.migratingToHostId === hostId) noteVm(tx, vmId, { migratingToHostId: null })
  if (known.hostId !== hostId || known.status === 'down') return
  const nothing = { pauseReason: '', guestJson: null, migrationJson: null, vncSocket: '' }
  if (!stale.isKnown(vmId, vmLeaseOf(tx, vmId) !== null)) {
    // A store that is older than the world does not know where the VM went.
    return noteVm(tx, vmId, { ...nothing, status: 'unknown' })
  }
  if (known.observedGeneration < known.generation) {
    // Another start has begun: this is the end of the one before, and no failure of the new one.
    return noteVm(tx, vmId, { ...nothing, status: 'down', hostId: null })
  }
  const name = host(tx, hostId).name
  const message = `the VM disappeared from host ${name}`
  const failure = {
    ...{
      reason: 'INTERRUPTED',
      message,
      nextStep: 'Look into the log of the host.',
      facts: { host: hostId }
    },
    time: null
  }
  const failureJson = JSON.stringify(failure)
  noteVm(tx, vmId, { ...nothing, status: 'down', hostId: null, exitReason: 'lost', failureJson })
  const objects = { vm: vmId, host: hostId }
  const text = `VM ${known.name}: ${message}`
  addEvent(tx, { severity: 'error', kind: 'vm.disappeared', text, objects }, now)
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
