import { insertStorageDomain } from '../../../../coordinator/store/storage-domains.js'
import { furnish, ids, idOf } from '../fixture.js'

import {
  type Scenario,
  GiB,
  newIds,
  domainRow,
  restDomain,
  deviceContext,
  nameDataCenter
} from './furniture.js'
export const storageDomainScenarios: Scenario[] = [
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
  }
]
