import { Fault } from '../../common/fault.js'
import { isRunning } from '../jobs/observed-vm.js'
import { throwUnlessNeededCome } from '../jobs/needed-vms.js'
import { placeVm } from '../jobs/placement.js'
import { startContext } from '../jobs/start-steps.js'
import type { Loads } from '../jobs/world.js'
import type { Claim } from '../store/claims.js'
import { dependentsOf } from '../store/dependencies.js'
import { disk as diskOf } from '../store/disks.js'
import type { Reader, Tx } from '../store/query.js'
import { snapshotsOf } from '../store/snapshots.js'
import { noteVm, vmDisks, vmImages, type Vm } from '../store/vms.js'
import { onMedia } from './cd-drives.js'
import type { Workshop } from './ordered-job.js'
import { chargeStart } from './quota-check.js'
import { downVm, hostOfCluster, ownVm, runningVm } from './vm-checks.js'

// Jobs about VMs that exist: checked and ordered in one transaction.

export type Who = { actor: string; requestId: string }

const onVm = (id: string): Claim => ({ type: 'vm', id, mode: 'change' })
const onDisks = (reader: Reader, vmId: string): Claim[] => [
  ...vmDisks(reader, vmId).map(({ diskId: id, isReadOnly, isShared }): Claim => {
    return { type: 'disk', id, mode: isReadOnly || isShared ? 'read' : 'change' }
  }),
  ...onMedia(reader, vmId)
]

/** A VM that is neither down nor known to run belongs to a silent host: nothing is begun with it. */
function throwIfUnknown({ id, name, status }: Vm): void {
  if (status !== 'unknown' && status !== 'not_responding') return
  throw new Fault('WRONG_STATE', `VM ${name} is ${status}: its host does not say what it does`, {
    facts: { vm: id }
  })
}

export type WantedStart = {
  vmId: string
  hostId: string | null
  isPaused: boolean
  /** Where a plan for many VMs wants it. */
  preferredHostId?: string | null
}

/** Where it would start; a host that was named and cannot take it is refused at once. */
export function checkStart(reader: Reader, loads: Loads, { vmId, hostId }: WantedStart) {
  const vm = ownVm(reader, vmId)
  throwIfUnknown(vm)
  if (hostId !== null) hostOfCluster(reader, hostId, vm.clusterId)
  for (const diskId of vmImages(reader, vmId)) {
    const { name, status } = diskOf(reader, diskId)
    if (status !== 'ok')
      throw new Fault('WRONG_STATE', `disk ${name} is ${status}`, { facts: { disk: diskId } })
  }
  const choice = {
    ...{ purpose: 'start' as const, vmId, onlyHostId: hostId, preferredHostId: null },
    ...{ currentHostId: null, excluded: {} }
  }
  const { placement, summary } = placeVm(reader, loads, choice)
  if (placement.kind === 'none' && hostId !== null)
    throw new Fault('NO_HOST', summary, { facts: { vm: vmId } })
  return { vm, placement, summary }
}

export function orderStart(
  { jobs, mutations }: Workshop,
  tx: Tx,
  loads: Loads,
  wanted: WantedStart,
  who: Who
): string {
  const { vmId, hostId, isPaused, preferredHostId = null } = wanted
  const row = ownVm(tx, vmId)
  const objects = { vm: vmId }
  if (isRunning(row)) {
    throwIfUnknown(row)
    return jobs.createOver(
      tx,
      'vm.start',
      { objects, ...who },
      { host_id: row.hostId ?? '', note: 'runs already' }
    )
  }
  checkStart(tx, loads, wanted)
  throwUnlessNeededCome(tx, vmId)
  const context = { ...startContext(vmId), onlyHostId: hostId, preferredHostId, isPaused }
  const claims = [onVm(vmId), ...onDisks(tx, vmId)]
  const jobId = jobs.create(tx, 'vm.start', { context, objects, claims, ...who })
  chargeStart(tx, vmId, who.actor, mutations.clock.wall())
  return jobId
}

export type WantedStop = { vmId: string; isForced: boolean; timeoutSeconds: number }

export function orderStop({ jobs }: Workshop, tx: Tx, wanted: WantedStop, who: Who): string {
  const { vmId } = wanted
  const row = ownVm(tx, vmId)
  const objects = { vm: vmId }
  if (row.status === 'down') {
    // Also one that HA would start again stays down.
    if (row.wantedRunning) noteVm(tx, vmId, { wantedRunning: 0 })
    return jobs.createOver(tx, 'vm.stop', { objects, ...who }, { note: 'is down already' })
  }
  const { hostId } = row
  if (hostId === null) throw new Fault('WRONG_STATE', `VM ${row.name} is ${row.status} and on no host`)
  const context = { ...wanted, hostId, vmGeneration: row.generation, wasWantedRunning: row.wantedRunning }
  const id = jobs.create(tx, 'vm.stop', { context, objects, claims: [onVm(vmId)], ...who })
  noteVm(tx, vmId, { wantedRunning: 0 })
  return id
}

export type Command = 'vm.reboot' | 'vm.reset' | 'vm.pause' | 'vm.resume'

export function orderCommand({ jobs }: Workshop, tx: Tx, kind: Command, vmId: string, who: Who): string {
  const { hostId, generation, status, name } = runningVm(tx, vmId, kind.slice('vm.'.length))
  if (kind === 'vm.resume' && status !== 'paused') {
    throw new Fault('WRONG_STATE', `VM ${name} is ${status}; only a paused one can be resumed`)
  }
  const context = { vmId, hostId, vmGeneration: generation }
  return jobs.create(tx, kind, { context, objects: { vm: vmId }, claims: [onVm(vmId)], ...who })
}

export type WantedMigration = {
  vmId: string
  hostId: string | null
  bandwidth: number
  preferredHostId?: string | null
  /** Its host is being emptied. */
  mayRelax?: boolean
}

export function orderMigration(
  { jobs }: Pick<Workshop, 'jobs'>,
  tx: Tx,
  loads: Loads,
  { vmId, hostId, bandwidth, preferredHostId = null, mayRelax = false }: WantedMigration,
  who: Who & { id?: string }
): string {
  const row = runningVm(tx, vmId, 'migrate')
  const sourceHostId = row.hostId
  if (hostId === sourceHostId) {
    throw new Fault('INVALID_REQUEST', `VM ${row.name} runs on that host already`, {
      violations: [{ field: 'host_id', description: 'must be another host than the one the VM runs on' }]
    })
  }
  if (hostId !== null) {
    hostOfCluster(tx, hostId, row.clusterId)
    const { placement, summary } = placeVm(tx, loads, {
      ...{ purpose: 'migrate', vmId, onlyHostId: hostId, preferredHostId: null },
      ...{ currentHostId: sourceHostId, excluded: {} }
    })
    if (placement.kind === 'none') throw new Fault('NO_HOST', summary, { facts: { vm: vmId } })
  }
  const context = {
    ...{ vmId, vmGeneration: row.generation, sourceHostId, onlyHostId: hostId, bandwidth },
    ...{ preferredHostId, mayRelax },
    ...{
      destinationHostId: null,
      summary: '',
      migrationAddress: '',
      owner: 'unclear' as const,
      failure: null
    }
  }
  const objects = { vm: vmId, host: sourceHostId }
  return jobs.create(tx, 'vm.migrate', { context, objects, claims: [onVm(vmId)], ...who })
}

export function orderDelete({ jobs }: Workshop, tx: Tx, vmId: string, keepsDisks: boolean, who: Who): string {
  const row = downVm(tx, vmId, 'be deleted')
  const dependents = dependentsOf(tx, vmId)
  if (dependents.length > 0)
    throw new Fault('WRONG_STATE', `VM ${row.name} is needed by ${dependents.join(', ')}: end that first`)
  const attachments = vmDisks(tx, vmId).map(({ diskId, isReadOnly, isShared }) => ({
    ...diskOf(tx, diskId),
    isOwn: !isReadOnly && !isShared
  }))
  if (keepsDisks && snapshotsOf(tx, vmId).length > 0) {
    throw new Fault('WRONG_STATE', `VM ${row.name} has snapshots: remove them first to keep its disks`)
  }
  const own = keepsDisks ? [] : attachments.filter(({ isOwn }) => isOwn)
  const disks = own.map(({ id, storageDomainId }) => ({ diskId: id, storageDomainId }))
  const context = { vmId, hostId: null, disks, leaseStorageDomainId: row.leaseStorageDomainId }
  const claims: Claim[] = [
    { type: 'vm', id: vmId, mode: 'remove' },
    ...disks.map(({ diskId }) => ({ type: 'disk', id: diskId, mode: 'remove' }) as const)
  ]
  return jobs.create(tx, 'vm.delete', { context, objects: { vm: vmId }, claims, ...who })
}
