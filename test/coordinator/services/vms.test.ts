import { randomUUID } from 'node:crypto'
import t from 'tap'
import { seconds } from '../../../common/units.js'
import type { Job__Output as Job } from '../../../proto/generated/types/drover/v1/Job.js'
import { coordinatorServices } from '../../../proto/load.js'
import { coordinatorWorld, failure, never, type CoordinatorWorld } from '../world.js'

t.setTimeout(280_000)

const services = coordinatorServices
const GiB = String(2 ** 30)

/** Follows a job to its end, as a client does. */
async function over(world: CoordinatorWorld, { jobId }: { jobId: string }): Promise<Job> {
  let last: Job | null = null
  const watched = world.local.stream(services.job.WatchJob, { jobId }, never, seconds(20))
  for await (const job of watched) last = job as Job
  if (!last) throw new Error(`nothing was told of job ${jobId}`)
  return last
}

async function done(world: CoordinatorWorld, job: { jobId: string }): Promise<Job> {
  const last = await over(world, job)
  if (last.state !== 'JOB_STATE_SUCCEEDED')
    throw new Error(`${last.kind} ${last.state}: ${last.failure?.message}`)
  return last
}

/** Two hosts, a storage domain on both, and a template of one disk: everything through the API. */
async function furnished(t: { teardown(end: () => unknown): void }) {
  const world = await coordinatorWorld(t)
  const clusterId = await world.createCluster()
  const agents = [await world.addHost(clusterId, 'a'), await world.addHost(clusterId, 'b')]
  const storageDomain = {
    name: 'store',
    connection: { kind: 'posix' as const, posix: { path: '/srv/store' } }
  }
  const created = await done(
    world,
    await world.mutate(services.storageDomain.CreateStorageDomain, { storageDomain })
  )
  const storageDomainId = created.objects['storageDomain'] ?? ''
  const disk = { name: 'base', storageDomainId, capacity: GiB }
  const made = await done(world, await world.mutate(services.disk.CreateDisk, { disk }))
  const template = {
    name: 'debian',
    diskIds: [made.objects['disk'] ?? ''],
    vcpus: 2,
    memoryBytes: String(2 ** 29)
  }
  const shared = await done(world, await world.mutate(services.template.CreateTemplate, { template }))
  const templateId = shared.objects['template'] ?? ''
  return { world, clusterId, agents, storageDomainId, templateId, diskId: made.objects['disk'] ?? '' }
}

t.test('from a template to a running VM, and away again', async t => {
  const { world, clusterId, agents, storageDomainId, templateId } = await furnished(t)
  const domain = await world.call(services.storageDomain.GetStorageDomain, { storageDomainId: 'store' })
  t.match(domain, { status: 'STORAGE_DOMAIN_STATUS_ACTIVE', storageDomainId })
  t.equal(domain.hosts.length, 2)

  const requestId = randomUUID()
  const wanted = { vm: { name: 'web', clusterId, nics: [{ bridge: '' }], ha: { enabled: true } }, templateId }
  const first = await world.mutate(services.vm.CreateVm, wanted, requestId)
  const again = await world.mutate(services.vm.CreateVm, wanted, requestId)
  t.equal(again.jobId, first.jobId, 'the same request is the same job')
  const other = { ...wanted, vm: { ...wanted.vm, name: 'other' } }
  t.match(await failure(world.mutate(services.vm.CreateVm, other, requestId)), {
    reason: 'REQUEST_ID_REUSED'
  })
  const { objects } = await done(world, first)
  const vmId = objects['vm'] ?? ''
  const made = await world.call(services.vm.GetVm, { vmId: 'web' })
  t.match(made, {
    ...{ vmId, status: 'VM_STATUS_DOWN', vcpus: 2, memoryBytes: String(2 ** 29), templateId },
    ...{ ha: { enabled: true, leaseStorageDomainId: storageDomainId }, machineType: '' },
    ...{ disks: [{ slot: 1, bus: 'DISK_BUS_VIRTIO' }], nics: [{ slot: 2, mac: /^52:54:00:/ }] }
  })
  t.match(await failure(world.mutate(services.vm.CreateVm, wanted)), { reason: 'ALREADY_EXISTS' })

  const plan = await world.mutate(services.vm.StartVm, { vmId, dryRun: true })
  t.match(plan, { state: 'JOB_STATE_SUCCEEDED', result: { summary: /web goes to/ } })
  t.equal((await world.call(services.vm.GetVm, { vmId })).status, 'VM_STATUS_DOWN', 'a plan changes nothing')

  await done(world, await world.mutate(services.vm.StartVm, { vmId }))
  const running = await world.call(services.vm.GetVm, { vmId })
  t.match(running, {
    status: 'VM_STATUS_UP',
    wantedRunning: true,
    vmGeneration: '1',
    machineType: 'pc-q35-7.2'
  })
  const onHost = agents.filter(agent => agent.vms.has(vmId))
  t.equal(onHost.length, 1)
  t.match(onHost[0]?.vms.get(vmId)?.['spec'], {
    lease: { storageDomainId, offsetBytes: String(3 * 2 ** 20) }
  })
  const { decisions } = await world.call(services.vm.ExplainVm, { vmId })
  t.match(decisions, [{ purpose: 'start', hostId: running.hostId, verdicts: [{}, {}] }])

  const noop = await world.mutate(services.vm.StartVm, { vmId })
  t.match(noop, { state: 'JOB_STATE_SUCCEEDED', result: { note: 'runs already' } })
  t.match(await failure(world.mutate(services.vm.DeleteVm, { vmId })), { reason: 'WRONG_STATE' })
  t.match(await failure(world.mutate(services.template.DeleteTemplate, { templateId })), {
    reason: 'WRONG_STATE'
  })
  const deactivate = world.mutate(services.storageDomain.DeactivateStorageDomain, { storageDomainId })
  t.match(await failure(deactivate), { reason: 'WRONG_STATE' })

  await done(world, await world.mutate(services.vm.StopVm, { vmId }))
  t.match(await world.call(services.vm.GetVm, { vmId }), { status: 'VM_STATUS_DOWN', wantedRunning: false })
  await done(world, await world.mutate(services.vm.DeleteVm, { vmId }))
  t.match(await failure(world.call(services.vm.GetVm, { vmId })), { reason: 'VM_NOT_FOUND' })
  await done(world, await world.mutate(services.template.DeleteTemplate, { templateId }))
  t.strictSame((await world.call(services.disk.ListDisks, {})).disks, [])
})

t.test('a VM is changed by mask and etag, and only as far as its state allows', async t => {
  const { world, clusterId, agents, templateId, storageDomainId } = await furnished(t)
  const order = await world.mutate(services.vm.CreateVm, { vm: { name: 'web', clusterId }, templateId })
  const { vm: vmId = '' } = (await done(world, order)).objects
  const { etag } = await world.call(services.vm.GetVm, { vmId })
  const update = (vm: object, ...paths: string[]) =>
    world.mutate(services.vm.UpdateVm, { vm: { vmId, ...vm }, updateMask: { paths } })

  t.match(await update({ vcpus: 4, name: 'ignored', etag }, 'vcpus'), { vcpus: 4, name: 'web' })
  t.match(await failure(update({ vcpus: 8, etag }, 'vcpus')), { reason: 'STALE_ETAG' })
  t.match(await failure(update({ status: 'VM_STATUS_UP' }, 'status')), { reason: 'INVALID_REQUEST' })
  t.match(await update({ ha: { enabled: true } }, 'ha.enabled'), {
    ha: { enabled: true, leaseStorageDomainId: storageDomainId }
  })
  t.equal(
    agents.reduce((sum, agent) => sum + (agent.effects.get('CreateLease') ?? 0), 0),
    1,
    'it has a lease now'
  )

  const disk = { name: 'data', storageDomainId, capacity: GiB }
  const made = await done(world, await world.mutate(services.disk.CreateDisk, { disk }))
  const diskId = made.objects['disk'] ?? ''
  const attached = await world.mutate(services.vm.AttachDisk, { vmId, attachment: { diskId } })
  t.match(attached.disks, [{ slot: 1 }, { slot: 2, diskId }])
  t.match(await failure(world.mutate(services.vm.AttachDisk, { vmId, attachment: { diskId } })), {
    reason: 'ALREADY_EXISTS'
  })
  t.match(await failure(world.mutate(services.disk.DeleteDisk, { diskId })), { reason: 'WRONG_STATE' })

  const snapshot = await world.mutate(services.snapshot.CreateSnapshot, {
    snapshot: { vmId, name: 'before' }
  })
  await done(world, snapshot)
  const { snapshots } = await world.call(services.snapshot.ListSnapshots, {})
  t.match(snapshots, [{ name: 'before', busy: false, disks: [{}, {}] }])
  t.match(await failure(world.mutate(services.vm.DetachDisk, { vmId, diskId })), { reason: 'WRONG_STATE' })
  const { snapshotId = '' } = snapshots[0] ?? {}
  await done(world, await world.mutate(services.snapshot.DeleteSnapshot, { snapshotId }))
  t.equal((await world.call(services.disk.GetDisk, { diskId })).chainLength, 1)
  t.equal((await world.mutate(services.vm.DetachDisk, { vmId, diskId })).disks.length, 1)
  t.match(await failure(world.mutate(services.disk.ResizeDisk, { diskId, capacity: '1048576' })), {
    reason: 'INVALID_REQUEST'
  })
  await done(world, await world.mutate(services.disk.ResizeDisk, { diskId, capacity: String(2 ** 31) }))
  t.equal((await world.call(services.disk.GetDisk, { diskId })).capacity, String(2 ** 31))

  await done(world, await world.mutate(services.vm.StartVm, { vmId }))
  t.match(await failure(update({ vcpus: 2 }, 'vcpus')), { reason: 'WRONG_STATE' })
  t.match(await update({ description: 'runs' }, 'description'), { description: 'runs' })
})

t.test('a disk of a running VM says how far it is ahead of its guest, where the host knows', async t => {
  const { world, clusterId, agents, templateId } = await furnished(t)
  const order = await world.mutate(services.vm.CreateVm, { vm: { name: 'web', clusterId }, templateId })
  const { vm: vmId = '' } = (await done(world, order)).objects
  const { disks } = await world.call(services.vm.GetVm, { vmId })
  const diskId = disks[0]?.diskId ?? ''
  const thin = { phase: 'THIN_PHASE_ARMED', headroomBytes: GiB, lastWay: 'EXTEND_WAY_NETWORK' }
  for (const agent of agents) agent.thinDisks.set(diskId, { ...thin, extensions: [{ toBytes: GiB }] })
  t.equal((await world.call(services.disk.GetDisk, { diskId })).thin, null, 'it does not run')
  await done(world, await world.mutate(services.vm.StartVm, { vmId }))
  t.match((await world.call(services.disk.GetDisk, { diskId })).thin, {
    ...thin,
    extensions: [{ toBytes: GiB }]
  })
  for (const agent of agents) agent.thinDisks.clear()
  t.equal((await world.call(services.disk.GetDisk, { diskId })).thin, null, 'it is none on block storage')
})

t.test(
  'a start that fails on one host goes to another; one that fails everywhere leaves the VM down',
  async t => {
    const { world, clusterId, agents, templateId } = await furnished(t)
    const order = await world.mutate(services.vm.CreateVm, { vm: { name: 'web', clusterId }, templateId })
    const { vm: vmId = '' } = (await done(world, order)).objects
    const { Fault } = await import('../../../common/fault.js')
    for (const agent of agents) {
      agent.works.set('StartVm', () => {
        throw new Fault('LIBVIRT_FAILED', 'no such bridge')
      })
    }
    const failed = await over(world, await world.mutate(services.vm.StartVm, { vmId }))
    t.match(failed, { state: 'JOB_STATE_UNDONE', failure: { reason: 'NO_HOST' } })
    t.strictSame(
      agents.map(agent => agent.effects.get('StartVm')),
      [1, 1]
    )
    t.match(await world.call(services.vm.GetVm, { vmId }), { status: 'VM_STATUS_DOWN', wantedRunning: false })
    const { decisions } = await world.call(services.vm.ExplainVm, { vmId })
    t.equal(decisions.length, 3)
    t.match(decisions[0], { hostId: '', verdicts: [{ filter: 'failed-here' }, { filter: 'failed-here' }] })
  }
)
