import t from 'tap'
import type { Job__Output as Job } from '../../../proto/generated/types/drover/v1/Job.js'
import { coordinatorServices } from '../../../proto/load.js'
import { seconds } from '../../../common/units.js'
import { coordinatorWorld, failure, never, type CoordinatorWorld } from '../world.js'

t.setTimeout(120_000)
const services = coordinatorServices
const { disk: disks, vm: vms } = services

async function done(world: CoordinatorWorld, { jobId }: { jobId: string }): Promise<Job> {
  let last: Job | null = null
  const told = world.local.stream(services.job.WatchJob, { jobId }, never, seconds(20))
  for await (const job of told) last = job as Job
  if (last?.state !== 'JOB_STATE_SUCCEEDED')
    throw new Error(`${last?.kind} ${last?.state}: ${last?.failure?.message}`)
  return last
}

const preallocated = {
  ...{ format: 'DISK_FORMAT_RAW', allocation: 'ALLOCATION_POLICY_PREALLOCATED' }
} as const

async function furnished(t: { teardown(end: () => unknown): void }) {
  const world = await coordinatorWorld(t)
  const clusterId = await world.createCluster()
  const agent = await world.addHost(clusterId, 'a')
  const storageDomain = { name: 's', connection: { kind: 'posix' as const, posix: { path: '/srv/s' } } }
  const create = services.storageDomain.CreateStorageDomain
  const { objects } = await done(world, await world.mutate(create, { storageDomain }))
  const kind = { storageDomainId: objects['storageDomain'] ?? '', capacity: String(2 ** 20) }
  const order = (name: string, more: object) =>
    world.mutate(disks.CreateDisk, { disk: { ...kind, name, ...more } })
  const disk = async (name: string, more: object = {}) =>
    (await done(world, await order(name, more))).objects['disk'] ?? ''
  const vm = async (name: string, ...diskIds: string[]) => {
    const wanted = { name, clusterId, disks: diskIds.map(diskId => ({ diskId })) }
    return (await done(world, await world.mutate(vms.CreateVm, { vm: wanted }))).objects['vm'] ?? ''
  }
  return { world, agent, order, disk, vm }
}

t.test('two VMs with one disk run at the same time, and each may go without it', async t => {
  const { world, agent, disk, vm } = await furnished(t)
  const shared = await disk('quorum', { ...preallocated, shareable: true })
  const [a, b] = [await vm('a', shared), await vm('b', shared)]
  t.match(await world.call(disks.GetDisk, { diskId: shared }), { shareable: true, vmIds: [a, b] })
  await Promise.all([a, b].map(async vmId => done(world, await world.mutate(vms.StartVm, { vmId }))))
  for (const id of [a, b])
    t.match(agent.vms.get(id)?.['spec'], { disks: [{ shareable: true, readOnly: false }] })

  const resize = world.mutate(disks.ResizeDisk, { diskId: shared, capacity: String(2 ** 21) })
  t.match(await failure(resize), { reason: 'WRONG_STATE', message: /must be down/ })
  await done(world, await world.mutate(vms.StopVm, { vmId: a, force: true }))
  const again = world.mutate(disks.ResizeDisk, { diskId: shared, capacity: String(2 ** 21) })
  t.match(await failure(again), { message: /VM b is/ }, 'the other one still runs')
  await done(world, await world.mutate(vms.DeleteVm, { vmId: a }))
  t.match(await world.call(disks.GetDisk, { diskId: shared }), { vmIds: [b] }, 'the disk stays')
  const del = world.mutate(disks.DeleteDisk, { diskId: shared })
  t.match(await failure(del), { reason: 'WRONG_STATE', message: /attached to VM b/ })
})

t.test('what cannot be shared is refused, with what to do instead', async t => {
  const { world, order, disk, vm } = await furnished(t)
  t.match(await failure(order('thin', { shareable: true })), { violations: [{ field: 'disk.format' }] })
  t.match(await failure(order('raw', { format: 'DISK_FORMAT_RAW', shareable: true })), {
    violations: [{ field: 'disk.allocation' }]
  })
  const [own, thin] = [await disk('own', preallocated), await disk('thin')]
  const [a, b] = [await vm('a', own), await vm('b', thin)]
  const attach = world.mutate(vms.AttachDisk, { vmId: b, attachment: { diskId: own } })
  t.match(await failure(attach), { reason: 'WRONG_STATE', message: /only a shareable disk/ })
  const share = (diskId: string, shareable: boolean) =>
    world.mutate(disks.UpdateDisk, { disk: { diskId, shareable }, updateMask: { paths: ['shareable'] } })
  t.match(await failure(share(thin, true)), { message: /copy it with --format raw --preallocated/ })
  t.match(await share(own, true), { shareable: true })
  await world.mutate(vms.AttachDisk, { vmId: b, attachment: { diskId: own } })
  t.match(await failure(share(own, false)), { message: /attached to 2 VMs/ })

  const snapshot = world.mutate(services.snapshot.CreateSnapshot, { snapshot: { vmId: a, name: 's' } })
  t.match(await failure(snapshot), { message: /detach it from the VM first/ })
  const template = world.mutate(services.template.CreateTemplate, { vmId: a, template: { name: 't' } })
  t.match(await failure(template), { message: /detach it from the VM first/ })
  for (const vmId of [a, b]) await world.mutate(vms.DetachDisk, { vmId, diskId: own })
  const of = world.mutate(services.template.CreateTemplate, { template: { name: 't', diskIds: [own] } })
  t.match(await failure(of), { message: /is shareable/ })
  t.match(await share(own, false), { shareable: false })
})

t.test('a disk that is written by one VM is made shareable only while that is down', async t => {
  const { world, disk, vm } = await furnished(t)
  const own = await disk('own', preallocated)
  const vmId = await vm('a', own)
  await done(world, await world.mutate(vms.StartVm, { vmId }))
  const update = { disk: { diskId: own, shareable: true }, updateMask: { paths: ['shareable'] } }
  t.match(await failure(world.mutate(disks.UpdateDisk, update)), { message: /VM a is up; it must be down/ })
})
