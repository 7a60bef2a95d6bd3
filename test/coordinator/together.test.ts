import t from 'tap'
import { placeTogether } from '../../coordinator/jobs/place-together.js'
import { chooseHost } from '../../coordinator/jobs/placement.js'
import { coordinatorServices as services } from '../../proto/load.js'
import { coordinatorWorld, failure } from './world.js'

type World = Awaited<ReturnType<typeof coordinatorWorld>>
const GiB = 2 ** 30

async function over(world: World, jobId: string): Promise<string> {
  let state = ''
  await world.until(async () => {
    state = (await world.call(services.job.GetJob, { jobId })).state
    return /SUCCEEDED|UNDONE/.test(state)
  })
  return state
}

async function makeVm(world: World, clusterId: string, name: string, more: object = {}): Promise<string> {
  const job = await world.mutate(services.vm.CreateVm, { vm: { name, clusterId, ...more } })
  await over(world, job.jobId)
  return job.objects['vm'] ?? ''
}

t.test(
  'many VMs start by one plan, what others need first, and one that cannot keeps no other from it',
  async t => {
    const world = await coordinatorWorld(t)
    const clusterId = await world.createCluster()
    for (const name of ['a', 'b']) await world.addHost(clusterId, name)
    const memoryBytes = String(5 * GiB)
    const db = await makeVm(world, clusterId, 'db', { memoryBytes })
    const web = await makeVm(world, clusterId, 'web', { memoryBytes, dependsOnVmIds: [db] })
    const lone = await makeVm(world, clusterId, 'lone', {
      dependsOnVmIds: [await makeVm(world, clusterId, 'off')]
    })
    const { starts } = await world.mutate(services.vm.StartVms, { vmIds: ['web', 'lone', 'db'] })
    t.strictSame(
      starts.map(({ vmId }) => vmId),
      [db, web, lone]
    )
    t.match(starts[2], { jobId: '', problem: /lone needs off, which does not run/ })
    t.not(starts[0]?.hostId, starts[1]?.hostId, 'two large ones are planned for two hosts')
    for (const { jobId } of starts.slice(0, 2)) t.equal(await over(world, jobId), 'JOB_STATE_SUCCEEDED')
    t.match(await failure(world.mutate(services.vm.StartVm, { vmId: lone })), { reason: 'WRONG_STATE' })
    const circle = { vm: { vmId: db, dependsOnVmIds: [web] }, updateMask: { paths: ['depends_on_vm_ids'] } }
    t.match(JSON.stringify(await failure(world.mutate(services.vm.UpdateVm, circle))), /vm.depends_on_vm_ids/)
  }
)

t.test(
  'a hard rule between VMs is broken only for a VM that must leave, and that is written down',
  async t => {
    const world = await coordinatorWorld(t)
    const clusterId = await world.createCluster()
    const [a, b] = [await world.addHost(clusterId, 'a'), await world.addHost(clusterId, 'b')]
    const vmIds = [await makeVm(world, clusterId, 'one'), await makeVm(world, clusterId, 'two')]
    const affinityGroup = {
      name: 'apart',
      clusterId,
      vmIds,
      vmEnforcing: true,
      vmRule: 'AFFINITY_RULE_NEGATIVE' as const
    }
    await world.mutate(services.affinityGroup.CreateAffinityGroup, { affinityGroup })
    const { starts } = await world.mutate(services.vm.StartVms, { vmIds })
    for (const { jobId } of starts) t.equal(await over(world, jobId), 'JOB_STATE_SUCCEEDED')
    const { store } = world.running
    const loads = {
      ...{ memoryAvailable: () => null, cpuPercent: () => null, swapUsed: () => null },
      ...{ hostCpuPercent: () => null, secondsAbove: () => 0 }
    }
    const [vmId = ''] = vmIds
    const { hostId } = await world.call(services.vm.GetVm, { vmId })
    t.ok([a.hostId, b.hostId].includes(hostId))
    t.equal(placeTogether(store.read, loads, 'migrate', [vmId]).size, 0, 'no host keeps the rule')
    const choice = {
      ...{
        purpose: 'migrate' as const,
        vmId,
        onlyHostId: null,
        preferredHostId: null,
        currentHostId: hostId
      },
      excluded: {}
    }
    const jobId = starts[0]?.jobId ?? ''
    const strict = store.transaction(tx => chooseHost(tx, loads, choice, jobId, 1))
    t.equal(strict.hostId, null)
    const relaxed = store.transaction(tx => chooseHost(tx, loads, { ...choice, mayRelax: true }, jobId, 2))
    t.not(relaxed.hostId, null)
    t.match(relaxed.summary, /rules between VMs relaxed/)
    t.ok((await world.events()).some(({ kind }) => kind === 'vm.affinity_relaxed'))
  }
)
