import { randomUUID } from 'node:crypto'
import t from 'tap'
import { crashPoints } from './crash-points.js'
import { storageDomain } from './storage.js'
import { AgentWorld, diskless } from './world.js'

// The agent is killed between every two durable acts of a start and of a destroy. Whatever it left, the same
// request asked again ends as it should, once, and nothing is left behind.

const world = await AgentWorld.start({ allowed_directories: ['/tmp'] })
t.teardown(() => world[Symbol.asyncDispose]())
const { disk } = await storageDomain(world)

async function restartedToDieAt(name: string) {
  await world.agentEnds('SIGTERM')
  await world.startAgent({ DROVER_CRASHPOINTS: `kill@${name}` })
}
const qemus = () => world.libvirtd.pids('qemu-system-x86')

for (const point of crashPoints.start) {
  t.test(`a start whose agent died at "${point}" ends as one running VM`, async t => {
    await restartedToDieAt(`vm.start.${point}`)
    const spec = diskless(randomUUID(), { disks: [disk] })
    const request = { requestId: randomUUID(), vmGeneration: '1', spec }
    const asked = world.client.task('vm', 'StartVm', request).catch(() => null)
    await world.agentEnds()
    await asked
    await world.startAgent()

    const task = await world.client.task('vm', 'StartVm', request)
    t.equal(task['state'], 'TASK_STATE_SUCCEEDED')
    t.match(await world.vm(spec.vmId), { status: /POWERING_UP|UP/, vmGeneration: '1' })
    t.equal((await qemus()).length, 1)

    await world.client.task('vm', 'DestroyVm', { vmId: spec.vmId })
    t.equal(await world.vm(spec.vmId), null)
    t.equal((await qemus()).length, 0)
  })
}

for (const point of crashPoints.cd) {
  t.test(`a change of a CD whose agent died at "${point}" ends with the new one in the drive`, async t => {
    await restartedToDieAt(`vm.cd.${point}`)
    const { storageDomainId, imageId, volumeId } = disk
    const spec = diskless(randomUUID(), { cdDrives: [{}] })
    await world.client.task('vm', 'StartVm', { vmGeneration: '1', spec })
    const medium = { storageDomainId, imageId, volumeId }
    const request = { requestId: randomUUID(), vmId: spec.vmId, vmGeneration: '1', medium }
    const asked = world.client.task('vm', 'ChangeCd', request).catch(() => null)
    await world.agentEnds()
    await asked
    await world.startAgent()

    t.equal((await world.client.task('vm', 'ChangeCd', request))['state'], 'TASK_STATE_SUCCEEDED')
    t.match((await world.vm(spec.vmId))?.['spec'], { cdDrives: [{ medium }] })
    const eject = { vmId: spec.vmId, vmGeneration: '1' }
    t.equal((await world.client.task('vm', 'ChangeCd', eject))['state'], 'TASK_STATE_SUCCEEDED')
    t.match((await world.vm(spec.vmId))?.['spec'], { cdDrives: [{ medium: null }] })
    await world.client.task('vm', 'DestroyVm', { vmId: spec.vmId })
  })
}

for (const point of crashPoints.destroy) {
  t.test(`a destroy whose agent died at "${point}" ends with nothing left`, async t => {
    await restartedToDieAt(`vm.destroy.${point}`)
    const spec = diskless(randomUUID(), { disks: [disk] })
    await world.client.task('vm', 'StartVm', { vmGeneration: '1', spec })
    const request = { requestId: randomUUID(), vmId: spec.vmId }
    const asked = world.client.task('vm', 'DestroyVm', request).catch(() => null)
    await world.agentEnds()
    await asked
    await world.startAgent()

    const task = await world.client.task('vm', 'DestroyVm', request)
    t.equal(task['state'], 'TASK_STATE_SUCCEEDED')
    t.equal(await world.vm(spec.vmId), null)
    t.equal((await qemus()).length, 0)
  })
}

t.test('after all that the disk is prepared for nobody', async t => {
  await world.agentEnds('SIGTERM')
  await world.startAgent()
  const task = await world.client.task('storage', 'DeactivateStorageDomain', {
    storageDomainId: disk.storageDomainId
  })
  t.equal(task['state'], 'TASK_STATE_SUCCEEDED')
})
