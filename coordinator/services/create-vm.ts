import { Fault } from '../../common/fault.js'
import type { Fields } from '../../common/fields.js'
import { bytes, MiB, type Bytes } from '../../common/units.js'
import type { CreateVm } from '../jobs/create-vm.js'
import type { NewVolume } from '../jobs/volumes.js'
import type { Claim } from '../store/claims.js'
import { cluster } from '../store/clusters.js'
import { disk as diskOf, insertDisk, insertVolume, type Disk } from '../store/disks.js'
import { throwIfIdTaken, throwIfNameTaken } from '../store/names.js'
import { bit, type Reader, type Tx } from '../store/query.js'
import { template as templateOf, type Template } from '../store/templates.js'
import { insertVm, insertVmDisk, insertVmNic, replaceCdDrives, replacePinnedHosts } from '../store/vms.js'
import { mediaIn, mostCdDrives, readCdDrives, throwIfNoMedia } from './cd-drives.js'
import { readDescription, readObjectName, readOwnId } from './cluster-fields.js'
import { dependOn, readDependsOn } from './depend-on.js'
import type { Workshop } from './ordered-job.js'
import { enlistVm } from './quota-check.js'
import { activeDomain, attachableDisk, hostOfCluster, macsFor, roomyDomain, slotsFor } from './vm-checks.js'
import {
  readCpuModel,
  readDisks,
  readFirmware,
  readHa,
  readMemory,
  readNics,
  readPinnedHosts,
  readVcpus,
  type WantedHa
} from './vm-fields.js'

/** What a client may say about a new VM. */
export function readCreateVm(fields: Fields) {
  const templateId = fields.optionalUuid('templateId')
  const isClone = fields.bool('clone')
  if (isClone && templateId === null) fields.refuse('clone', 'needs a template', null)
  const wanted = fields.message('vm', it => ({
    ...{ id: readOwnId(it, 'vmId'), name: readObjectName(it), description: readDescription(it) },
    ...{ clusterId: it.uuid('clusterId'), vcpus: readVcpus(it), memory: readMemory(it) },
    ...{ firmware: readFirmware(it), cpuModel: readCpuModel(it), ...readDisksAndCds(it), nics: readNics(it) },
    bootsFromCd: it.bool('bootFromCd'),
    ...{ pinnedHostIds: readPinnedHosts(it), ha: it.optionalMessage('ha', readHa) },
    dependsOn: readDependsOn(it)
  }))
  return { templateId, isClone, storageDomainId: fields.optionalUuid('storageDomainId'), ...wanted }
}

/** An attachment as CD is a drive too. */
function readDisksAndCds(fields: Fields) {
  const all = readDisks(fields)
  const asCds = all.flatMap(({ diskId, isCdrom }) => (isCdrom ? [diskId] : []))
  const cdDrives = [...readCdDrives(fields), ...asCds]
  if (cdDrives.length > mostCdDrives) {
    fields.refuse('cdDrives', `must be at most ${mostCdDrives}, with disks that are attached as CDs`, null)
  }
  return { disks: all.filter(({ isCdrom }) => !isCdrom), cdDrives }
}

export type WantedVm = ReturnType<typeof readCreateVm>

const standardMemory: Bytes = MiB(512)

/** Checks everything, takes names, slots and addresses, and orders the job: one transaction. */
export function orderCreateVm(
  { jobs, mutations: { clock } }: Workshop,
  tx: Tx,
  wanted: WantedVm,
  who: { actor: string; requestId: string }
): string {
  const { name, description, clusterId, cpuModel, isClone } = wanted
  cluster(tx, clusterId)
  throwIfNameTaken(tx, 'vm', name)
  const vmId = wanted.id ?? clock.newId()
  throwIfIdTaken(tx, 'vm', vmId)
  for (const hostId of wanted.pinnedHostIds) hostOfCluster(tx, hostId, clusterId)
  const template = wanted.templateId === null ? null : usableTemplate(tx, wanted.templateId)
  const attached = wanted.disks.map(attachment => attachableDisk(tx, attachment))
  throwIfNoMedia(tx, wanted.cdDrives, 'vm.cd_drives')
  const volumes = (template?.diskIds ?? []).map(id =>
    volumeFrom(tx, diskOf(tx, id), { ...wanted, newId: clock.newId })
  )
  for (const id of new Set(volumes.map(({ storageDomainId }) => storageDomainId))) roomyDomain(tx, id)
  const leaseStorageDomainId = leaseDomain(wanted.ha, [...volumes, ...attached])
  if (leaseStorageDomainId !== null) activeDomain(tx, leaseStorageDomainId)

  const now = clock.wall()
  insertVm(tx, {
    ...{ id: vmId, name, description, clusterId, cpuModel, leaseStorageDomainId },
    bootsFromCd: bit(wanted.bootsFromCd),
    ...{ templateId: template?.id ?? null, vcpus: wanted.vcpus || template?.vcpus || 1 },
    memoryBytes: wanted.memory ?? (template?.memoryBytes || standardMemory),
    firmware: wanted.firmware ?? template?.firmware ?? 'bios',
    ...{ isHa: bit(wanted.ha?.isEnabled ?? false), priority: wanted.ha?.priority ?? 50 },
    ...{ phase: 'creating', status: 'creating', restartsJson: null, hostId: null, migratingToHostId: null },
    ...{ failureJson: null, guestJson: null, migrationJson: null, started: null, created: now }
  })
  for (const volume of volumes) insertNewDisk(tx, `${name}-disk`, volume, now)
  const own = volumes.map(({ diskId }) => {
    return { diskId, bus: 'virtio' as const, isReadOnly: false, isShared: false }
  })
  const given = wanted.disks.map((each, index) => ({
    ...each,
    isShared: attached[index]?.isShareable ?? false
  }))
  attach(tx, vmId, [...own, ...given], wanted.nics, clock.random)
  replaceCdDrives(tx, vmId, wanted.cdDrives)
  replacePinnedHosts(tx, vmId, wanted.pinnedHostIds)
  dependOn(tx, vmId, wanted.dependsOn)

  const context: CreateVm = { vmId, hostId: null, disks: volumes, leaseStorageDomainId, leaseOffset: null }
  const domains = new Set([...volumes, ...attached].map(({ storageDomainId }) => storageDomainId))
  if (leaseStorageDomainId !== null) domains.add(leaseStorageDomainId)
  const claims: Claim[] = [
    { type: 'vm', id: vmId, mode: 'change' },
    ...(template ? [{ type: 'template', id: template.id, mode: isClone ? 'copy' : 'read' } as const] : []),
    ...[...volumes.map(({ diskId }) => diskId), ...attached.map(({ id }) => id)].map(
      id => ({ type: 'disk', id, mode: 'change' }) as const
    ),
    ...mediaIn(wanted.cdDrives),
    ...[...domains].map(id => ({ type: 'storageDomain', id, mode: 'read' }) as const)
  ]
  const objects = { vm: vmId, cluster: clusterId, ...(template && { template: template.id }) }
  const jobId = jobs.create(tx, 'vm.create', { context, objects, claims, ...who })
  enlistVm(
    tx,
    vmId,
    volumes.map(({ diskId }) => diskId),
    who.actor,
    now
  )
  return jobId
}

function usableTemplate(reader: Reader, id: string): Template {
  const template = templateOf(reader, id)
  if (template.status === 'ok') return template
  throw new Fault('WRONG_STATE', `template ${template.name} is ${template.status}`)
}

/** A new disk over, or copied from, a template's. */
function volumeFrom(
  tx: Tx,
  disk: Disk,
  { isClone, storageDomainId, name, newId }: WantedVm & { newId: () => string }
): NewVolume {
  if (!isClone && storageDomainId !== null && storageDomainId !== disk.storageDomainId) {
    throw new Fault('INVALID_REQUEST', 'disks that share the volumes of a template lie beside them', {
      violations: [
        {
          field: 'storage_domain_id',
          description: "must be that of the template's disks, or a clone be asked for"
        }
      ]
    })
  }
  activeDomain(tx, disk.storageDomainId)
  const { id: imageId, volumeId } = disk
  return {
    diskId: newId(),
    volumeId: newId(),
    storageDomainId: isClone ? (storageDomainId ?? disk.storageDomainId) : disk.storageDomainId,
    capacity: bytes(disk.capacity),
    format: 'qcow2',
    allocation: 'thin',
    description: `disk of ${name}`,
    source: isClone
      ? { kind: 'copy', storageDomainId: disk.storageDomainId, imageId, volumeId }
      : { kind: 'thin', imageId, volumeId },
    isTemplate: false
  }
}

/** The rows of a disk that is about to be made. */
export function insertNewDisk(
  tx: Tx,
  name: string,
  volume: NewVolume,
  now: number,
  content: Disk['content'] = 'data'
): void {
  const { diskId, volumeId, storageDomainId, capacity, format, allocation, source, isTemplate } = volume
  const kind = { capacity, format, allocation, created: now }
  insertDisk(tx, { ...kind, id: diskId, name, storageDomainId, volumeId, status: 'creating', content })
  insertVolume(tx, {
    ...kind,
    id: volumeId,
    diskId,
    parentId: source.kind === 'thin' ? source.volumeId : null,
    isShared: bit(isTemplate)
  })
}

function leaseDomain(ha: WantedHa | null, disks: ReadonlyArray<{ storageDomainId: string }>): string | null {
  if (ha === null || (!ha.isEnabled && ha.leaseStorageDomainId === null)) return null
  const found = ha.leaseStorageDomainId ?? disks[0]?.storageDomainId
  if (found !== undefined) return found
  throw new Fault('INVALID_REQUEST', 'a highly available VM has a lease', {
    violations: [
      { field: 'vm.ha.lease_storage_domain_id', description: 'must be given for a VM without disks' }
    ]
  })
}

function attach(
  tx: Tx,
  vmId: string,
  disks: ReadonlyArray<Omit<WantedVm['disks'][number], 'isCdrom'> & { isShared: boolean }>,
  nics: WantedVm['nics'],
  random: () => number
): void {
  const slots = slotsFor([], disks, nics.length)
  for (const [ordinal, { diskId, bus, isReadOnly, isShared }] of disks.entries()) {
    const slot = slots.disks[ordinal] ?? 0
    insertVmDisk(tx, {
      ...{ vmId, diskId, ordinal, bus, slot, isCdrom: 0 },
      ...{ isReadOnly: bit(isReadOnly), isShared: bit(isShared) }
    })
  }
  for (const [ordinal, mac] of macsFor(tx, nics, vmId, random).entries()) {
    insertVmNic(tx, {
      ...{ vmId, mac, bridge: nics[ordinal]?.bridge ?? '', slot: slots.nics[ordinal] ?? 0, ordinal }
    })
  }
}
