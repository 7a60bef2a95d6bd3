import { bytes } from '../../../../common/units.js'
import type { JobContexts, JobKind } from '../../../../coordinator/jobs/kinds.js'
import { type UpgradeSettings } from '../../../../coordinator/jobs/upgrade-host.js'
import type { NewVolume } from '../../../../coordinator/jobs/volumes.js'
import { insertDisk, insertVolume, updateDisk } from '../../../../coordinator/store/disks.js'
import type { Tx } from '../../../../coordinator/store/query.js'
import { putSetting } from '../../../../coordinator/store/settings.js'
import { insertSnapshot } from '../../../../coordinator/store/snapshots.js'
import {
  deleteHostView,
  type StorageConnection,
  updateStorageDomain
} from '../../../../coordinator/store/storage-domains.js'
import { insertTemplate } from '../../../../coordinator/store/templates.js'
import { noteVm, putLease } from '../../../../coordinator/store/vms.js'
import { furnish, ids, idOf, type Fixture } from '../fixture.js'

// What the scenarios have in common.

export type Order<K extends JobKind = JobKind> = {
  kind: K
  context: JobContexts[K]
  /** What the service changes in the transaction that creates the job. */
  reserve?(tx: Tx): void
}
export type Scenario = {
  name: string
  vm: 'none' | 'down' | 'running'
  furnish?(house: Fixture): void
  order(): Order
  /** Steps whose effect cannot be taken back: a bug right after it leaves it, and no more than it. */
  lasting?: string[]
  /** Steps after whose failure a person has to look: what they left stays on purpose. */
  halfway?: string[]
  /** What it does shows neither in the store nor in the world. */
  leavesNothing?: true
  /** On which host a VM ends does not matter. */
  isAnywhere?: true
}

export const GiB = 2 ** 30
export const newIds = {
  vm: idOf('new vm'),
  disk: idOf('new disk'),
  volume: idOf('new volume'),
  domain: idOf('new domain'),
  template: idOf('new template'),
  snapshot: idOf('new snapshot')
}

export const blank: NewVolume = {
  ...{ diskId: newIds.disk, volumeId: newIds.volume, storageDomainId: ids.domain, capacity: bytes(GiB) },
  ...{ format: 'qcow2', allocation: 'thin', description: '', source: { kind: 'blank' }, isTemplate: false }
}
export const thin: NewVolume = {
  ...blank,
  source: { kind: 'thin', imageId: ids.templateDisk, volumeId: ids.templateVolume }
}
export const copyOfVm: NewVolume = {
  ...blank,
  source: { kind: 'copy', storageDomainId: ids.domain, imageId: ids.vmDisk, volumeId: ids.vmVolume }
}

export function insertNewDisk(
  tx: Tx,
  { diskId, volumeId, source }: NewVolume,
  status: 'creating' | 'ok' = 'creating'
) {
  const kind = { capacity: GiB, format: 'qcow2', allocation: 'thin', created: 1 } as const
  insertDisk(tx, { ...kind, id: diskId, name: 'new', storageDomainId: ids.domain, status, volumeId })
  insertVolume(tx, {
    ...{ ...kind, id: volumeId, diskId, isShared: 0 },
    parentId: source.kind === 'thin' ? source.volumeId : null
  })
}

/** A disk that exists on both sides: in the store and on the storage domain. */
export function placeDisk({ store, world }: Fixture): void {
  store.transaction(tx => insertNewDisk(tx, blank, 'ok'))
  placeVolume({ world }, newIds.volume, newIds.disk, '', 'LEAF')
}

export function placeVolume(
  { world }: Pick<Fixture, 'world'>,
  volumeId: string,
  imageId: string,
  parentId: string,
  role: 'LEAF' | 'INTERNAL' | 'SHARED'
): void {
  world.storage.get(ids.domain)?.volumes.set(volumeId, {
    ...{ volumeId, imageId, parentId, role, capacity: String(GiB) },
    ...{ format: 'DISK_FORMAT_QCOW2', allocation: 'ALLOCATION_POLICY_THIN' }
  })
}

export function placeLease({ store, world }: Fixture): void {
  world.storage.get(ids.domain)?.leases.add(ids.vm)
  store.transaction(tx => {
    noteVm(tx, ids.vm, { isHa: 1, leaseStorageDomainId: ids.domain })
    putLease(tx, { vmId: ids.vm, storageDomainId: ids.domain, offsetBytes: 3 * 2 ** 20 })
  })
}

export const domainRow = (phase: 'creating' | 'maintenance') => ({
  ...{ id: newIds.domain, name: 'new domain', connectionJson: '{"kind":"posix","path":"/srv/y"}', phase },
  ...{ ioTimeoutSeconds: 1, blockSize: 512, criticalBytes: 0, metadataJson: null, created: 1 }
})

/** The storage domain of the house, out of service everywhere. */
export function restDomain({ store, world }: Fixture): void {
  for (const id of [ids.hostA, ids.hostB]) {
    world.hosts.get(id)?.active.delete(ids.domain)
    world.hosts.get(id)?.connected.delete(ids.domain)
  }
  store.transaction(tx => {
    for (const id of [ids.hostA, ids.hostB]) deleteHostView(tx, ids.domain, id)
    updateStorageDomain(tx, ids.domain, { phase: 'maintenance' })
  })
}

export function deviceContext(change: 'add' | 'remove'): JobContexts['storage_domain.change_device'] {
  const one: StorageConnection = { kind: 'block', devices: ['/dev/mapper/one'] }
  const two: StorageConnection = { kind: 'block', devices: ['/dev/mapper/one', '/dev/mapper/two'] }
  const connections = change === 'add' ? { before: one, after: two } : { before: two, after: one }
  const rest = { storageDomainId: ids.domain, hostId: ids.hostA, hostIds: [], changes: [] }
  return { ...rest, ...connections, change, device: '/dev/mapper/two' }
}

export const nameDataCenter = ({ store }: Fixture) =>
  store.transaction(tx => putSetting(tx, 'dataCenterId', idOf('dataCenter')))

export const usualUpgrade: UpgradeSettings = { packages: [], isRefreshed: true, reboot: 'if_needed' }
export const command = { vmId: ids.vm, hostId: ids.hostA, vmGeneration: 1 }
export const migration: JobContexts['vm.migrate'] = {
  ...{ vmId: ids.vm, vmGeneration: 1, sourceHostId: ids.hostA, onlyHostId: null, bandwidth: 0 },
  ...{ destinationHostId: null, summary: '', migrationAddress: '', owner: 'unclear', failure: null }
}
export const frozen = { diskId: ids.vmDisk, volumeId: ids.vmVolume }

/** A snapshot of the VM of the house, on both sides. */
export function placeSnapshot({ store, world }: Fixture): void {
  store.transaction(tx => {
    insertVolume(tx, {
      ...{ id: newIds.volume, diskId: ids.vmDisk, parentId: ids.vmVolume, capacity: GiB, format: 'qcow2' },
      ...{ allocation: 'thin', isShared: 0, created: 2 }
    })
    updateDisk(tx, ids.vmDisk, { volumeId: newIds.volume })
    const row = { id: newIds.snapshot, vmId: ids.vm, name: 'before', phase: 'ok', created: 1 } as const
    insertSnapshot(tx, row, [frozen])
  })
  placeVolume({ world }, ids.vmVolume, ids.vmDisk, ids.templateVolume, 'INTERNAL')
  placeVolume({ world }, newIds.volume, ids.vmDisk, ids.vmVolume, 'LEAF')
}

export function insertNewTemplate(tx: Tx): void {
  const row = { id: newIds.template, name: 'new', description: '', vcpus: 1, memoryBytes: 2 ** 29 }
  insertTemplate(tx, { ...row, firmware: 'bios', status: 'creating', created: 1 }, [newIds.disk])
}
