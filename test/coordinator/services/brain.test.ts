import t from 'tap'
import type { Job__Output as Job } from '../../../proto/generated/types/drover/v1/Job.js'
import { coordinatorServices as services } from '../../../proto/load.js'
import { coordinatorWorld, failure, type CoordinatorWorld } from '../world.js'

t.setTimeout(120_000)

const GiB = 2 ** 30
const gib = (n: number) => String(n * GiB)

async function ended(world: CoordinatorWorld, { jobId }: { jobId: string }): Promise<Job> {
  let job: Job | null = null
  await world.until(async () => {
    job = await world.call(services.job.GetJob, { jobId })
    return job.ended !== null
  })
  if (!job) throw new Error('no job')
  return job
}

/** A cluster with two hosts that are up, and VMs without disks. */
async function world(t: { teardown(end: () => unknown): void }, config = {}) {
  const world = await coordinatorWorld(t, config)
  const clusterId = await world.createCluster()
  const agents = [await world.addHost(clusterId, 'a'), await world.addHost(clusterId, 'b')]
  const [first, second] = agents.map(({ hostId }) => hostId)
  const createVm = async (name: string, change: object = {}): Promise<string> => {
    const vm = { name, clusterId, vcpus: 1, memoryBytes: gib(1), ...change }
    const { objects } = await ended(world, await world.mutate(services.vm.CreateVm, { vm }))
    return objects['vm'] ?? ''
  }
  const startVm = async (vmId: string, hostId = ''): Promise<Job> =>
    ended(world, await world.mutate(services.vm.StartVm, { vmId, hostId }))
  const hostOf = async (vmId: string) => (await world.call(services.vm.GetVm, { vmId })).hostId
  return { world, clusterId, a: first ?? '', b: second ?? '', createVm, startVm, hostOf }
}

t.test('a policy is made, used, kept while it is used, and forgotten', async t => {
  const { world: it, clusterId } = await world(t)
  const units = await it.call(services.placementPolicy.ListPlacementUnits, {})
  t.ok(units.filters.includes('memory') && units.weights.includes('cpu-even'))
  const placementPolicy = {
    ...{ name: 'lively', filters: ['memory', 'network'], weights: { 'cpu-even': 3 } },
    ...{ balancer: 'even', parameters: { highUtilization: 70 } }
  }
  const made = await it.mutate(services.placementPolicy.CreatePlacementPolicy, { placementPolicy })
  t.match(made, { selector: 'weighted', parameters: { highUtilization: 70, movesAtOnce: 2 } })
  const cluster = { clusterId, policyId: made.placementPolicyId }
  const updateMask = { paths: ['policy_id'] }
  const updated = await it.mutate(services.cluster.UpdateCluster, { cluster, updateMask })
  t.equal(updated.policyId, made.placementPolicyId)
  const named = { placementPolicyId: 'lively' }
  t.match(await failure(it.mutate(services.placementPolicy.DeletePlacementPolicy, named)), {
    reason: 'WRONG_STATE'
  })
  await it.mutate(services.cluster.UpdateCluster, {
    cluster: { clusterId, policyId: 'power_saving' },
    updateMask
  })
  await it.mutate(services.placementPolicy.DeletePlacementPolicy, named)
  const { placementPolicies } = await it.call(services.placementPolicy.ListPlacementPolicies, {})
  t.equal(placementPolicies.length, 5, 'the built-in ones')
  const wrong: Array<[policy: typeof placementPolicy, field: string]> = [
    [{ ...placementPolicy, filters: ['luck'] }, 'placement_policy.filters[0]'],
    [{ ...placementPolicy, weights: { 'cpu-even': 101 } }, 'placement_policy.weights["cpu-even"]'],
    [{ ...placementPolicy, parameters: { highUtilization: 20 } }, 'placement_policy.parameters'],
    [{ ...placementPolicy, name: 'none' }, 'placement_policy.name'],
    [{ ...placementPolicy, balancer: 'magic' }, 'placement_policy.balancer']
  ]
  for (const [policy, field] of wrong) {
    const fault = await failure(
      it.mutate(services.placementPolicy.CreatePlacementPolicy, { placementPolicy: policy })
    )
    t.match(fault, { reason: 'INVALID_REQUEST', violations: [{ field }] }, field)
  }
  const unknown = { clusterId, policyId: '4f0c4a5e-0000-4000-8000-000000000000' }
  t.match(await failure(it.mutate(services.cluster.UpdateCluster, { cluster: unknown, updateMask })), {
    reason: 'NOT_FOUND'
  })
})

t.test('VMs that must be apart start apart, and a third finds no host and says why', async t => {
  const { world: it, clusterId, createVm, startVm, hostOf } = await world(t)
  const ids = [await createVm('x'), await createVm('y'), await createVm('z')]
  const affinityGroup = {
    ...{ name: 'apart', clusterId, vmRule: 'AFFINITY_RULE_NEGATIVE' as const, vmEnforcing: true },
    vmLabels: ['db']
  }
  await it.mutate(services.affinityGroup.CreateAffinityGroup, { affinityGroup })
  for (const vmId of ids) await it.mutate(services.affinityGroup.SetLabels, { vmId, labels: ['db'] })
  await startVm(ids[0] ?? '')
  await startVm(ids[1] ?? '')
  t.not(await hostOf(ids[0] ?? ''), await hostOf(ids[1] ?? ''))
  const refused = await startVm(ids[2] ?? '')
  t.match(refused, { state: 'JOB_STATE_UNDONE', failure: { reason: 'NO_HOST', message: /apart/ } })
  const { decisions } = await it.call(services.vm.ExplainVm, { vmId: 'z' })
  t.match(decisions[0], { hostId: '', verdicts: [{ filter: 'affinity-vms' }, { filter: 'affinity-vms' }] })
  const plan = await it.call(services.cluster.PlanCluster, {
    clusterId: 'c1',
    startVmIds: ['z'],
    loseHostIds: []
  })
  t.match(plan, {
    moves: [{ vmName: 'z', toHostId: '', reason: /apart/ }],
    summary: '1 of 1 VMs find no host'
  })
})

t.test('parallel starts never exceed a quota, and what stops gives back', async t => {
  const { world: it, clusterId, createVm } = await world(t)
  const quota = { name: 'q', consumers: ['local'], limits: [{ clusterId, vcpus: 3 }] }
  await it.mutate(services.quota.CreateQuota, { quota })
  await it.mutate(services.quota.SetQuotaMode, { mode: 'QUOTA_MODE_ENFORCED' })
  const ids = await Promise.all([1, 2, 3, 4, 5, 6].map(i => createVm(`v${i}`)))
  const used = async () => (await it.call(services.quota.GetQuota, { quotaId: 'q' })).limits[0]?.usedVcpus
  t.equal(await used(), 0, 'VMs that are down use no CPUs')
  const outcomes = await Promise.allSettled(ids.map(vmId => it.mutate(services.vm.StartVm, { vmId })))
  const jobs = outcomes.flatMap(each => (each.status === 'fulfilled' ? [each.value] : []))
  const refused = outcomes.flatMap(each => (each.status === 'rejected' ? [each.reason as object] : []))
  t.equal(jobs.length, 3)
  for (const reason of refused) t.match(reason, { reason: 'QUOTA_EXCEEDED', message: /4 of 3 virtual CPUs/ })
  for (const job of jobs) await ended(it, job)
  t.equal(await used(), 3)
  await ended(it, await it.mutate(services.vm.StopVm, { vmId: jobs[0]?.objects['vm'] ?? '', force: true }))
  await it.until(async () => (await used()) === 2)
  const again = outcomes.findIndex(each => each.status === 'rejected')
  const restarted = await ended(it, await it.mutate(services.vm.StartVm, { vmId: ids[again] ?? '' }))
  t.equal(restarted.state, 'JOB_STATE_SUCCEEDED')
  t.match(await failure(it.mutate(services.quota.DeleteQuota, { quotaId: 'q' })), { reason: 'WRONG_STATE' })
})

t.test('disks are made in parallel up to the quota with its grace, and no further', async t => {
  const { world: it } = await world(t)
  const storageDomain = {
    name: 'store',
    connection: { kind: 'posix' as const, posix: { path: '/srv/store' } }
  }
  const made = await ended(it, await it.mutate(services.storageDomain.CreateStorageDomain, { storageDomain }))
  const storageDomainId = made.objects['storageDomain'] ?? ''
  const limits = [{ storageDomainId: '*', storageBytes: gib(4) }]
  await it.mutate(services.quota.CreateQuota, {
    quota: { name: 'q', consumers: ['local'], gracePercent: 25, limits }
  })
  await it.mutate(services.quota.SetQuotaMode, { mode: 'QUOTA_MODE_ENFORCED' })
  const create = (name: string) =>
    it.mutate(services.disk.CreateDisk, { disk: { name, storageDomainId, capacity: gib(1) } })
  const outcomes = await Promise.allSettled(['1', '2', '3', '4', '5', '6', '7', '8'].map(create))
  const jobs = outcomes.flatMap(each => (each.status === 'fulfilled' ? [each.value] : []))
  t.equal(jobs.length, 5)
  for (const job of jobs) t.equal((await ended(it, job)).state, 'JOB_STATE_SUCCEEDED')
  t.match(await it.call(services.quota.GetQuota, { quotaId: 'q' }), {
    limits: [{ usedStorageBytes: gib(5) }]
  })
  t.ok((await it.events()).some(({ kind }) => kind === 'quota.warning'))
  const [first] = jobs
  const diskId = first?.objects['disk'] ?? ''
  t.match(await failure(it.mutate(services.disk.ResizeDisk, { diskId, capacity: gib(2) })), {
    reason: 'QUOTA_EXCEEDED'
  })
  await ended(it, await it.mutate(services.disk.DeleteDisk, { diskId }))
  await ended(it, await create('9'))
})

t.test('who has no quota gets nothing while quotas are enforced', async t => {
  const { world: it, clusterId } = await world(t)
  await it.mutate(services.quota.SetQuotaMode, { mode: 'QUOTA_MODE_ENFORCED' })
  const vm = { name: 'v', clusterId }
  t.match(await failure(it.mutate(services.vm.CreateVm, { vm })), {
    reason: 'QUOTA_EXCEEDED',
    message: /local/
  })
  await it.mutate(services.quota.SetQuotaMode, { mode: 'QUOTA_MODE_AUDIT' })
  await ended(it, await it.mutate(services.vm.CreateVm, { vm }))
})

t.test('broken affinity is repaired by a migration that says why', async t => {
  const { world: it, clusterId, a, createVm, startVm } = await world(t, { cluster_seconds: 1 })
  const [x, y] = [await createVm('x'), await createVm('y')]
  await startVm(x, a)
  await startVm(y, a)
  const vmIds = [x, y]
  const rule = { vmRule: 'AFFINITY_RULE_NEGATIVE' as const, vmEnforcing: true }
  await it.mutate(services.affinityGroup.CreateAffinityGroup, {
    affinityGroup: { name: 'apart', clusterId, ...rule, vmIds }
  })
  await it.until(
    async () => (await it.call(services.cluster.ExplainCluster, { clusterId })).decisions.length > 0
  )
  const { decisions } = await it.call(services.cluster.ExplainCluster, { clusterId })
  t.match(decisions[0], { kind: 'affinity', summary: /apart.*[xy] to b/ })
  const { jobs } = await it.call(services.job.ListJobs, { filter: 'kind = "vm.migrate"' })
  t.equal(jobs[0]?.actor, 'system')
  t.ok(vmIds.includes(jobs[0]?.objects['vm'] ?? ''), 'ids are random: either of them moves')
})

t.test('a plan evens out, and carrying it out orders its migrations once', async t => {
  const { world: it, clusterId, a, createVm, startVm } = await world(t)
  for (const name of ['x', 'y', 'z', 'w'])
    await startVm(await createVm(name, { vcpus: 2, memoryBytes: gib(1) }), a)
  const plan = await it.call(services.cluster.PlanRebalance, { clusterId })
  t.equal(plan.moves.length, 2)
  t.ok(plan.scoreAfter < plan.scoreBefore)
  const requestId = '4f0c4a5e-1111-4000-8000-000000000001'
  const first = await it.mutate(services.cluster.RebalanceCluster, { clusterId }, requestId)
  const again = await it.mutate(services.cluster.RebalanceCluster, { clusterId }, requestId)
  t.equal(first.moves.length, 2)
  t.strictSame(
    again.moves.map(({ jobId }) => jobId),
    first.moves.map(({ jobId }) => jobId)
  )
  t.match(await it.call(services.cluster.ExplainCluster, { clusterId }), { decisions: [{ kind: 'balance' }] })
})

t.test('whether the cluster can lose a host is told continuously, with the reason', async t => {
  const { world: it, clusterId, createVm, startVm, a } = await world(t, { cluster_seconds: 1 })
  const cluster = { clusterId, haReservedHosts: 1 }
  await it.mutate(services.cluster.UpdateCluster, { cluster, updateMask: { paths: ['ha_reserved_hosts'] } })
  const state = async () => (await it.call(services.cluster.GetCluster, { clusterId })).haReservation
  await it.until(async () => (await state())?.ok === true)
  await startVm(await createVm('x', { memoryBytes: gib(1) }), a)
  const { forecasts } = await it.call(services.cluster.ForecastCluster, { clusterId })
  t.match(forecasts, [{ kind: 'memory', name: 'c1' }, { kind: 'cpu' }])
})
