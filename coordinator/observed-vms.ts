import type { Updateable } from 'kysely'
import type { Vm__Output } from '../proto/generated/types/drover/agent/v1/Vm.js'
import { isUnbelieved, judge, type Verdict } from './observed-vm.js'
import { isKnownVm } from './known-vms.js'
import type { StaleStore } from './stale-store.js'
import { addEvent, type NewEvent } from './store/events.js'
import { host, hostOrNull } from './store/hosts.js'
import { unreserve } from './store/pending.js'
import { jsonOrNull, type Tx } from './store/query.js'
import type { VmStatus, VmTable } from './store/tables.js'
import { deleteVmRow, insertVm, noteVm, vmOrNull, vmsOfHost, type Vm } from './store/vms.js'
import { wallOf, wordOf } from './wire.js'

// From what hosts say of VMs to observed rows.

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
    openTraysJson: JSON.stringify(seen.openTrays),
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
  if (!isKnownVm(tx, vmId, stale)) {
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
