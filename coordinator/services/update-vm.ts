import { Fault } from '../../common/fault.js'
import type { Fields } from '../../common/fields.js'
import { disk as diskOf } from '../store/disks.js'
import { throwIfClaimed } from '../store/claims.js'
import { throwIfStaleEtag } from '../store/etag.js'
import { vmLuns } from '../store/luns.js'
import { throwIfNameTaken } from '../store/names.js'
import { bit, type Tx } from '../store/query.js'
import {
  deleteVmDisk,
  insertVmDisk,
  leaseOf,
  noteVm,
  replaceCdDrives,
  replacePinnedHosts,
  replaceVmNics,
  updateVm,
  vmDisks,
  vmNics,
  type Vm
} from '../store/vms.js'
import { addCd, readCdDrives, removeCd, throwIfNoMedia } from './cd-drives.js'
import { readDescription, readEtag, readObjectName } from './cluster-fields.js'
import { dependOn, readDependsOn } from './depend-on.js'
import type { Workshop } from './ordered-job.js'
import {
  activeDomain,
  attachableDisk,
  downVm,
  hostOfCluster,
  macsFor,
  ownVm,
  slotsFor,
  takenSlots
} from './vm-checks.js'
import {
  mostDisks,
  readCpuModel,
  readFirmware,
  readHa,
  readMemory,
  readNics,
  readPinnedHosts,
  readVcpus,
  type DiskAttachment,
  type NicAttachment,
  type WantedHa
} from './vm-fields.js'

const maskPaths = [
  'name',
  'description',
  'vcpus',
  'memory_bytes',
  'firmware',
  'cpu_model',
  'ha',
  'ha.enabled',
  'ha.priority',
  'ha.lease_storage_domain_id',
  'nics',
  'pinned_host_ids',
  'depends_on_vm_ids',
  'cd_drives',
  'boot_from_cd'
] as const
type MaskPath = (typeof maskPaths)[number]

/** What may be changed while it runs: nothing of it reaches QEMU. */
const alwaysPossible: ReadonlySet<string> = new Set([
  'name',
  'description',
  'ha.priority',
  'depends_on_vm_ids'
])

export function readUpdateVm(fields: Fields) {
  const mask = fields.fieldMask('updateMask', maskPaths)
  const has = (path: MaskPath) => mask.has(path)
  const hasHa = [...mask].some(path => path.startsWith('ha'))
  return fields.message('vm', it => ({
    ...{ id: it.uuid('vmId'), etag: readEtag(it), mask: [...mask] },
    ...(has('name') && { name: readObjectName(it) }),
    ...(has('description') && { description: readDescription(it) }),
    ...(has('vcpus') && { vcpus: readVcpus(it) || 1 }),
    ...(has('memory_bytes') && { memory: readMemory(it) ?? it.refuse('memoryBytes', 'must be given', null) }),
    ...(has('firmware') && { firmware: readFirmware(it) ?? ('bios' as const) }),
    ...(has('cpu_model') && { cpuModel: readCpuModel(it) }),
    ...(has('nics') && { nics: readNics(it) }),
    ...(has('pinned_host_ids') && { pinnedHostIds: readPinnedHosts(it) }),
    ...(has('cd_drives') && { cdDrives: readCdDrives(it) }),
    ...(has('boot_from_cd') && { bootsFromCd: it.bool('bootFromCd') }),
    ...(has('depends_on_vm_ids') && { dependsOn: readDependsOn(it) }),
    ...(hasHa && { ha: it.message('ha', readHa) })
  }))
}

export type VmChange = ReturnType<typeof readUpdateVm>

/** The change, in one transaction; the id of a job where a lease has to be made first, or null. */
export function changeVm(workshop: Workshop, tx: Tx, change: VmChange, actor: string): string | null {
  const { id, mask } = change
  const vm = ownVm(tx, id)
  throwIfStaleEtag(change.etag, vm, `VM ${vm.name}`)
  if (mask.some(path => !alwaysPossible.has(path))) {
    downVm(tx, id, `change ${mask.filter(path => !alwaysPossible.has(path)).join(', ')}`)
    throwIfClaimed(tx, { type: 'vm', id, mode: 'change' })
  }
  if (change.name !== undefined) throwIfNameTaken(tx, 'vm', change.name, id)
  const { name, description, vcpus, memory, firmware, cpuModel, cdDrives, bootsFromCd } = change
  if (cdDrives) throwIfNoMedia(tx, cdDrives, 'vm.cd_drives')
  updateVm(tx, id, {
    ...(name !== undefined && { name }),
    ...(description !== undefined && { description }),
    ...(vcpus !== undefined && { vcpus }),
    ...(memory != null && { memoryBytes: memory }),
    ...(firmware !== undefined && { firmware }),
    ...(cpuModel !== undefined && { cpuModel }),
    ...(bootsFromCd !== undefined && { bootsFromCd: bit(bootsFromCd) })
  })
  if (cdDrives) replaceCdDrives(tx, id, cdDrives)
  if (change.nics) changeNics(tx, vm, change.nics, workshop.mutations.clock.random)
  if (change.pinnedHostIds) {
    for (const hostId of change.pinnedHostIds) hostOfCluster(tx, hostId, vm.clusterId)
    replacePinnedHosts(tx, id, change.pinnedHostIds)
  }
  if (change.dependsOn) dependOn(tx, id, change.dependsOn)
  return change.ha ? changeHa(workshop, tx, vm, change.ha, new Set(mask), actor) : null
}

/** Nics that stay keep their slots; a MAC address tells which they are. */
function changeNics(tx: Tx, { id: vmId }: Vm, wanted: readonly NicAttachment[], random: () => number): void {
  const before = new Map(vmNics(tx, vmId).map(nic => [nic.mac, nic]))
  const macs = macsFor(tx, wanted, vmId, random)
  const kept = macs.flatMap(mac => before.get(mac)?.slot ?? [])
  const disks = vmDisks(tx, vmId).flatMap(({ bus, slot }) => (bus === 'sata' ? [] : [slot]))
  const diskSlots = [...disks, ...vmLuns(tx, vmId).map(({ slot }) => slot)]
  const fresh = slotsFor([...diskSlots, ...kept], [], macs.length - kept.length).nics
  replaceVmNics(
    tx,
    vmId,
    macs.map((mac, ordinal) => {
      const slot = before.get(mac)?.slot ?? fresh.shift() ?? 0
      const profileId = before.get(mac)?.profileId ?? null
      return { vmId, mac, bridge: wanted[ordinal]?.bridge ?? '', slot, ordinal, profileId }
    })
  )
}

function changeHa(
  { jobs }: Workshop,
  tx: Tx,
  vm: Vm,
  { isEnabled, priority, leaseStorageDomainId }: WantedHa,
  mask: ReadonlySet<string>,
  actor: string
): string | null {
  const names = (path: string) => mask.has('ha') || mask.has(path)
  if (names('ha.priority')) noteVm(tx, vm.id, { priority })
  const isHa = names('ha.enabled') ? isEnabled : vm.isHa
  const asked = names('ha.lease_storage_domain_id') ? leaseStorageDomainId : null
  const lease = leaseOf(tx, vm.id)
  if (lease && asked !== null && asked !== lease.storageDomainId) {
    throw new Fault(
      'WRONG_STATE',
      `the lease of VM ${vm.name} lies on storage domain ${lease.storageDomainId} already`
    )
  }
  noteVm(tx, vm.id, { isHa: bit(isHa) })
  if (lease || (!isHa && asked === null)) return null
  const [first] = vmDisks(tx, vm.id)
  const storageDomainId =
    asked ?? vm.leaseStorageDomainId ?? (first ? diskOf(tx, first.diskId).storageDomainId : null)
  if (storageDomainId === null) {
    throw new Fault('INVALID_REQUEST', 'a highly available VM has a lease', {
      violations: [
        { field: 'vm.ha.lease_storage_domain_id', description: 'must be given for a VM without disks' }
      ]
    })
  }
  activeDomain(tx, storageDomainId)
  noteVm(tx, vm.id, { leaseStorageDomainId: storageDomainId })
  return jobs.create(tx, 'vm.ensure_lease', {
    context: { vmId: vm.id, hostId: null, storageDomainId, wasHa: vm.isHa, leaseOffset: null },
    objects: { vm: vm.id, storageDomain: storageDomainId },
    claims: [{ type: 'vm', id: vm.id, mode: 'change' }],
    actor
  })
}

export function attachDisk(tx: Tx, vmId: string, attachment: DiskAttachment): void {
  const vm = downVm(tx, vmId, 'attach a disk')
  const { diskId, bus, isReadOnly, isCdrom } = attachment
  throwIfClaimed(tx, { type: 'vm', id: vmId, mode: 'change' })
  throwIfClaimed(tx, { type: 'disk', id: diskId, mode: isReadOnly ? 'read' : 'change' })
  if (isCdrom) {
    addCd(tx, vmId, diskId)
    return updateVm(tx, vmId, {})
  }
  const before = vmDisks(tx, vmId)
  if (before.some(disk => disk.diskId === diskId)) {
    throw new Fault('ALREADY_EXISTS', `the disk is attached to VM ${vm.name} already`)
  }
  const { isShareable } = attachableDisk(tx, attachment)
  if (before.length + vmLuns(tx, vmId).length >= mostDisks) {
    throw new Fault('INVALID_REQUEST', `a VM has at most ${mostDisks} disks`, {
      violations: [{ field: 'attachment', description: `must not be more than the ${mostDisks}th` }]
    })
  }
  const [slot = 0] = slotsFor(takenSlots(tx, vmId), [attachment], 0).disks
  const ordinal = Math.max(-1, ...before.map(disk => disk.ordinal)) + 1
  insertVmDisk(tx, {
    ...{ vmId, diskId, ordinal, bus, slot, isCdrom: 0 },
    isReadOnly: bit(isReadOnly),
    isShared: bit(isShareable)
  })
  updateVm(tx, vmId, {})
}

export function detachDisk(tx: Tx, vmId: string, diskId: string, hasSnapshot: boolean): void {
  const vm = downVm(tx, vmId, 'detach a disk')
  throwIfClaimed(tx, { type: 'vm', id: vmId, mode: 'change' })
  if (hasSnapshot) {
    throw new Fault('WRONG_STATE', `snapshots of VM ${vm.name} have the disk: remove them first`)
  }
  if (deleteVmDisk(tx, vmId, diskId) === 0 && !removeCd(tx, vmId, diskId)) {
    throw new Fault('NOT_FOUND', `no disk ${diskId} is attached to VM ${vm.name}`, {
      facts: { disk: diskId }
    })
  }
  updateVm(tx, vmId, {})
}
