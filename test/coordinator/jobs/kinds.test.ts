import t from 'tap'
import { bytes } from '../../../common/units.js'
import { startContext } from '../../../coordinator/jobs/start-steps.js'
import { insertDisk, insertVolume } from '../../../coordinator/store/disks.js'
import { vm } from '../../../coordinator/store/vms.js'
import { fixture, furnish, ids, idOf, insertVmRow, storyOf } from './fixture.js'

t.test('a VM is created from a template and started', async t => {
  const house = await fixture()
  t.teardown(house.close)
  furnish(house)
  const [vmId, diskId, volumeId] = [idOf('new vm'), idOf('new disk'), idOf('new volume')]
  house.store.transaction(tx => {
    insertVmRow(tx, vmId, 'creating')
    insertDisk(tx, {
      ...{ id: diskId, name: 'x', storageDomainId: ids.domain, capacity: 2 ** 30, format: 'qcow2' },
      ...{ allocation: 'thin', status: 'creating', volumeId, created: 1 }
    })
    insertVolume(tx, {
      ...{ id: volumeId, diskId, parentId: ids.templateVolume, capacity: 2 ** 30, format: 'qcow2' },
      ...{ allocation: 'thin', isShared: 0, created: 1 }
    })
  })
  const created = await house.run('vm.create', {
    vmId,
    hostId: null,
    disks: [
      {
        ...{ diskId, volumeId, storageDomainId: ids.domain, capacity: bytes(2 ** 30), format: 'qcow2' },
        ...{ allocation: 'thin', description: '', isTemplate: false },
        source: { kind: 'thin', imageId: ids.templateDisk, volumeId: ids.templateVolume }
      }
    ],
    leaseStorageDomainId: null,
    leaseOffset: null
  })
  t.equal(created.state, 'succeeded', storyOf(house, created).join('\n'))
  const started = await house.run('vm.start', startContext(vmId))
  t.equal(started.state, 'succeeded', storyOf(house, started).join('\n'))
  const row = vm(house.store.read, vmId)
  t.match(row, { status: 'up', generation: 1, wantedRunning: true, machineType: 'pc-q35-7.2' })
  t.equal(house.world.runningOn(vmId).length, 1)
})
