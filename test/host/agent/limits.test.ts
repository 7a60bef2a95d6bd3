import { status } from '@grpc/grpc-js'
import { randomUUID } from 'node:crypto'
import { pino } from 'pino'
import t from 'tap'
import { Libvirt } from '../../../libvirt/connections.js'
import { Domain } from '../../../libvirt/domain.js'
import { Refused } from './client.js'
import { storageDomain } from './storage.js'
import { AgentWorld, diskless } from './world.js'

// Limits of a VM through a real agent and libvirtd: at its start, and changed while it runs.

t.setTimeout(200_000)
const world = await AgentWorld.start({ allowed_directories: ['/tmp'] })
const libvirt = Libvirt.open({ log: pino({ level: 'silent' }), socketPath: world.libvirtd.socket })
const soon = () => AbortSignal.timeout(60_000)
t.teardown(async () => {
  await libvirt.close()
  await world[Symbol.asyncDispose]()
})
await libvirt.whenUp(soon())
const { client } = world
const xmlOf = (vmId: string) => new Domain(libvirt, vmId).xml(soon())

t.test('a disk is held to its limits from the start, to others later, and to none at last', async t => {
  const { disk } = await storageDomain(world)
  const limits = { totalIopsSec: 50, readBytesSec: String(2 ** 20) }
  const spec = diskless(randomUUID(), { disks: [{ ...disk, limits }] })
  const { vmId } = spec
  const task = await client.task('vm', 'StartVm', { vmGeneration: '1', spec })
  t.equal(task['state'], 'TASK_STATE_SUCCEEDED', JSON.stringify(task['failure']))
  t.match(
    await xmlOf(vmId),
    /<total_iops_sec>50<.*<read_bytes_sec>1048576<|<read_bytes_sec>1048576<[^]*<total_iops_sec>50</
  )
  const change = (given: object | null) =>
    client.mutate('vm', 'SetVmLimits', {
      vmId,
      vmGeneration: '1',
      disks: [{ diskId: disk.diskId, limits: given }]
    })
  await change({ writeIopsSec: 7 })
  const changed = await xmlOf(vmId)
  t.match(changed, /<write_iops_sec>7</)
  t.notMatch(changed, /<total_iops_sec>50</)
  t.match((await world.vm(vmId))?.['spec'], { disks: [{ limits: { writeIopsSec: 7 } }] })
  await change(null)
  t.notMatch(await xmlOf(vmId), /iops_sec>[1-9]/)
  await client.task('vm', 'DestroyVm', { vmId })
})

t.test('a VM is held to a share of the CPUs from the start, and to another one later', async t => {
  const spec = diskless(randomUUID(), { vcpus: 2, cpuLimits: { percent: 100, shares: 512 } })
  const { vmId } = spec
  const task = await client
    .task('vm', 'StartVm', { vmGeneration: '1', spec })
    .catch((refused: Refused) => refused)
  // libvirtd without systemd's cgroups refuses it in so many words: nothing is promised that nobody keeps.
  if (task instanceof Refused) {
    t.match(task, { code: status.UNIMPLEMENTED, reason: 'UNSUPPORTED' })
    t.match(task.message, /cgroup/)
    return t.comment('libvirtd has no CPU controller here')
  }
  t.equal(task['state'], 'TASK_STATE_SUCCEEDED', JSON.stringify(task['failure']))
  t.match(await xmlOf(vmId), /<quota>50000</)
  await client.mutate('vm', 'SetVmLimits', { vmId, vmGeneration: '1', cpuLimits: { percent: 60 } })
  t.match(await xmlOf(vmId), /<quota>30000</)
  await client.mutate('vm', 'SetVmLimits', { vmId, vmGeneration: '1' })
  t.notMatch(await xmlOf(vmId), /<quota>[1-9]/)
  await client.task('vm', 'DestroyVm', { vmId })
})
