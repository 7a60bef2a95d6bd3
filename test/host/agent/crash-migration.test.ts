import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import type { Refused } from './client.js'
import { cluster, stamped, type ClusterHost } from './cluster.js'
import { crashPoints } from './crash-points.js'
import { diskless } from './world.js'

// The agent of one side is killed between every two acts of a migration. The VM runs in one place, never in two,
// and the same request asked again ends with it at the destination.

t.setTimeout(280_000)
const house = await cluster(2, { migration_first_port: 30_000 + Math.floor(Math.random() * 10_000) })
t.teardown(() => house[Symbol.asyncDispose]())
const [a, b] = house.hosts as [ClusterHost, ClusterHost]

const statusOn = async ({ world }: ClusterHost, vmId: string) => (await world.vm(vmId))?.['status'] ?? 'none'
const runs = /POWERING_UP|UP$/
const ended = (work: Promise<unknown>) =>
  work.catch((error: Refused) => t.comment(`the call: ${error.message}`))

/** In one place, and nowhere on its way. */
async function settled(vmId: string): Promise<ClusterHost> {
  for (let tries = 0; tries < 900; tries++) {
    const [here, there] = [await statusOn(a, vmId), await statusOn(b, vmId)]
    if (runs.test(here) !== runs.test(there) && !/MIGRATING/.test(`${here}${there}`))
      return runs.test(here) ? a : b
    await setTimeout(100)
  }
  throw new Error('it is never clear where it runs')
}
const qemus = async () =>
  (await Promise.all([a, b].map(({ world }) => world.libvirtd.pids('qemu-system-x86')))).flat().length

async function restartedToDieAt({ world }: ClusterHost, name: string): Promise<void> {
  await world.agentEnds('SIGTERM')
  await world.startAgent({ DROVER_CRASHPOINTS: `kill@${name}` })
}

async function started() {
  const spec = diskless(randomUUID())
  await a.coordinator.task('vm', 'StartVm', stamped({ vmGeneration: '1', spec }))
  return spec
}
const announcement = (spec: object) =>
  stamped({ requestId: randomUUID(), vmGeneration: '1', spec, sourceHostId: a.hostId })
const announced = async (request: object) =>
  (await b.coordinator.call('vm', 'PrepareIncoming', request))['migrationAddress'] as string

async function arrives(vmId: string, spec: object): Promise<void> {
  if ((await settled(vmId)) === a) {
    await b.coordinator.mutate('vm', 'CancelIncoming', stamped({ vmId, vmGeneration: '1' }))
    const way = { destinationHostId: b.hostId, migrationAddress: await announced(announcement(spec)) }
    const task = await a.coordinator.task('vm', 'MigrateVm', stamped({ vmId, vmGeneration: '1', ...way }))
    t.equal(task['state'], 'TASK_STATE_SUCCEEDED')
  }
  t.equal(await settled(vmId), b)
  t.equal(await qemus(), 1, 'there is one QEMU of it')
  for (const { coordinator } of [a, b]) await coordinator.task('vm', 'DestroyVm', stamped({ vmId }))
  t.equal(await qemus(), 0)
}

for (const point of crashPoints.migrate) {
  t.test(
    `a migration whose source died at "${point}" has the VM in one place, and can be had again`,
    async () => {
      await restartedToDieAt(a, `vm.migrate.${point}`)
      const spec = await started()
      const { vmId } = spec
      const way = { destinationHostId: b.hostId, migrationAddress: await announced(announcement(spec)) }
      const request = stamped({ requestId: randomUUID(), vmId, vmGeneration: '1', ...way })
      const asked = ended(a.coordinator.task('vm', 'MigrateVm', request))
      await a.world.agentEnds()
      await asked
      await a.world.startAgent()
      await settled(vmId)
      // The destination still expects it: the same request is enough.
      await ended(a.coordinator.task('vm', 'MigrateVm', request))
      await arrives(vmId, spec)
    }
  )
}

for (const point of crashPoints.incoming) {
  t.test(`an announcement whose destination died at "${point}" can be had again`, async () => {
    const spec = await started()
    await restartedToDieAt(b, `vm.incoming.${point}`)
    const request = announcement(spec)
    const asked = ended(announced(request))
    await b.world.agentEnds()
    await asked
    await b.world.startAgent()
    const way = { destinationHostId: b.hostId, migrationAddress: await announced(request) }
    const migration = stamped({ vmId: spec.vmId, vmGeneration: '1', ...way })
    t.match(await a.coordinator.task('vm', 'MigrateVm', migration), { state: 'TASK_STATE_SUCCEEDED' })
    await arrives(spec.vmId, spec)
  })
}

for (const point of crashPoints.arrival) {
  t.test(`a VM whose destination died at "${point}" runs there when the agent is back`, async () => {
    const spec = await started()
    await restartedToDieAt(b, `vm.arrival.${point}`)
    const way = { destinationHostId: b.hostId, migrationAddress: await announced(announcement(spec)) }
    const migration = stamped({ requestId: randomUUID(), vmId: spec.vmId, vmGeneration: '1', ...way })
    const asked = ended(a.coordinator.task('vm', 'MigrateVm', migration))
    await b.world.agentEnds()
    await b.world.startAgent()
    await asked
    await arrives(spec.vmId, spec)
  })
}
