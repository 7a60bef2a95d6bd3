import { startContext } from '../../../../coordinator/jobs/start-steps.js'
import { updateDisk } from '../../../../coordinator/store/disks.js'
import { noteVm, putCdDrive } from '../../../../coordinator/store/vms.js'
import { furnish, ids, insertVmRow } from '../fixture.js'

import { type Scenario, newIds, thin, insertNewDisk, placeLease, command, migration } from './furniture.js'
export const vmScenarios: Scenario[] = [
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
    name: 'a running VM gets a CD',
    vm: 'running',
    furnish: ({ store }) =>
      store.transaction(tx => {
        updateDisk(tx, ids.templateDisk, { content: 'iso' })
        putCdDrive(tx, { vmId: ids.vm, number: 1, diskId: null })
      }),
    order: () => ({
      kind: 'vm.change_cd',
      context: { ...command, drive: 1, diskId: ids.templateDisk, before: null, isForced: false }
    })
  },
  {
    name: 'a VM migrates',
    vm: 'running',
    lasting: ['migrate'],
    order: () => ({ kind: 'vm.migrate', context: migration })
  }
]
