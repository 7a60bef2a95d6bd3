import t from 'tap'
import { newMark, type VmLimits } from '../../coordinator/qos/vm-limits.js'
import { coordinatorServices as services } from '../../proto/load.js'
import { coordinatorWorld, failure } from './world.js'

const none: VmLimits = { cpu: null, disks: [{ diskId: 'd', limits: null }], nics: [] }
const half: VmLimits = { ...none, cpu: { shares: 0, percent: 50 } }
const up = { status: 'up' as const, hostId: 'h', generation: 1, limitsApplied: '' }

t.test('a host is told of limits once, again after a move, and when they are over', async t => {
  t.equal(newMark(up, none), null, 'nobody is asked where nothing is limited')
  t.equal(newMark({ ...up, status: 'down', hostId: null }, half), null)
  const mark = newMark(up, half) ?? ''
  t.not(mark, '')
  const told = { ...up, limitsApplied: mark }
  t.equal(newMark(told, half), null)
  t.not(newMark({ ...told, hostId: 'other' }, half), null)
  t.not(newMark({ ...told, generation: 2 }, half), null)
  t.equal(newMark(told, none), '')
})

t.test('profiles are made, given, changed while a VM runs, and not deleted while a VM has them', async t => {
  const world = await coordinatorWorld(t)
  const { qosProfile } = services
  const clusterId = await world.createCluster()
  const agent = await world.addHost(clusterId, 'h1')
  const told: unknown[] = []
  agent.works.set('SetVmLimits', request => void told.push(request['cpuLimits']))
  const { vmId } = await makeVm(world, clusterId)
  const made = await world.mutate(qosProfile.CreateQosProfile, {
    qosProfile: { name: 'half', cpu: { percent: 50 } }
  })
  await world.mutate(qosProfile.AssignQosProfile, { vmId, qosProfileId: 'half' })
  await world.mutate(services.vm.StartVm, { vmId })
  await world.until(() => told.length > 0)
  t.match(told[0], { percent: 50 })
  await world.mutate(qosProfile.UpdateQosProfile, {
    qosProfile: { qosProfileId: made.qosProfileId, cpu: { percent: 80 } },
    updateMask: { paths: ['limits'] }
  })
  await world.until(() => told.length > 1)
  t.match(told[1], { percent: 80 })
  t.match(await failure(world.mutate(qosProfile.DeleteQosProfile, { qosProfileId: 'half' })), {
    reason: 'WRONG_STATE'
  })
  await world.mutate(qosProfile.AssignQosProfile, { vmId })
  await world.until(() => told.length > 2)
  t.equal(told[2], null, 'limits that are over are lifted')
  await world.mutate(qosProfile.DeleteQosProfile, { qosProfileId: 'half' })
})

type World = Awaited<ReturnType<typeof coordinatorWorld>>
async function makeVm(world: World, clusterId: string) {
  const job = await world.mutate(services.vm.CreateVm, { vm: { name: 'web', clusterId } })
  await world.until(
    async () => (await world.call(services.job.GetJob, { jobId: job.jobId })).state === 'JOB_STATE_SUCCEEDED'
  )
  return { vmId: job.objects['vm'] ?? '' }
}

const bad: Array<[string, object, string]> = [
  ['no limits at all', {}, 'qos_profile.disk'],
  ['a share that is none', { cpu: {} }, 'percent'],
  ['a total beside a part', { disk: { totalIopsSec: 5, readIopsSec: 5 } }, 'total_iops_sec'],
  ['too few bytes', { disk: { readBytesSec: 5 } }, 'read_bytes_sec'],
  ['a peak below the average', { network: { inbound: { averageKibSec: 9, peakKibSec: 8 } } }, 'peak_kib_sec']
]
t.test('profiles that make no sense are refused by the name of the field', async t => {
  const world = await coordinatorWorld(t)
  for (const [why, limits, field] of bad) {
    const request = { qosProfile: { name: 'p', ...limits } } as never
    const error = await failure(world.mutate(services.qosProfile.CreateQosProfile, request))
    t.match(String(JSON.stringify(error)), new RegExp(field), why)
  }
  await world.mutate(services.qosProfile.CreateQosProfile, {
    qosProfile: { name: 'd', disk: { totalIopsSec: 9 } }
  })
  const clusterId = await world.createCluster()
  const error = await failure(
    world.mutate(services.qosProfile.AssignQosProfile, { vmId: 'x', qosProfileId: 'd' })
  )
  t.match(error, { reason: 'VM_NOT_FOUND' })
  t.ok(clusterId)
})
