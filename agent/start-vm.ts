import { access } from 'node:fs/promises'
import { crashpoint } from '../common/crashpoint.js'
import { Fault } from '../common/fault.js'
import { Rollback } from '../common/rollback.js'
import { randomBytes } from 'node:crypto'
import type { Libvirt } from '../libvirt/connections.js'
import { defineDomain } from '../libvirt/domain.js'
import type { DiskSpec, DomainSpec } from '../libvirt/domain-spec.js'
import { domainXml } from '../libvirt/domain-xml.js'
import { learnFacts } from './adopt-vm.js'
import type { AgentConfig } from './config.js'
import type { Disks } from './disks.js'
import type { Host } from './host.js'
import { lunsOf } from './luns.js'
import type { TaskRun } from './tasks.js'
import type { Vm } from './vm.js'
import { encodeRecord, metadataPrefix, metadataUri, type VmRecord } from './vm-metadata.js'
import { writeRecord } from './vm-records.js'
import type { VmSpec } from './vm-spec.js'
import { isRunning } from './vm-status.js'
import type { Vms } from './vms.js'

export type VmWorld = {
  vms: Vms
  libvirt: Libvirt
  disks: Disks
  host: Host
  config: AgentConfig
  /** Reads the capabilities if nobody has yet. */
  capabilities(signal: AbortSignal): Promise<NonNullable<Host['capabilities']>>
  now(): number
}

export type Start = { requestId: string; generation: number; spec: VmSpec; paused: boolean }

/** Starts a VM: disks, definition, QEMU, and what is written of it. Repeated by its request id, it is done. */
export async function startVm(world: VmWorld, start: Start, run: TaskRun): Promise<Record<string, string>> {
  const { vms } = world
  const { vmId, name } = start.spec
  const known = vms.find(vmId)
  if (known && isDone(known, start)) return resultOf(known)
  throwIfUnfit(known, start)
  const vm = known ?? vms.add(vmId, name, null)
  try {
    await vm.lane.run('start', () => inLane(world, vm, start, run), run.signal)
  } catch (error) {
    // A VM that never ran here leaves no trace; one that did shows why it does not run now.
    if (!vm.isDefined && vm.state.status === 'down') vms.forget(vm)
    throw error
  }
  // An end that came while the start was still being written down.
  if (vm.state.status === 'down' && vm.record?.exit) vms.cleanUp(vm, { exit: vm.record.exit })
  return resultOf(vm)
}

/** The same request again, after the agent died in the middle: the VM ran, whatever became of it since. */
function isDone({ record, state }: Vm, { requestId, generation }: Start): boolean {
  if (record?.generation !== generation || record.startedBy !== requestId) return false
  return record.phase === 'started' || isRunning(state)
}

function throwIfUnfit(vm: Vm | null, { generation }: Start): void {
  if (!vm) return
  const record = vm.own()
  if (record.generation > generation) {
    throw new Fault(
      'STALE_GENERATION',
      `VM ${vm.id} is at generation ${record.generation}; ${generation} is over`
    )
  }
  vm.throwUnlessAllowed('start')
}

async function inLane(
  world: VmWorld,
  vm: Vm,
  start: Start,
  { signal, log, progress }: TaskRun
): Promise<void> {
  const { vms, disks, libvirt } = world
  if (vm.record) {
    throwIfUnfit(vm, start)
    if (isDone(vm, start)) return
  }
  const capabilities = await world.capabilities(signal)
  throwIfNoCpu(start.spec, capabilities.usableCpuModels)
  throwIfDiskInUse(vms, start.spec)
  if (start.spec.lease && !capabilities.haLeases) {
    throw new Fault('WRONG_STATE', `leases are not safe on this host: ${capabilities.haLeasesNote}`)
  }
  await throwIfNoBridge(start.spec)
  const machineType = start.spec.machineType ?? capabilities.machineTypes[0] ?? 'q35'
  const spec = { ...start.spec, machineType }

  await using rollback = new Rollback(log)
  progress({ percent: 10, phase: 'preparing disks' })
  await crashpoint('vm.start.begun')
  rollback.onFailure('tear down disks', () => disks.tearDown(spec))
  const prepared = await disks.prepare(spec, signal)
  await crashpoint('vm.start.prepared')

  const record = newRecord(spec, start)
  const accelerator = capabilities.kvm ? 'kvm' : 'tcg'
  progress({ percent: 40, phase: 'defining' })
  rollback.onFailure('undefine', () => undefineIfIdle(vm))
  const xml = domainXml(domainSpec(world, record, prepared, accelerator, disks.leaseSpec(spec)))
  await defineDomain(libvirt, xml, signal)
  Object.assign(vm, { record, foreign: null, name: spec.name, isDefined: true, asked: null, ioError: null })
  vm.guest = null
  vm.apply({ kind: 'startAccepted' })
  await crashpoint('vm.start.defined')

  progress({ percent: 60, phase: 'starting' })
  rollback.onFailure('show that it is down', () => vm.apply({ kind: 'stopped' }))
  await vm.libvirtDomain.start(signal, { paused: start.paused }).catch((error: unknown) => {
    // libvirtd went away with the answer: it may run. What it needs stays; the next list will tell.
    if (error instanceof Fault && error.facts['outcome'] === 'unknown') rollback.commit()
    throw heldLease(error, spec)
  })
  rollback.commit()
  await crashpoint('vm.start.created')
  vm.apply({ kind: 'launched' })
  if (start.paused) vm.apply({ kind: 'paused', why: 'user' })
  await writeRecord(vm, { phase: 'started', startedAt: world.now() }, signal)
  await crashpoint('vm.start.recorded')
  await learnFacts(vm, signal)
}

/** Asked before anything is done: libvirt says it in many ways, some of them "internal error", and late. */
function throwIfNoCpu({ vmId, cpuModel }: VmSpec, usable: readonly string[]): void {
  if (cpuModel === null || usable.length === 0 || usable.includes(cpuModel)) return
  const text = `this host cannot run CPU model ${cpuModel}; it can run ${usable.join(', ')}`
  throw new Fault('WRONG_STATE', text, { facts: { vm: vmId } })
}

const lockingDomain = '42'

/** libvirt's lock plugin says no: somebody else has the VM's lease, or it could not be had in time. */
function heldLease(error: unknown, { vmId, lease }: VmSpec): unknown {
  const isLocking = error instanceof Fault && error.facts['libvirtErrorDomain'] === lockingDomain
  if (!isLocking || lease === null) return error
  return new Fault('LEASE_HELD', `the lease of VM ${vmId} could not be taken: ${error.message}`, {
    cause: error,
    facts: { vm: vmId, storageDomain: lease.storageDomainId }
  })
}

const newRecord = (spec: VmSpec, { generation, requestId, paused }: Start): VmRecord => ({
  vmId: spec.vmId,
  generation,
  spec,
  startedBy: requestId,
  phase: 'preparing',
  startedAt: null,
  isPausedByUser: paused,
  migration: null,
  exit: null
})

export function domainSpec(
  { config }: VmWorld,
  record: VmRecord,
  disks: DiskSpec[],
  accelerator: 'kvm' | 'tcg',
  lease: DomainSpec['lease'] = null
): DomainSpec {
  const { spec } = record
  const { attributes, text } = encodeRecord(record)
  return {
    uuid: spec.vmId,
    name: `drover-${spec.vmId}`,
    title: spec.name,
    metadata: { prefix: metadataPrefix, uri: metadataUri, attributes, text },
    accelerator,
    machineType: spec.machineType ?? 'q35',
    vcpus: spec.vcpus,
    memoryBytes: spec.memoryBytes,
    cpuModel: spec.cpuModel,
    firmware:
      spec.firmware === 'uefi'
        ? {
            kind: 'uefi',
            loader: config.ovmf_code,
            variablesTemplate: config.ovmf_variables,
            variables: `/var/lib/libvirt/qemu/nvram/drover-${spec.vmId}_VARS.fd`
          }
        : { kind: 'bios' },
    disks,
    nics: spec.nics,
    cpuLimits: spec.cpuLimits ?? null,
    lease,
    graphics: spec.graphics ? { password: randomBytes(6).toString('base64url').slice(0, 8) } : null
  }
}

async function undefineIfIdle(vm: Vm): Promise<void> {
  const signal = AbortSignal.timeout(30_000)
  const state = await vm.libvirtDomain.stateIfPresent(signal)
  if (state === null || state.state === 'shutoff') {
    if (state !== null) await vm.libvirtDomain.undefine(signal)
    vm.isDefined = false
  }
}

/** QEMU's own file locks stop two writers too; here the refusal names the VM. */
function throwIfDiskInUse(vms: Vms, spec: VmSpec): void {
  for (const other of vms.list()) {
    if (other.id === spec.vmId || !other.record || other.state.status === 'down') continue
    for (const lun of lunsOf(spec)) {
      const same = lunsOf(other.record.spec).find(({ wwid }) => wwid === lun.wwid)
      if (same && !(same.shareable && lun.shareable)) {
        throw new Fault('WRONG_STATE', `LUN ${lun.wwid} is used by VM ${other.id}`, {
          facts: { lun: lun.wwid, vm: other.id }
        })
      }
    }
    for (const disk of spec.disks) {
      const same = other.record.spec.disks.find(
        used => used.imageId === disk.imageId && used.storageDomainId === disk.storageDomainId
      )
      const isTogether = (same?.readOnly && disk.readOnly) || (same?.shareable && disk.shareable)
      if (same && !isTogether) {
        throw new Fault('WRONG_STATE', `disk ${disk.diskId} is used by VM ${other.id}`, {
          facts: { disk: disk.diskId, vm: other.id }
        })
      }
    }
  }
}

export async function throwIfNoBridge({ nics }: VmSpec): Promise<void> {
  for (const { bridge } of nics) {
    if (bridge === null) continue
    await access(`/sys/class/net/${bridge}/bridge`).catch(() => {
      throw new Fault('NOT_FOUND', `this host has no bridge ${bridge}`, { facts: { bridge } })
    })
  }
}

const resultOf = ({ record }: Vm): Record<string, string> => ({
  vm_generation: String(record?.generation ?? 0),
  machine_type: record?.spec.machineType ?? ''
})
