import { bytes } from '../../../../common/units.js'
import { insertSnapshot } from '../../../../coordinator/store/snapshots.js'
import { furnish, ids, idOf } from '../fixture.js'

import {
  type Scenario,
  GiB,
  newIds,
  blank,
  thin,
  copyOfVm,
  insertNewDisk,
  placeDisk,
  frozen,
  placeSnapshot,
  insertNewTemplate
} from './furniture.js'
export const diskScenarios: Scenario[] = [
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
  }
]
