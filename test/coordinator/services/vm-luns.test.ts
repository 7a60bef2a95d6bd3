import { randomUUID } from 'node:crypto'
import t from 'tap'
import type { Job__Output as Job } from '../../../proto/generated/types/drover/v1/Job.js'
import { coordinatorServices } from '../../../proto/load.js'
import { seconds } from '../../../common/units.js'
import { coordinatorWorld, failure, never, type CoordinatorWorld } from '../world.js'

t.setTimeout(120_000)
const { vm: vms, job: jobs } = coordinatorServices

async function done(world: CoordinatorWorld, { jobId }: { jobId: string }): Promise<Job> {
  let last: Job | null = null
  for await (const job of world.local.stream(jobs.WatchJob, { jobId }, never, seconds(20))) last = job as Job
  if (last?.state !== 'JOB_STATE_SUCCEEDED')
    throw new Error(`${last?.kind} ${last?.state}: ${last?.failure?.message}`)
  return last
}

const wwid = '3600a098038303053453f463045727a51'
const lun = (change: object = {}) => ({
  ...{ wwid, state: 'LUN_STATE_FREE', sizeBytes: String(2 ** 40), vendor: 'NETAPP', product: 'LUN C-Mode' },
  ...change
})

async function furnished(t: { teardown(end: () => unknown): void }) {
  const world = await coordinatorWorld(t)
  const clusterId = await world.createCluster()
  const [a, b] = [await world.addHost(clusterId, 'a'), await world.addHost(clusterId, 'b')]
  b.luns = [lun()]
  const vm = async (name: string) =>
    (await done(world, await world.mutate(vms.CreateVm, { vm: { name, clusterId } }))).objects['vm'] ?? ''
  const attach = (vmId: string, change: object = {}, more: object = {}) =>
    world.mutate(vms.AttachLun, { vmId, lun: { wwid, ...change }, ...more })
  return { world, a, b, vm, attach }
}

t.test('a VM with a LUN starts where the LUN is seen, and nowhere else', async t => {
  const { world, a, b, vm, attach } = await furnished(t)
  const vmId = await vm('db')
  const requestId = randomUUID()
  const request = { requestId, vmId, lun: { wwid, passthrough: true, reservations: true } }
  const attached = await world.call(vms.AttachLun, request)
  t.match(attached.luns, [
    { wwid, slot: 1, bus: 'DISK_BUS_SCSI', sizeBytes: String(2 ** 40), model: 'NETAPP LUN C-Mode' }
  ])
  t.match((await world.call(vms.AttachLun, request)).luns, { length: 1 }, 'once, however often it is asked')
  const plan = await world.mutate(vms.StartVm, { vmId, dryRun: true })
  t.match(plan.result, { host_id: b.hostId, verdicts: new RegExp(`device LUN ${wwid} is missing`) })
  await done(world, await world.mutate(vms.StartVm, { vmId }))
  t.match(b.vms.get(vmId)?.['spec'], {
    luns: [{ wwid, bus: 'DISK_BUS_SCSI', slot: 1, passthrough: true, reservations: true, shareable: false }]
  })
  t.match(await failure(world.mutate(vms.DetachLun, { vmId, wwid })), { reason: 'WRONG_STATE' })
  t.match(await failure(world.mutate(vms.MigrateVm, { vmId, hostId: a.hostId })), { reason: 'NO_HOST' })
  await done(world, await world.mutate(vms.StopVm, { vmId, force: true }))
  t.strictSame((await world.mutate(vms.DetachLun, { vmId, wwid })).luns, [])
  t.match(await failure(world.mutate(vms.DetachLun, { vmId, wwid })), { reason: 'NOT_FOUND' })
})

t.test('only a LUN that is free is taken', async t => {
  const { b, vm, attach, world } = await furnished(t)
  const [one, two] = [await vm('one'), await vm('two')]
  const refused: Array<[why: object, more: object, RegExp]> = [
    [
      { state: 'LUN_STATE_REFUSED', reason: "this host's own system lies on it" },
      { withData: true },
      /own system/
    ],
    [{ state: 'LUN_STATE_USED', reason: 'storage domain x' }, { withData: true }, /storage domain x/],
    [{ state: 'LUN_STATE_FOREIGN', reason: 'file system xfs' }, {}, /attach it with its data/]
  ]
  for (const [change, more, words] of refused) {
    b.luns = [lun(change)]
    t.match(await failure(attach(one, {}, more)), { reason: 'LUN_IN_USE', message: words })
  }
  t.match((await attach(one, {}, { withData: true })).luns, [{ wwid }])
  t.match(await failure(attach(two)), { reason: 'LUN_IN_USE', message: /attached to VM one/ })
  t.match(await failure(attach(two, { shareable: true })), { message: /to both as shareable/ })
  await world.mutate(vms.DetachLun, { vmId: one, wwid })
  b.luns = [lun()]
  for (const vmId of [one, two])
    t.match((await attach(vmId, { shareable: true })).luns, [{ shareable: true }])
  t.match(await failure(attach(one, { shareable: true })), { reason: 'ALREADY_EXISTS' })
  b.luns = []
  t.match(await failure(attach(await vm('three'), { wwid: '3600a' })), {
    reason: 'NOT_FOUND',
    message: /iscsi-login/
  })
})

t.test('what is wrong with a request is named', async t => {
  const { vm, attach } = await furnished(t)
  const vmId = await vm('db')
  const wrong: Array<[object, string]> = [
    [{ wwid: '../../etc/passwd' }, 'lun.wwid'],
    [{ wwid: '' }, 'lun.wwid'],
    [{ bus: 'DISK_BUS_SATA' }, 'lun.bus'],
    [{ bus: 'DISK_BUS_VIRTIO', passthrough: true }, 'lun.bus'],
    [{ reservations: true }, 'lun.reservations']
  ]
  for (const [change, field] of wrong) {
    t.match(
      await failure(attach(vmId, change)),
      { reason: 'INVALID_REQUEST', violations: [{ field }] },
      field
    )
  }
})
