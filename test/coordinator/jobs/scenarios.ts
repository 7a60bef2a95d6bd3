import { bytes } from '../../../common/units.js'
import type { JobContexts, JobKind } from '../../../coordinator/jobs/kinds.js'
import { upgradeContext, type UpgradeSettings } from '../../../coordinator/jobs/upgrade-host.js'
import { startContext } from '../../../coordinator/jobs/start-steps.js'
import type { NewVolume } from '../../../coordinator/jobs/volumes.js'
import { insertDisk, insertVolume, updateDisk } from '../../../coordinator/store/disks.js'
import { updateHost } from '../../../coordinator/store/hosts.js'
import type { Tx } from '../../../coordinator/store/query.js'
import { putSetting } from '../../../coordinator/store/settings.js'
import { insertSnapshot } from '../../../coordinator/store/snapshots.js'
import {
  deleteHostView,
  insertStorageDomain,
  type StorageConnection,
  updateStorageDomain
} from '../../../coordinator/store/storage-domains.js'
import { insertTemplate } from '../../../coordinator/store/templates.js'
import { noteVm, putLease } from '../../../coordinator/store/vms.js'
import { furnish, ids, idOf, insertVmRow, type Fixture } from './fixture.js'

// Every kind of job, ordered as its service would order it, in a house that is furnished for it.

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

const GiB = 2 ** 30
export const newIds = {
  vm: idOf('new vm'),
  disk: idOf('new disk'),
  volume: idOf('new volume'),
  domain: idOf('new domain'),
  template: idOf('new template'),
  snapshot: idOf('new snapshot')
}

const blank: NewVolume = {
  ...{ diskId: newIds.disk, volumeId: newIds.volume, storageDomainId: ids.domain, capacity: bytes(GiB) },
  ...{ format: 'qcow2', allocation: 'thin', description: '', source: { kind: 'blank' }, isTemplate: false }
}
const thin: NewVolume = {
  ...blank,
  source: { kind: 'thin', imageId: ids.templateDisk, volumeId: ids.templateVolume }
}
const copyOfVm: NewVolume = {
  ...blank,
  source: { kind: 'copy', storageDomainId: ids.domain, imageId: ids.vmDisk, volumeId: ids.vmVolume }
}

function insertNewDisk(
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
function placeDisk({ store, world }: Fixture): void {
  store.transaction(tx => insertNewDisk(tx, blank, 'ok'))
  placeVolume({ world }, newIds.volume, newIds.disk, '', 'LEAF')
}

function placeVolume(
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

function placeLease({ store, world }: Fixture): void {
  world.storage.get(ids.domain)?.leases.add(ids.vm)
  store.transaction(tx => {
    noteVm(tx, ids.vm, { isHa: 1, leaseStorageDomainId: ids.domain })
    putLease(tx, { vmId: ids.vm, storageDomainId: ids.domain, offsetBytes: 3 * 2 ** 20 })
  })
}

const domainRow = (phase: 'creating' | 'maintenance') => ({
  ...{ id: newIds.domain, name: 'new domain', connectionJson: '{"kind":"posix","path":"/srv/y"}', phase },
  ...{ ioTimeoutSeconds: 1, blockSize: 512, criticalBytes: 0, metadataJson: null, created: 1 }
})

/** The storage domain of the house, out of service everywhere. */
function restDomain({ store, world }: Fixture): void {
  for (const id of [ids.hostA, ids.hostB]) {
    world.hosts.get(id)?.active.delete(ids.domain)
    world.hosts.get(id)?.connected.delete(ids.domain)
  }
  store.transaction(tx => {
    for (const id of [ids.hostA, ids.hostB]) deleteHostView(tx, ids.domain, id)
    updateStorageDomain(tx, ids.domain, { phase: 'maintenance' })
  })
}

function deviceContext(change: 'add' | 'remove'): JobContexts['storage_domain.change_device'] {
  const one: StorageConnection = { kind: 'block', devices: ['/dev/mapper/one'] }
  const two: StorageConnection = { kind: 'block', devices: ['/dev/mapper/one', '/dev/mapper/two'] }
  const connections = change === 'add' ? { before: one, after: two } : { before: two, after: one }
  const rest = { storageDomainId: ids.domain, hostId: ids.hostA, hostIds: [], changes: [] }
  return { ...rest, ...connections, change, device: '/dev/mapper/two' }
}

const nameDataCenter = ({ store }: Fixture) =>
  store.transaction(tx => putSetting(tx, 'dataCenterId', idOf('dataCenter')))

const usualUpgrade: UpgradeSettings = { packages: [], isRefreshed: true, reboot: 'if_needed' }
const command = { vmId: ids.vm, hostId: ids.hostA, vmGeneration: 1 }
const migration: JobContexts['vm.migrate'] = {
  ...{ vmId: ids.vm, vmGeneration: 1, sourceHostId: ids.hostA, onlyHostId: null, bandwidth: 0 },
  ...{ destinationHostId: null, summary: '', migrationAddress: '', owner: 'unclear', failure: null }
}
const frozen = { diskId: ids.vmDisk, volumeId: ids.vmVolume }

/** A snapshot of the VM of the house, on both sides. */
function placeSnapshot({ store, world }: Fixture): void {
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

export const scenarios: Scenario[] = [
  {
    name: 'a VM with a lease is created from a template',
    vm: 'none',
    order: () => ({
      kind: 'vm.create',
      context: {
        ...{ vmId: newIds.vm, hostId: null, disks: [thin], leaseStorageDomainId: ids.domain },
        leaseOffset: null
      },
      reserve: tx => {
        insertVmRow(tx, newIds.vm, 'creating')
        insertNewDisk(tx, thin)
      }
    })
  },
  {
    name: 'a VM is deleted with its disk and lease',
    vm: 'down',
    furnish: placeLease,
    order: () => ({
      kind: 'vm.delete',
      context: {
        ...{ vmId: ids.vm, hostId: null, leaseStorageDomainId: ids.domain },
        disks: [{ diskId: ids.vmDisk, storageDomainId: ids.domain }]
      }
    })
  },
  {
    name: 'a VM gets a lease when it becomes highly available',
    vm: 'down',
    order: () => ({
      kind: 'vm.ensure_lease',
      context: {
        ...{ vmId: ids.vm, hostId: null, storageDomainId: ids.domain, wasHa: false, leaseOffset: null }
      },
      reserve: tx => noteVm(tx, ids.vm, { isHa: 1, leaseStorageDomainId: ids.domain })
    })
  },
  {
    name: 'a VM is started',
    vm: 'down',
    isAnywhere: true,
    order: () => ({ kind: 'vm.start', context: startContext(ids.vm) })
  },
  {
    name: 'a highly available VM is restarted',
    vm: 'down',
    furnish: placeLease,
    isAnywhere: true,
    order: () => ({
      kind: 'vm.restart',
      context: { ...startContext(ids.vm), proof: 'power_off', leaseStorageDomainId: ids.domain }
    })
  },
  {
    name: 'a VM is shut down',
    vm: 'running',
    lasting: ['stop'],
    order: () => ({
      kind: 'vm.stop',
      context: { ...command, isForced: false, timeoutSeconds: 120, wasWantedRunning: true },
      reserve: tx => noteVm(tx, ids.vm, { wantedRunning: 0 })
    })
  },
  {
    name: 'a VM is stopped by force',
    vm: 'running',
    lasting: ['stop'],
    order: () => ({
      kind: 'vm.stop',
      context: { ...command, isForced: true, timeoutSeconds: 120, wasWantedRunning: true },
      reserve: tx => noteVm(tx, ids.vm, { wantedRunning: 0 })
    })
  },
  {
    name: 'a VM is rebooted',
    vm: 'running',
    lasting: ['command'],
    leavesNothing: true,
    order: () => ({ kind: 'vm.reboot', context: command })
  },
  {
    name: 'a VM is reset',
    vm: 'running',
    lasting: ['command'],
    leavesNothing: true,
    order: () => ({ kind: 'vm.reset', context: command })
  },
  {
    name: 'a VM is paused',
    vm: 'running',
    lasting: ['command'],
    order: () => ({ kind: 'vm.pause', context: command })
  },
  {
    name: 'a paused VM is resumed',
    vm: 'running',
    furnish: ({ world }) => world.setVm(ids.hostA, ids.vm, 'paused'),
    lasting: ['command'],
    order: () => ({ kind: 'vm.resume', context: command })
  },
  {
    name: 'a VM migrates',
    vm: 'running',
    lasting: ['migrate'],
    order: () => ({ kind: 'vm.migrate', context: migration })
  },
  {
    name: 'a disk is created',
    vm: 'none',
    order: () => ({
      kind: 'disk.create',
      context: { hostId: null, volume: blank },
      reserve: tx => insertNewDisk(tx, blank)
    })
  },
  {
    name: 'a disk is copied',
    vm: 'down',
    order: () => ({
      kind: 'disk.copy',
      context: { hostId: null, volume: copyOfVm },
      reserve: tx => insertNewDisk(tx, copyOfVm)
    })
  },
  {
    name: 'a disk is resized',
    vm: 'down',
    lasting: ['resize'],
    order: () => ({
      kind: 'disk.resize',
      context: {
        ...{ hostId: null, diskId: ids.vmDisk, storageDomainId: ids.domain, volumeId: ids.vmVolume },
        capacity: bytes(2 * GiB)
      }
    })
  },
  {
    name: 'a disk is deleted',
    vm: 'none',
    furnish: placeDisk,
    order: () => ({
      kind: 'disk.delete',
      context: { hostId: null, diskId: newIds.disk, storageDomainId: ids.domain, isWiped: true }
    })
  },
  {
    name: 'an upload is imported',
    vm: 'none',
    furnish: ({ world }) => world.uploads.add(idOf('upload')),
    order: () => ({
      kind: 'disk.import',
      context: {
        ...{ diskId: newIds.disk, volumeId: newIds.volume, storageDomainId: ids.domain, hostId: ids.hostA },
        ...{ source: idOf('upload'), sourceFormat: 'qcow2', format: 'qcow2', allocation: 'thin' },
        ...{ sha256: '', description: '', capacity: 0 }
      },
      reserve: tx => insertNewDisk(tx, blank)
    })
  },
  {
    name: 'a template is made of a disk',
    vm: 'none',
    furnish: placeDisk,
    lasting: ['shareFirst'],
    order: () => ({
      kind: 'template.create',
      context: {
        ...{ templateId: newIds.template, hostId: null, copies: [] },
        shared: [{ diskId: newIds.disk, volumeId: newIds.volume, storageDomainId: ids.domain }]
      },
      reserve: tx => insertNewTemplate(tx)
    })
  },
  {
    name: 'a template is made of a VM',
    vm: 'down',
    order: () => ({
      kind: 'template.create',
      context: {
        ...{ templateId: newIds.template, hostId: null, shared: [] },
        copies: [{ ...copyOfVm, isTemplate: true }]
      },
      reserve: tx => {
        insertNewDisk(tx, copyOfVm)
        insertNewTemplate(tx)
      }
    })
  },
  {
    name: 'a template is deleted',
    vm: 'none',
    order: () => ({
      kind: 'template.delete',
      context: {
        ...{ templateId: ids.template, hostId: null },
        disks: [{ diskId: ids.templateDisk, storageDomainId: ids.domain }]
      }
    })
  },
  {
    name: 'a snapshot is taken',
    vm: 'down',
    order: () => ({
      kind: 'snapshot.create',
      context: {
        ...{ snapshotId: newIds.snapshot, vmId: ids.vm, hostId: null },
        disks: [
          {
            ...{ diskId: ids.vmDisk, storageDomainId: ids.domain, capacity: GiB },
            ...{ frozenVolumeId: ids.vmVolume, leafVolumeId: newIds.volume }
          }
        ]
      },
      reserve: tx => {
        const row = {
          id: newIds.snapshot,
          vmId: ids.vm,
          name: 'before',
          phase: 'creating',
          created: 1
        } as const
        insertSnapshot(tx, row, [frozen])
      }
    })
  },
  {
    name: 'a snapshot is removed',
    vm: 'down',
    furnish: placeSnapshot,
    order: () => ({
      kind: 'snapshot.delete',
      context: {
        ...{ snapshotId: newIds.snapshot, vmId: ids.vm, hostId: null },
        disks: [
          {
            ...{ diskId: ids.vmDisk, storageDomainId: ids.domain },
            ...{ baseVolumeId: ids.vmVolume, topVolumeId: newIds.volume }
          }
        ]
      }
    })
  },
  {
    name: 'a storage domain is created',
    vm: 'none',
    furnish: nameDataCenter,
    order: () => ({
      kind: 'storage_domain.create',
      context: { storageDomainId: newIds.domain, hostId: ids.hostA, hostIds: [] },
      reserve: tx => insertStorageDomain(tx, domainRow('creating'))
    })
  },
  {
    name: 'a storage domain of somebody else is adopted',
    vm: 'none',
    furnish: house => {
      nameDataCenter(house)
      const volume = {
        ...{ volumeId: newIds.volume, imageId: newIds.disk, parentId: '', capacity: String(GiB) },
        ...{ format: 'DISK_FORMAT_RAW', allocation: 'ALLOCATION_POLICY_THIN', role: 'LEAF' as const }
      }
      house.world.storage.set(newIds.domain, {
        ...{ dataCenterId: '', description: 'old', leases: new Set() },
        volumes: new Map([[newIds.volume, volume]])
      })
    },
    order: () => ({
      kind: 'storage_domain.adopt',
      context: {
        ...{ storageDomainId: newIds.domain, hostId: ids.hostA, hostIds: [], disks: [] },
        connection: { kind: 'posix', path: '/srv/y' }
      },
      reserve: tx => insertStorageDomain(tx, domainRow('creating'))
    })
  },
  {
    name: 'a storage domain is activated',
    vm: 'none',
    furnish: restDomain,
    order: () => ({
      kind: 'storage_domain.activate',
      context: { storageDomainId: ids.domain, hostIds: [] }
    })
  },
  {
    name: 'a storage domain is deactivated',
    vm: 'none',
    order: () => ({
      kind: 'storage_domain.deactivate',
      context: { storageDomainId: ids.domain, hostIds: [] }
    })
  },
  {
    name: 'a storage domain in use gets another device',
    vm: 'none',
    order: () => ({ kind: 'storage_domain.change_device', context: deviceContext('add') })
  },
  {
    name: 'a device is taken out of a storage domain in maintenance',
    vm: 'none',
    furnish: house => {
      restDomain(house)
      const domain = house.world.storage.get(ids.domain)
      if (domain) domain.devices = new Set(['/dev/mapper/one', '/dev/mapper/two'])
    },
    order: () => ({ kind: 'storage_domain.change_device', context: deviceContext('remove') })
  },
  {
    name: 'what is wrong with a storage domain is repaired',
    vm: 'none',
    furnish: ({ world }) => void world.storage.get(ids.domain)?.leases.add('leaked'),
    // A repair that is made is not unmade because the job did not hear of it.
    halfway: ['repair'],
    order: () => ({
      kind: 'storage_domain.repair',
      context: {
        ...{ storageDomainId: ids.domain, hostId: null, told: {} },
        repairs: [{ kind: 'removeVmLease', object: ids.vm }]
      }
    })
  },
  {
    name: 'an empty storage domain is destroyed',
    vm: 'none',
    furnish: house => {
      house.store.transaction(tx => insertStorageDomain(tx, domainRow('maintenance')))
      house.world.storage.set(newIds.domain, {
        ...{ dataCenterId: idOf('dataCenter'), description: 'old', leases: new Set(), volumes: new Map() }
      })
    },
    order: () => ({
      kind: 'storage_domain.delete',
      context: { storageDomainId: newIds.domain, hostId: ids.hostA, isFormatted: true }
    })
  },
  {
    name: 'a host goes into maintenance and its VM moves away',
    vm: 'running',
    isAnywhere: true,
    order: () => ({
      kind: 'host.deactivate',
      context: { hostId: ids.hostA, storageDomainIds: [] },
      reserve: tx => updateHost(tx, ids.hostA, { mode: 'preparing' })
    })
  },
  {
    name: 'a host is upgraded: its VM moves away, and it is in service again',
    vm: 'running',
    isAnywhere: true,
    halfway: ['touch', 'install', 'reboot', 'comeBack', 'check', 'enter'],
    furnish: ({ world }) => void world.host(ids.hostA).upgrades.push('drover-agent 1.0 2.0'),
    order: () => ({
      kind: 'host.upgrade',
      context: upgradeContext({ ...usualUpgrade, hostId: ids.hostA }, true)
    })
  },
  {
    name: 'the hosts of a cluster are upgraded one after the other',
    vm: 'running',
    isAnywhere: true,
    halfway: ['hosts'],
    furnish: ({ world }) => {
      for (const id of [ids.hostA, ids.hostB]) world.host(id).upgrades.push('drover-agent 1.0 2.0')
    },
    order: () => ({
      kind: 'cluster.upgrade',
      context: {
        ...{ ...usualUpgrade, clusterId: ids.cluster, hostIds: [ids.hostA, ids.hostB] },
        ...{ atOnce: 1, actor: 'local', upgraded: 0 }
      }
    })
  },
  {
    name: 'a host comes back from maintenance',
    vm: 'none',
    furnish: house => {
      house.store.transaction(tx => {
        updateHost(tx, ids.hostA, { mode: 'maintenance' })
        deleteHostView(tx, ids.domain, ids.hostA)
      })
      house.world.hosts.get(ids.hostA)?.active.delete(ids.domain)
      house.world.hosts.get(ids.hostA)?.connected.delete(ids.domain)
    },
    order: () => ({ kind: 'host.activate', context: { hostId: ids.hostA } })
  },
  {
    name: 'a host is switched off by order of a person',
    vm: 'none',
    leavesNothing: true,
    order: () => ({ kind: 'host.fence', context: { hostId: ids.hostB, action: 'off', states: [] } })
  },
  {
    name: 'a person confirms that a silent host is off',
    vm: 'none',
    furnish: ({ store }) => store.transaction(tx => updateHost(tx, ids.hostB, { health: 'non_responsive' })),
    order: () => ({
      kind: 'host.confirm_stopped',
      context: { hostId: ids.hostB, reason: 'I pulled the plug', actor: 'local' }
    })
  },
  {
    name: 'a host that joins gets the storage that all have',
    vm: 'none',
    furnish: house => {
      house.store.transaction(tx => deleteHostView(tx, ids.domain, ids.hostB))
      house.world.hosts.get(ids.hostB)?.active.delete(ids.domain)
    },
    lasting: ['join'],
    order: () => ({
      kind: 'host.join_storage',
      context: { hostId: ids.hostB, storageDomainIds: [ids.domain] }
    })
  }
]

function insertNewTemplate(tx: Tx): void {
  const row = { id: newIds.template, name: 'new', description: '', vcpus: 1, memoryBytes: 2 ** 29 }
  insertTemplate(tx, { ...row, firmware: 'bios', status: 'creating', created: 1 }, [newIds.disk])
}

/** The house of a scenario, and its job: created, and not begun. */
export function prepare(
  house: Fixture,
  { vm, furnish: more, order }: Scenario
): { jobId: string; kind: JobKind } {
  furnish(house, vm)
  more?.(house)
  const { kind, context, reserve } = order()
  const jobId = idOf(`job ${kind}`)
  house.before = house.dump()
  house.store.transaction(tx => {
    reserve?.(tx)
    house.jobs.create(tx, kind, { id: jobId, context, objects: {}, claims: [], actor: 'local' } as never)
  })
  return { jobId, kind }
}
