import t from 'tap'
import type { Job__Output as Job } from '../../../proto/generated/types/drover/v1/Job.js'
import { coordinatorServices } from '../../../proto/load.js'
import { seconds } from '../../../common/units.js'
import { updateDisk } from '../../../coordinator/store/disks.js'
import { coordinatorWorld, failure, never, type CoordinatorWorld } from '../world.js'

t.setTimeout(120_000)
const { disk: disks, vm: vms, storageDomain: domains, job: jobs } = coordinatorServices

async function done(world: CoordinatorWorld, { jobId }: { jobId: string }): Promise<Job> {
  let last: Job | null = null
  for await (const job of world.local.stream(jobs.WatchJob, { jobId }, never, seconds(20))) last = job as Job
  if (last?.state !== 'JOB_STATE_SUCCEEDED')
    throw new Error(`${last?.kind} ${last?.state}: ${last?.failure?.message}`)
  return last
}

/** Two hosts, a storage domain, two ISO images, a data disk, and a VM with an empty drive. */
async function furnished(t: { teardown(end: () => unknown): void }) {
  const world = await coordinatorWorld(t)
  const clusterId = await world.createCluster()
  const agents = [await world.addHost(clusterId, 'a'), await world.addHost(clusterId, 'b')]
  const storageDomain = { name: 's', connection: { kind: 'posix' as const, posix: { path: '/srv/s' } } }
  const made = await done(world, await world.mutate(domains.CreateStorageDomain, { storageDomain }))
  const storageDomainId = made.objects['storageDomain'] ?? ''
  const create = async (name: string) => {
    const wanted = { name, storageDomainId, capacity: String(2 ** 20), format: 'DISK_FORMAT_RAW' as const }
    const { objects } = await done(world, await world.mutate(disks.CreateDisk, { disk: wanted }))
    return objects['disk'] ?? ''
  }
  const [iso, other, data] = [await create('iso'), await create('other'), await create('data')]
  // An import makes ISO images; here two disks are taken for imported ones.
  world.running.store.transaction(tx => {
    for (const id of [iso, other]) updateDisk(tx, id, { content: 'iso' })
  })
  const vm = { name: 'web', clusterId, cdDrives: [{}] }
  const { objects } = await done(world, await world.mutate(vms.CreateVm, { vm }))
  const vmId = objects['vm'] ?? ''
  return { world, clusterId, agents, iso, other, data, vmId }
}

t.test('a CD is inserted and ejected while the VM is down, and while it runs', async t => {
  const { world, agents, iso, other, data, vmId } = await furnished(t)
  const cds = async () => (await world.call(vms.GetVm, { vmId })).cdDrives.map(({ diskId }) => diskId)
  const change = async (change: object) => done(world, await world.mutate(vms.ChangeCd, { vmId, ...change }))
  const refused = (change: object) => failure(world.mutate(vms.ChangeCd, { vmId, ...change }))
  t.strictSame(await cds(), [''])
  await change({ diskId: iso })
  t.strictSame(await cds(), [iso])
  await change({ diskId: iso, drive: 2 })
  t.strictSame(await cds(), [iso, iso], 'a VM that is down is given another drive')
  await change({ drive: 2 })
  t.strictSame(await cds(), [iso, ''])
  t.match(await refused({ diskId: data }), {
    reason: 'INVALID_REQUEST',
    violations: [{ field: 'disk_id' }],
    message: /image import/
  })
  t.match(await refused({ diskId: iso, drive: 4 }), { violations: [{ field: 'drive' }] })
  t.match(await refused({ diskId: iso, drive: 5 }), { violations: [{ field: 'drive' }] })
  t.match(await refused({ drive: 3 }), { reason: 'NOT_FOUND' })

  await done(world, await world.mutate(vms.StartVm, { vmId }))
  const host = agents.find(agent => agent.vms.has(vmId))
  t.match(host?.vms.get(vmId)?.['spec'], { cdDrives: [{ medium: { imageId: iso } }, { medium: null }] })
  t.match(await refused({ diskId: iso, drive: 3 }), { reason: 'WRONG_STATE', message: /stop it/ })
  const asked: object[] = []
  host?.works.set('ChangeCd', request => void asked.push(request))
  await change({ diskId: other })
  t.strictSame(await cds(), [other, ''])
  await change({ force: true })
  t.strictSame(await cds(), ['', ''])
  t.match(asked, [
    { drive: 1, medium: { imageId: other }, force: false },
    { drive: 1, medium: null, force: true }
  ])
  host?.setVm({ ...host.vms.get(vmId), openTrays: [1] })
  await world.until(async () => (await world.call(vms.GetVm, { vmId })).cdDrives[0]?.trayOpen === true)
})

t.test('an ISO image is no disk, and one in a drive stays', async t => {
  const { world, clusterId, iso, data, vmId } = await furnished(t)
  t.match(await world.call(disks.GetDisk, { diskId: iso }), { content: 'DISK_CONTENT_ISO' })
  const { disks: listed } = await world.call(disks.ListDisks, { filter: 'content = ISO' })
  t.equal(listed.length, 2)
  const attach = (attachment: object) => world.mutate(vms.AttachDisk, { vmId, attachment })
  t.match(await failure(attach({ diskId: iso })), { reason: 'WRONG_STATE', message: /CD-ROM/ })
  t.match(await failure(attach({ diskId: data, cdrom: true })), { reason: 'INVALID_REQUEST' })
  t.match((await attach({ diskId: iso, cdrom: true })).cdDrives, [{ diskId: '' }, { diskId: iso }])
  t.match(await failure(world.mutate(disks.DeleteDisk, { diskId: iso })), { message: /eject it first/ })
  t.match((await world.mutate(vms.DetachDisk, { vmId, diskId: iso })).cdDrives, [{ diskId: '' }])

  const vm = { clusterId, name: 'installs', cdDrives: [{ diskId: iso }], bootFromCd: true }
  t.match(await failure(world.mutate(vms.CreateVm, { vm: { ...vm, cdDrives: [{ diskId: data }] } })), {
    violations: [{ field: 'vm.cd_drives[0].disk_id' }]
  })
  const five = [{}, {}, {}, {}, {}]
  t.match(await failure(world.mutate(vms.CreateVm, { vm: { ...vm, cdDrives: five } })), {
    violations: [{ field: 'vm.cd_drives' }]
  })
  await done(world, await world.mutate(vms.CreateVm, { vm }))
  const installs = await world.call(vms.GetVm, { vmId: 'installs' })
  t.match(installs, { cdDrives: [{ diskId: iso }], bootFromCd: true })
  const update = { vm: { vmId: installs.vmId }, updateMask: { paths: ['cd_drives', 'boot_from_cd'] } }
  t.match(await world.mutate(vms.UpdateVm, update), { cdDrives: [], bootFromCd: false })
  await done(world, await world.mutate(disks.DeleteDisk, { diskId: iso }))
})

t.test('a VM goes only where its CD is, and comes back with it', async t => {
  const { world, agents, iso, vmId } = await furnished(t)
  await done(world, await world.mutate(vms.ChangeCd, { vmId, diskId: iso }))
  const [a, b] = agents
  const id = [...(a?.storageDomains.keys() ?? [])][0] ?? ''
  a?.storageDomains.set(id, { ...a.storageDomains.get(id), health: 'STORAGE_DOMAIN_HEALTH_INACTIVE' })
  a?.watch.publish(`storageDomain/${id}`, { storageDomain: a.storageDomains.get(id) })
  await world.until(async () => {
    const plan = await world.mutate(vms.StartVm, { vmId, dryRun: true })
    return plan.result['host_id'] === b?.hostId && /is not active here/.test(plan.result['verdicts'] ?? '')
  })
})
