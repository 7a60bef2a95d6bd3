import t from 'tap'
import { seconds } from '../../common/units.js'
import { agentServices, coordinatorServices as services } from '../../proto/load.js'
import type { Job__Output as Job } from '../../proto/generated/types/drover/v1/Job.js'
import type { Wire } from '../fakes/fake-agent.js'
import { olderAgent } from '../fakes/older-agent.js'
import { coordinatorWorld, failure, never, type CoordinatorWorld } from './world.js'

t.setTimeout(120_000)

// Row B43: the coordinator is upgraded first, and works with agents of the version before.

async function over(world: CoordinatorWorld, { jobId }: { jobId: string }): Promise<Job> {
  let last: Job | null = null
  const watched = world.local.stream(services.job.WatchJob, { jobId }, never, seconds(20))
  for await (const job of watched) last = job as Job
  if (!last) throw new Error(`nothing was told of job ${jobId}`)
  return last
}

async function done(world: CoordinatorWorld, job: { jobId: string }): Promise<Job> {
  const last = await over(world, job)
  if (last.state !== 'JOB_STATE_SUCCEEDED') throw new Error(`${last.kind}: ${last.failure?.message}`)
  return last
}

async function makeVm(world: CoordinatorWorld, clusterId: string, name: string): Promise<string> {
  const job = await world.mutate(services.vm.CreateVm, { vm: { name, clusterId } })
  return (await done(world, job)).objects['vm'] ?? ''
}

async function limited(world: CoordinatorWorld, vmId: string): Promise<void> {
  const qosProfile = { name: `half-of-${vmId.slice(0, 8)}`, cpu: { percent: 50 } }
  const { qosProfileId } = await world.mutate(services.qosProfile.CreateQosProfile, { qosProfile })
  await world.mutate(services.qosProfile.AssignQosProfile, { vmId, qosProfileId })
}

const tooOld = async (world: CoordinatorWorld): Promise<Wire[]> =>
  (await world.events()).filter(({ kind }) => kind === 'host.agent_too_old')

t.test('an agent of the version before works, and people are told once what it cannot do', async t => {
  const world = await coordinatorWorld(t)
  const clusterId = await world.createCluster()
  const agent = await world.addHost(clusterId, 'old', olderAgent())
  const storageDomain = {
    name: 'store',
    connection: { kind: 'posix' as const, posix: { path: '/srv/store' } }
  }
  const made = await done(
    world,
    await world.mutate(services.storageDomain.CreateStorageDomain, { storageDomain })
  )
  const vmId = await makeVm(world, clusterId, 'web')
  const disk = { name: 'd', storageDomainId: made.objects['storageDomain'] ?? '', capacity: String(2 ** 30) }
  await done(world, await world.mutate(services.disk.CreateDisk, { disk }))
  await done(world, await world.mutate(services.vm.StartVm, { vmId }))
  t.equal((await world.call(services.vm.GetVm, { vmId })).status, 'VM_STATUS_UP')
  t.match(await world.call(services.disk.GetDisk, { diskId: 'd' }), { name: 'd', thin: null })
  t.match(await world.call(services.event.RunAudit, {}), { findings: [] })
  await done(world, await world.mutate(services.vm.StopVm, { vmId }))
  const { agentLacks } = await world.call(services.host.GetHost, { hostId: agent.hostId })
  t.ok(agentLacks.includes('VmService/SetVmLimits'), 'the host shows it too')
  const [event, ...more] = await tooOld(world)
  t.match(event, { severity: 'SEVERITY_WARNING', objects: { host: agent.hostId } })
  t.match(
    event?.['text'],
    /host old is older .*VmService\/SetVmLimits.*VmSpec\.cpu_limits.*upgrade drover-agent/
  )
  t.strictSame(more, [])

  await agent.die()
  await agent.serve()
  await world.until(() => agent.effects.get('Welcome') === 2)
  t.equal((await tooOld(world)).length, 1, 'not again after a reconnect')
})

t.test('what it would ignore or does not have is refused before it is asked', async t => {
  const world = await coordinatorWorld(t)
  const clusterId = await world.createCluster()
  const agent = await world.addHost(clusterId, 'old', olderAgent())
  const vmId = await makeVm(world, clusterId, 'web')
  await limited(world, vmId)
  const job = await over(world, await world.mutate(services.vm.StartVm, { vmId }))
  t.match(job, { state: 'JOB_STATE_UNDONE', failure: { reason: 'NO_HOST' } })
  t.match(job.failure?.message, /host old \(version 0\.0\.0\) is too old: it does not know spec\.cpu_limits/)
  t.equal(agent.effects.get('StartVm') ?? 0, 0, 'no VM was started without its limits')

  const { agents } = world.running
  const upgrade = { requestId: vmId, packages: ['drover-agent'] }
  const refused = agents.call(agent.hostId, agentServices.host.UpgradePackages, upgrade, never)
  t.match(await failure(refused), {
    ...{ reason: 'AGENT_TOO_OLD', status: 'FAILED_PRECONDITION' },
    message: /does not know HostService\/UpgradePackages/,
    nextStep: /Upgrade drover-agent on that host/
  })
})

t.test('a VM that needs more than the old agent knows runs on a host whose agent is new', async t => {
  const world = await coordinatorWorld(t)
  const clusterId = await world.createCluster()
  // By itself the scheduler would take the one with more memory.
  await world.addHost(clusterId, 'old', olderAgent({ memoryBytes: String(2 ** 40), cpus: 64 }))
  const fresh = await world.addHost(clusterId, 'new')
  const vmId = await makeVm(world, clusterId, 'web')
  await limited(world, vmId)
  await done(world, await world.mutate(services.vm.StartVm, { vmId }))
  t.equal((await world.call(services.vm.GetVm, { vmId })).hostId, fresh.hostId)
  t.match(fresh.vms.get(vmId)?.['spec'], { cpuLimits: { percent: 50 } })
})

t.test('after its upgrade the same host takes everything', async t => {
  const world = await coordinatorWorld(t)
  const clusterId = await world.createCluster()
  const agent = await world.addHost(clusterId, 'h', olderAgent())
  t.not(world.running.agents.lacks(agent.hostId).length, 0)
  await agent.die()
  agent.upgrade()
  await agent.serve()
  await world.until(() => agent.effects.get('Welcome') === 2)
  t.strictSame(world.running.agents.lacks(agent.hostId), [])
  const vmId = await makeVm(world, clusterId, 'web')
  await limited(world, vmId)
  await done(world, await world.mutate(services.vm.StartVm, { vmId }))
  t.match(agent.vms.get(vmId)?.['spec'], { cpuLimits: { percent: 50 } })
})
