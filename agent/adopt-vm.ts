import { diskErrors } from '../libvirt/block-job.js'
import { domainFacts, type DomainFacts } from '../libvirt/domain-facts.js'
import { absent } from '../libvirt/domain.js'
import type { DomainState } from '../libvirt/domain-state.js'
import { Fault } from '../common/fault.js'
import { driveNumber } from './cd-drives.js'
import { seenIn, stopDetailOf } from './libvirt-facts.js'
import type { Vm } from './vm.js'
import { exitOf } from './vm-exit.js'
import { decodeRecord, metadataUri, type VmRecord } from './vm-metadata.js'
import { writeRecordIfThere } from './vm-records.js'
import { stateWhenAdopted, type PauseReason } from './vm-status.js'
import type { Vms } from './vms.js'

type Found = { uuid: string; name: string; state: DomainState | null; isPersistent: boolean }

const young = 60

/**
 * Takes a libvirt domain into the registry, or looks at a known one again: with our metadata it is ours,
 * without it is external, with metadata that cannot be read it is quarantined. Nothing is ever ended here.
 */
export async function adopt(vms: Vms, found: Found, signal: AbortSignal): Promise<void> {
  const known = vms.find(found.uuid)
  const vm = known ?? vms.add(found.uuid, found.name, null)
  const xml = await vm.libvirtDomain.xml(signal).catch(absent('NO_DOMAIN'))
  const state = xml === null ? null : await vm.libvirtDomain.stateIfPresent(signal)
  if (xml === null || state === null) {
    // Gone since it was listed: its end came, or comes, as an event.
    if (!known) vms.forget(vm)
    return
  }
  vm.isDefined = found.state === null ? await vm.libvirtDomain.isPersistent(signal) : found.isPersistent
  const facts = domainFacts(xml, metadataUri)
  learn(vm, facts)
  if (await arrives(vms, vm, state, signal)) return vm.changed()
  // A verb that is at work knows better what is meant to be.
  if (vm.lane.running !== null || vm.state.status === 'migratingTo') return vm.changed()
  if (!vm.foreign && vm.record === null) return vm.changed()
  await settle(vms, vm, state, signal)
}

/** Whether it has come by a migration of which the agent did not see the end. */
async function arrives(vms: Vms, vm: Vm, state: DomainState, signal: AbortSignal): Promise<boolean> {
  const migration = vm.record?.migration
  if (!migration || !vms.options.incoming.isHere(migration.destinationHostId)) return false
  if (state.state !== 'paused') {
    // It was let go, or has ended: from now on it is like any other.
    await writeRecordIfThere(vm, { migration: null }, signal)
    return false
  }
  if (vm.state.status === 'paused') return false
  vm.state = { status: 'migratingTo', pause: null }
  // Memory still arrives: an event tells when all is here.
  if (state.reason !== 'migration' && state.reason !== 'starting_up') vms.options.onHeld(vm)
  return true
}

/** What only a running domain has: sockets, and whether the guest agent is there. */
export async function learnFacts(vm: Vm, signal: AbortSignal): Promise<void> {
  const xml = await vm.libvirtDomain.xml(signal).catch(absent('NO_DOMAIN'))
  if (xml === null) return
  learn(vm, domainFacts(xml, metadataUri))
  vm.changed()
}

function learn(vm: Vm, facts: DomainFacts): void {
  vm.vncSocket = facts.vncSocket ?? ''
  vm.isGuestAgentConnected = facts.guestAgent === 'connected'
  const [drives, disks] = [true, false].map(isDrive =>
    facts.disks.filter(({ alias }) => (driveNumber(alias) !== null) === isDrive)
  )
  vm.diskIds = new Map(
    (disks ?? []).map(({ target, serial, alias }) => [target, serial ?? alias.replace(/^ua-/, '')])
  )
  vm.driveTargets = new Set((drives ?? []).map(({ target }) => target))
  vm.openTrays = new Set(
    (drives ?? []).flatMap(({ alias, isTrayOpen }) => (isTrayOpen ? (driveNumber(alias) ?? []) : []))
  )
  vm.macs = new Map(facts.nics.map(({ target, mac }) => [target ?? '', mac]))
  if (vm.lane.running !== null) return
  if (facts.metadata === null) {
    vm.foreign = { kind: 'external', why: '' }
    vm.name = facts.title || facts.name
    return
  }
  try {
    const written = decodeRecord(facts.metadata)
    if (written.vmId !== vm.id) throw new Fault('CORRUPT', `the metadata names VM ${written.vmId}`)
    // What an end left in memory only is newer than what is written.
    vm.record = vm.record?.generation === written.generation ? { ...written, ...endOf(vm.record) } : written
    vm.foreign = null
    vm.name = written.spec.name
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    vm.foreign = { kind: 'quarantined', why: error.message }
    vm.record = null
    vm.name = facts.title || facts.name
  }
}

const endOf = ({ exit }: VmRecord) => (exit === null ? {} : { exit })

/** Brings our state in line with libvirt's, and writes down an end or a beginning that nobody saw. */
async function settle(vms: Vms, vm: Vm, state: DomainState, signal: AbortSignal): Promise<void> {
  const record = vm.record
  const isPausedByUser = record?.isPausedByUser ?? true
  const ioError = state.state === 'paused' && state.reason === 'ioerror' ? await diskError(vm, signal) : null
  vm.ioError = ioError
  // QEMU stands still at the beginning of a start too: then nothing arrives.
  const isOurStart = record?.phase === 'preparing'
  const here = seenIn(state, { isPausedByUser, ioError })
  const seen = here.state !== 'off' && isOurStart ? { ...here, isArriving: false } : here
  const age = vm.age()
  const isYoung = age !== null && age < young && !vm.isGuestAgentConnected
  const before = vm.state
  vm.state = stateWhenAdopted(seen, { isLeaving: record?.migration != null, isYoung })
  // What we know of a running VM is finer than what libvirt says.
  if (before.status !== 'down' && vm.state.status === 'up' && before.status !== 'paused') vm.state = before
  if (before.status === 'migratingFrom' && record?.migration == null) vm.apply({ kind: 'stayed' })
  if (record) {
    const change = missed(record, vm, state, vms.options.clock.wall())
    if (change) await writeRecordIfThere(vm, change, signal)
    if (change?.exit) await vms.options.disks.tearDown(record.spec)
  }
  vm.changed()
}

/** An end or a beginning that happened while no agent watched. */
function missed(record: VmRecord, vm: Vm, state: DomainState, at: number): Partial<VmRecord> | null {
  if (vm.state.status !== 'down') {
    if (record.phase === 'started' && record.exit === null) return null
    return { phase: 'started', startedAt: record.startedAt ?? at, exit: null }
  }
  if (record.exit !== null) return null
  if (record.phase === 'preparing') {
    const fault = { reason: 'INTERRUPTED', message: 'the agent died while it started the VM', facts: {} }
    return { exit: { reason: 'failed', at, fault } }
  }
  return { exit: exitOf(stopDetailOf(state), { asked: vm.asked, byHostSignal: false, at }), migration: null }
}

async function diskError(vm: Vm, signal: AbortSignal): Promise<Extract<PauseReason, 'enospc' | 'eio'>> {
  const errors = await diskErrors(vm.libvirtDomain, signal)
  return errors.some(({ error }) => error === 'no_space') ? 'enospc' : 'eio'
}
