import { pino } from 'pino'
import t from 'tap'
import { seconds } from '../../common/units.js'
import { markRestored } from '../../coordinator/store/stale-mark.js'
import { Store } from '../../coordinator/store/store.js'
import type { Job__Output as Job } from '../../proto/generated/types/drover/v1/Job.js'
import { coordinatorServices } from '../../proto/load.js'
import { coordinatorWorld, never, type CoordinatorWorld } from './world.js'

t.setTimeout(280_000)

const { coordinator, vm, host, job } = coordinatorServices

async function over({ local }: CoordinatorWorld, { jobId }: { jobId: string }): Promise<Job> {
  let last: Job | null = null
  for await (const next of local.stream(job.WatchJob, { jobId }, never, seconds(30))) last = next as Job
  if (!last) throw new Error(`nothing was told of job ${jobId}`)
  return last
}

/** As `drover-coordinator restore` leaves it; what the store says is what it said at the stop. */
async function restored(world: CoordinatorWorld, meanwhile: () => Promise<void>): Promise<void> {
  await world.stop()
  await meanwhile()
  const store = await Store.open(`${world.config.state_directory}/store.db`, pino({ level: 'silent' }))
  store.transaction(markRestored)
  store.close()
  await world.start()
}

t.test('B34 after a restore no VM starts that a silent host may run', async t => {
  const world = await coordinatorWorld(t)
  const clusterId = await world.createCluster()
  const [a, b] = [await world.addHost(clusterId, 'a'), await world.addHost(clusterId, 'b')]
  const wanted = { name: 'web', clusterId, vcpus: 1, memoryBytes: String(2 ** 28) }
  const made = await over(world, await world.mutate(vm.CreateVm, { vm: wanted }))
  const vmId = made.objects['vm'] ?? ''
  t.match(await over(world, await world.mutate(vm.StartVm, { vmId, hostId: a.hostId })), {
    state: 'JOB_STATE_SUCCEEDED'
  })
  const running = a.vms.get(vmId)

  // It moved to the other host, which is silent now.
  await restored(world, async () => {
    a.removeVm(vmId)
    await b.die()
  })
  await world.until(async () => (await world.call(vm.GetVm, { vmId })).status === 'VM_STATUS_UNKNOWN')
  t.notOk(
    (await world.events()).some(({ kind }) => kind === 'vm.disappeared'),
    'nobody says that it was lost'
  )

  // Its new host is heard: nobody has to start anything.
  b.vms.set(vmId, running ?? {})
  await b.serve()
  await world.until(async () => (await world.events()).some(({ kind }) => kind === 'coordinator.confirmed'))
  await world.until(async () => {
    const { status, hostId } = await world.call(vm.GetVm, { vmId })
    return status === 'VM_STATUS_UP' && hostId === b.hostId
  })
  t.match(world.running.dump(), { about: { isStale: false } })
})

t.test(
  'B34 after a restore a VM that is down on record waits for the silent host, or for a person',
  async t => {
    const world = await coordinatorWorld(t)
    const clusterId = await world.createCluster()
    const [, b] = [await world.addHost(clusterId, 'a'), await world.addHost(clusterId, 'b')]
    const wanted = { name: 'web', clusterId, vcpus: 1, memoryBytes: String(2 ** 28) }
    const made = await over(world, await world.mutate(vm.CreateVm, { vm: wanted }))
    const vmId = made.objects['vm'] ?? ''
    await restored(world, () => b.die())
    await world.until(async () => {
      const { mayBeStale, awaitedHostIds } = await world.call(coordinator.GetCoordinator, {})
      return mayBeStale && awaitedHostIds.join() === b.hostId
    })
    await world.until(async () => {
      const { status } = await world.call(host.GetHost, { hostId: 'a' })
      return status === 'HOST_STATUS_UP' && world.running.agents.ready().length === 1
    })
    t.match(await over(world, await world.mutate(vm.StartVm, { vmId })), {
      failure: { reason: 'WRONG_STATE', message: /may run on a host that has not told/ }
    })

    await world.until(
      async () => (await world.call(host.GetHost, { hostId: 'b' })).status !== 'HOST_STATUS_UP'
    )
    await over(
      world,
      await world.mutate(host.ConfirmHostStopped, { hostId: b.hostId, confirmName: 'b', reason: 'it is off' })
    )
    await world.until(async () => (await world.events()).some(({ kind }) => kind === 'coordinator.confirmed'))
    t.match(await over(world, await world.mutate(vm.StartVm, { vmId })), { state: 'JOB_STATE_SUCCEEDED' })
  }
)

t.test('B34 a start that goes on out of a backup waits for the host that may have the VM by now', async t => {
  const world = await coordinatorWorld(t)
  const clusterId = await world.createCluster()
  const [a, b] = [await world.addHost(clusterId, 'a'), await world.addHost(clusterId, 'b')]
  const wanted = { name: 'web', clusterId, vcpus: 1, memoryBytes: String(2 ** 28) }
  const made = await over(world, await world.mutate(vm.CreateVm, { vm: wanted }))
  const vmId = made.objects['vm'] ?? ''
  // The backup is of a moment in which the host was asked, and had not answered.
  let starts = 0
  a.works.set('StartVm', () => {
    starts++
    return new Promise(() => {})
  })
  const begun = await world.mutate(vm.StartVm, { vmId, hostId: a.hostId })
  await world.until(() => starts === 1)
  await restored(world, async () => {
    a.tasks.clear()
    await b.die()
  })
  await world.until(() => world.running.agents.ready().length === 1)
  await world.until(
    async () => (await world.call(coordinator.GetCoordinator, {})).awaitedHostIds.length === 1
  )

  b.vms.set(vmId, {
    vmId,
    name: 'web',
    status: 'VM_STATUS_UP',
    vmGeneration: '1',
    exitReason: '',
    foreign: ''
  })
  await b.serve()
  t.match(await over(world, begun), { failure: { reason: 'WRONG_STATE', message: /runs already/ } })
  t.equal(starts, 1, 'it was asked for no second time')
  t.match(await world.call(vm.GetVm, { vmId }), { status: 'VM_STATUS_UP', hostId: b.hostId })
})
