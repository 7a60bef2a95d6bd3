import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import type { Job__Output as Job } from '../../proto/generated/types/drover/v1/Job.js'
import { filterNames } from '../../coordinator/scheduler/policy.js'
import { CoordinatorCrashes, pointsOf } from './coordinator-crashes.js'
import { Guests } from './guests.js'
import { Lab, poll } from './lab.js'
import { LosableStorage } from './losable-storage.js'
import { agentVersion, offerNewerAgent, refusal } from './newer-agent.js'
import { Witness } from './witness.js'
import { World } from './world.js'

// What is done with three real hosts while VMs run there: they are upgraded, emptied under a coordinator that is
// killed again and again, lose their storage, and are switched off and on again to save power.
const world = new World(new Lab('t-work'), ['h1', 'h2', 'h3'])
const { lab } = world
const guests = new Guests(world)
const crashes = new CoordinatorCrashes(world)
const ioTimeout = 1
let web: Witness
let db: Witness

t.before(async () => {
  await world.createHosts()
  const settings =
    'mkdir -p /etc/drover/coordinator.d; echo cluster_seconds = 2 >/etc/drover/coordinator.d/lab.toml'
  await lab.shell('coord', settings)
  await crashes.install()
  await usePolicy('steady', 'none')
  await Promise.all(world.hypervisors.map(host => world.whenUp(host)))
  await world.createStorage(undefined, ioTimeout)
  await world.createTemplate()
  ;[web, db] = await Promise.all([witness('web', 'h3'), witness('db', 'h1')])
})
t.teardown(() => world[Symbol.asyncDispose]())

async function witness(name: string, host: string, change = {}): Promise<Witness> {
  const guest = await guests.start(name, host, change)
  t.teardown(() => guest.console[Symbol.dispose]())
  return new Witness(world, guests, guest)
}

/** All hosts of the lab see the load of the whole machine: a busy one says nothing of theirs. */
async function usePolicy(name: string, balancer: 'none' | 'power-saving'): Promise<void> {
  const { placementPolicy, cluster } = world.services
  const policy = {
    ...{ name, balancer, filters: filterNames.filter(each => !/^cpu-overloaded|^cluster/.test(each)) },
    weights: { 'cpu-full': 2, 'memory-full': 1, 'preferred-host': 5 },
    parameters: {
      switchesHosts: 1,
      lowUtilization: 49,
      highUtilization: 99,
      overloadMinutes: 60,
      movesAtOnce: 4
    }
  }
  const request = { requestId: randomUUID(), placementPolicy: policy }
  const { placementPolicyId } = await world.api.ask(placementPolicy.CreatePlacementPolicy, request)
  await world.api.ask(cluster.UpdateCluster, {
    requestId: randomUUID(),
    cluster: {
      clusterId: world.ids.cluster,
      policyId: placementPolicyId,
      scheduling: { cpuOvercommitPercent: 100 }
    },
    updateMask: { paths: ['policy_id', 'scheduling.cpu_overcommit_percent'] }
  })
}

const bothNow = async () => [await web.now(), await db.now()] as const
const bothLiveOn = async (t: Test, [ofWeb, ofDb]: Awaited<ReturnType<typeof bothNow>>) => {
  await web.livesOn(t, ofWeb)
  await db.livesOn(t, ofDb)
}
const clean = async (t: Test) => t.strictSame(await world.violations(), [], 'the audit finds nothing')

/** Over, however often the coordinator went meanwhile. */
const overAtLast = (job: Job) =>
  poll(`job ${job.kind} is over`, 240, async () => {
    const now = await world.api.ask(world.services.job.GetJob, { jobId: job.jobId }, 5)
    return /SUCCEEDED|UNDONE|STUCK/.test(now.state) ? now : null
  })
const upgrade = async (): Promise<Job> => {
  const options = {
    packages: ['drover-common', 'drover-agent'],
    reboot: 'UPGRADE_REBOOT_NEVER' as const
  }
  const request = { requestId: randomUUID(), clusterId: world.ids.cluster, options }
  return overAtLast(await world.api.ask(world.services.cluster.UpgradeCluster, request))
}
const versions = () => Promise.all(world.hypervisors.map(host => agentVersion(lab, host)))
const took = async <T>(t: Test, what: string, work: Promise<T>): Promise<T> => {
  const begun = performance.now()
  const result = await work
  t.comment(`${what} took ${((performance.now() - begun) / 1000).toFixed(1)} s`)
  return result
}

t.test('the agent is upgraded on host after host, and no VM notices', async t => {
  const before = await bothNow()
  const version = await offerNewerAgent(lab, world.hypervisors)
  const { state, failure } = await took(t, 'the upgrade of three hosts', upgrade())
  t.equal(state, 'JOB_STATE_SUCCEEDED', failure?.message ?? '')
  t.strictSame(await versions(), [version, version, version])
  for (const host of world.hypervisors) await world.whenUp(host)
  await bothLiveOn(t, before)
  await clean(t)
})

t.test(
  'an upgrade that fails on the second host stops there, and goes on when that is put right',
  async t => {
    const before = await bothNow()
    const [older] = await versions()
    const newer = await offerNewerAgent(lab, world.hypervisors)
    await lab.shell('h2', `touch ${refusal}`)
    const { state, failure } = await took(t, 'the upgrade until the second host', upgrade())
    t.equal(state, 'JOB_STATE_UNDONE')
    t.match(failure?.message, /host h2 failed: .*not fit for the new version.*1 of 3 hosts are upgraded/s)
    t.strictSame((await versions()).toSpliced(1, 1), [newer, older], 'the third one was not begun')
    t.equal((await world.host('h2')).status, 'HOST_STATUS_MAINTENANCE', 'a person has to look')
    await bothLiveOn(t, before)
    await clean(t)

    await lab.shell('h2', `rm ${refusal}`)
    const again = await took(t, 'the rest of the upgrade', upgrade())
    t.equal(again.state, 'JOB_STATE_SUCCEEDED', again.failure?.message ?? '')
    t.strictSame(await versions(), [newer, newer, newer])
    t.equal((await world.host('h2')).status, 'HOST_STATUS_MAINTENANCE')
    await world.maintain('h2', 'enter')
    await world.whenUp('h2')
    await world.whenStorageActive()
    await bothLiveOn(t, before)
    await clean(t)
  }
)

t.test('a coordinator that is killed at each step of an evacuation ends it, and the way back', async t => {
  const before = await bothNow()
  const [{ host }] = before
  const hostId = world.hostIds.get(host) ?? ''
  const { DeactivateHost, ActivateHost } = world.services.host
  const points = ['vm.migrate', 'host.deactivate', 'host.activate'] as const
  await crashes.arm(points.flatMap(pointsOf))
  const begun = performance.now()
  for (const method of [DeactivateHost, ActivateHost]) {
    const request = { requestId: randomUUID(), hostId }
    const job = await poll('the order', 60, () => world.api.ask(method, request, 5))
    const { state, failure } = await overAtLast(job)
    t.equal(state, 'JOB_STATE_SUCCEEDED', failure?.message ?? '')
    if (method === DeactivateHost) t.not((await web.now()).host, host)
  }
  t.comment(`it took ${((performance.now() - begun) / 1000).toFixed(1)} s`)
  t.strictSame(await crashes.left(), [], 'it was killed everywhere')
  await world.whenUp(host)
  await world.whenStorageActive()
  await bothLiveOn(t, before)
  await clean(t)
})

t.test('a coordinator that is killed at each step of a restart starts the VM once', async t => {
  const before = await bothNow()
  const [{ host }] = before
  await crashes.arm(pointsOf('vm.restart'))
  await lab.off(host)
  const now = await took(t, 'the restart', web.neverTwice(t, web.startedAnew(t, before[0])))
  t.not(now, host)
  await poll('it was killed everywhere', 60, async () => ((await crashes.left()).length === 0 ? true : null))
  await lab.on(host)
  await world.whenUp(host)
  await world.whenStorageActive()
  if (before[1].host !== host) await db.livesOn(t, before[1])
  else await db.startedAnew(t, before[1])
  await clean(t)
})

t.test(
  'VMs of a host that loses its storage: with a lease elsewhere, once; without, when it is back',
  async t => {
    const host = 'h2'
    const storage = new LosableStorage(world, host)
    await storage.place()
    if ((await web.now()).host !== host) {
      const request = { vmId: web.guest.vmId, hostId: world.hostIds.get(host) ?? '' }
      await world.api.job(world.services.vm.MigrateVm, request)
    }
    const plain = await witness('plain', host, { ha: { enabled: false } })
    const before = await web.now()
    const ofPlain = await plain.now()
    await storage.fares('eio')
    await poll('the VM without a lease is paused', 30, async () => {
      const { status, pauseReason } = await world.vm(plain.guest.vmId)
      return status === 'VM_STATUS_PAUSED' && pauseReason === 'PAUSE_REASON_EIO' ? true : null
    })
    const now = await took(t, 'the restart elsewhere', web.neverTwice(t, web.startedAnew(t, before)))
    t.not(now, host)
    t.strictSame(await guests.runningOn(plain.guest.vmId), [host], 'nobody knows that it does not run')
    t.equal(await lab.isPowered(host), true)

    await storage.fares('ok')
    await took(t, 'the host joins again; that', world.whenStorageActive())
    await plain.livesOn(t, ofPlain)
    t.strictSame(await guests.runningOn(web.guest.vmId), [now])
    await clean(t)
    plain.guest.console[Symbol.dispose]()
    await guests.remove(plain.guest.vmId)
  }
)

t.test('hosts that nobody needs are switched off, and on again for VMs that find no host', async t => {
  const before = await bothNow()
  await usePolicy('night', 'power-saving')
  const powered = async () => {
    const states = await Promise.all(world.hypervisors.map(host => lab.isPowered(host)))
    return world.hypervisors.filter((_, at) => states[at])
  }
  await took(
    t,
    'until one host is without power',
    poll('a host is switched off', 180, async () => ((await powered()).length === 2 ? true : null))
  )
  await bothLiveOn(t, before)
  t.equal((await web.now()).host, (await db.now()).host, 'the VMs share a host')
  await clean(t)

  // Each as large as a host: none has room for another one.
  const { capabilities } = await world.host((await web.now()).host)
  const change = { vcpus: capabilities?.cpus ?? 0 }
  const third = await took(t, 'a VM on a host that was kept ready', witness('third', '', change))
  const fourth = await took(t, 'a VM on a host that was without power', witness('fourth', '', change))
  t.equal((await powered()).length, 3)
  const hosts = [(await web.now()).host, (await third.now()).host, (await fourth.now()).host]
  t.strictSame(hosts.toSorted(), ['h1', 'h2', 'h3'])
  await bothLiveOn(t, before)
  await clean(t)
})
