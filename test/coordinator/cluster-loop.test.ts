import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { ClusterLoop } from '../../coordinator/cluster-loop.js'
import { clusterDecisions } from '../../coordinator/store/decision-records.js'
import { cluster, updateCluster } from '../../coordinator/store/clusters.js'
import { host, hosts, updateHost } from '../../coordinator/store/hosts.js'
import { insertPolicy } from '../../coordinator/store/policies.js'
import { builtInPolicies, standardParameters } from '../../coordinator/scheduler/policy.js'
import { startContext } from '../../coordinator/jobs/start-steps.js'
import { jobOrNull } from '../../coordinator/store/jobs.js'
import { sql } from '../../coordinator/store/query.js'
import { replacePinnedHosts, vm } from '../../coordinator/store/vms.js'
import { fixture, furnish, ids, log, testClock } from './jobs/fixture.js'

/** Two hosts that are up and have power devices, under a policy that switches hosts. */
async function powered(t: { teardown(end: () => unknown): void }, vm: 'none' | 'down' | 'running' = 'none') {
  const made = await fixture()
  t.teardown(made.close)
  furnish(made, vm)
  const { store, jobs, loads } = made
  const { name: _, ...rules } = {
    ...builtInPolicies.power_saving,
    parameters: { ...standardParameters, switchesHosts: true }
  }
  store.transaction(tx => {
    insertPolicy(tx, {
      id: 'p',
      name: 'night',
      description: '',
      rulesJson: JSON.stringify(rules),
      created: 1
    })
    updateCluster(tx, ids.cluster, { policyId: 'p' })
    const powerJson = JSON.stringify([{ fenceAgent: 'fence_dummy', options: {}, secretNames: [] }])
    for (const { id } of hosts(tx)) updateHost(tx, id, { powerEnabled: 1, powerJson })
  })
  const heard = new Set(hosts(store.read).map(({ id }) => id))
  const standing = { mayActUnasked: true }
  const loop = new ClusterLoop({
    ...{ store, jobs, loads, clock: testClock, log },
    isHeard: id => heard.has(id),
    mayActUnasked: () => standing.mayActUnasked
  })
  /** A round, and the end of the jobs that it ordered. */
  const round = async () => {
    loop.run()
    const live = store.read.all(sql.selectFrom('job').select('id').where('ended', 'is', null))
    for (const { id } of live) await jobs.untilOver(id, AbortSignal.timeout(20_000))
  }
  const step = () => loop.run()
  const resting = () => hosts(store.read).filter(({ rested }) => rested === 1)
  return { ...made, standing, heard, round, step, resting }
}

t.test(
  'an empty host goes to rest, never the last one, and is woken when the reserve asks for it',
  async t => {
    const { store, round, resting, heard, world } = await powered(t)
    await round()
    const [first] = resting()
    t.equal(first?.mode, 'maintenance', 'one of the two rests')
    await round()
    await round()
    t.equal(resting().length, 1, 'the other stays: nothing is left to take VMs')
    t.match(clusterDecisions(store.read, ids.cluster)[0], { kind: 'power_saver', summary: /goes to rest/ })

    // Without power now, and then two hosts are wanted in reserve.
    heard.delete(first?.id ?? '')
    world.powerOff.add(first?.id ?? '')
    const schedulesJson = JSON.stringify([
      { weekdays: [], beginMinute: 0, endMinute: 0, hostsInReserve: 2, switchesHosts: true }
    ])
    store.transaction(tx => updateCluster(tx, ids.cluster, { schedulesJson }))
    await round()
    t.notOk(world.powerOff.has(first?.id ?? ''), 'it has power again')
    heard.add(first?.id ?? '')
    await round()
    t.match(host(store.read, first?.id ?? ''), { mode: 'active', rested: 0 })
  }
)

t.test('a start that finds no host waits for one that power saving wakes for it', async t => {
  const { store, jobs, round, step, resting } = await powered(t, 'down')
  await round()
  const [asleep] = resting()
  const hostId = asleep?.id ?? ''
  store.transaction(tx => replacePinnedHosts(tx, ids.vm, [hostId]))
  const order = { objects: { vm: ids.vm }, claims: [], actor: 'local', context: startContext(ids.vm) }
  const jobId = store.transaction(tx => jobs.create(tx, 'vm.start', order))
  while (resting().length > 0) {
    t.equal(jobOrNull(store.read, jobId)?.ended, null, 'it waits')
    step()
    await setImmediate()
  }
  t.match(clusterDecisions(store.read, ids.cluster)[0]?.summary, /VM .* finds no other host/)
  const { state } = await jobs.untilOver(jobId, AbortSignal.timeout(20_000))
  t.equal(state, 'succeeded')
  t.equal(vm(store.read, ids.vm).hostId, hostId)
})

t.test('a host is woken for the VMs of one that a person empties', async t => {
  const { store, jobs, round, step, resting } = await powered(t, 'running')
  await round()
  t.strictSame(
    resting().map(({ id }) => id),
    [ids.hostB]
  )
  const jobId = store.transaction(tx => {
    updateHost(tx, ids.hostA, { mode: 'preparing' })
    return jobs.create(tx, 'host.deactivate', {
      ...{
        objects: { host: ids.hostA },
        actor: 'local',
        context: { hostId: ids.hostA, storageDomainIds: [] }
      },
      claims: [{ type: 'host', id: ids.hostA, mode: 'change' }]
    })
  })
  while (resting().length > 0) {
    step()
    await setImmediate()
  }
  const { state, turnedBack } = await jobs.untilOver(jobId, AbortSignal.timeout(20_000))
  t.equal(state, 'succeeded', turnedBack?.message ?? '')
  t.equal(host(store.read, ids.hostA).mode, 'maintenance')
  t.match(vm(store.read, ids.vm), { hostId: ids.hostB, status: 'up' })
})

t.test('a coordinator that as many hosts refuse as obey switches no host', async t => {
  const { standing, round, resting } = await powered(t)
  standing.mayActUnasked = false
  await round()
  t.same(resting(), [])
  standing.mayActUnasked = true
  await round()
  t.equal(resting().length, 1)
})

t.test('a host that a person put into maintenance is not woken', async t => {
  const { store, round } = await powered(t)
  store.transaction(tx => updateHost(tx, ids.hostA, { mode: 'maintenance' }))
  const schedulesJson = JSON.stringify([
    { weekdays: [], beginMinute: 0, endMinute: 0, hostsInReserve: 2, switchesHosts: true }
  ])
  store.transaction(tx => updateCluster(tx, ids.cluster, { schedulesJson }))
  await round()
  t.equal(host(store.read, ids.hostA).mode, 'maintenance')
  t.equal(cluster(store.read, ids.cluster).policyId, 'p')
})
