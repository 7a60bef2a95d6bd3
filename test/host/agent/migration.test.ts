import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { type Answer, Refused } from './client.js'
import { cluster, stamped, type ClusterHost } from './cluster.js'
import { diskless } from './world.js'

// Two hosts with a libvirtd each. The memory travels under TLS, the talk of the libvirtds through the agents.

// Ports of the machine are shared with whatever else runs on it.
const house = await cluster(3, {
  migration_first_port: 30_000 + Math.floor(Math.random() * 10_000),
  migrations_at_once: 2
})
t.teardown(() => house[Symbol.asyncDispose]())
const [a, b, c] = house.hosts as [ClusterHost, ClusterHost, ClusterHost]
const slowly = { bandwidth: String(2 ** 20) }

// Untouched memory costs a few bytes a page: enough to keep a slow migration busy for a while.
const large = { memoryBytes: String(4 * 2 ** 30) }

async function runningOn(host: ClusterHost, more: object = {}) {
  const spec = diskless(randomUUID(), more)
  await host.coordinator.task('vm', 'StartVm', stamped({ vmGeneration: '1', spec }))
  return spec
}

async function announced(spec: object, from: ClusterHost, to: ClusterHost): Promise<object> {
  const request = stamped({ vmGeneration: '1', spec, sourceHostId: from.hostId })
  const { migrationAddress } = await to.coordinator.mutate('vm', 'PrepareIncoming', request)
  return { vmGeneration: '1', destinationHostId: to.hostId, migrationAddress }
}

const statusOn = async ({ world }: ClusterHost, vmId: string) => (await world.vm(vmId))?.['status'] ?? 'none'

async function until(what: string, isTrue: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 900; tries++) {
    if (await isTrue()) return
    await setTimeout(100)
  }
  throw new Error(`never: ${what}`)
}

const runs = /POWERING_UP|UP$/

async function destroyed(vmId: string, ...hosts: ClusterHost[]) {
  for (const { coordinator } of hosts) await coordinator.task('vm', 'DestroyVm', stamped({ vmId }))
}

t.test('a VM moves, and the source says where it went', async t => {
  const spec = await runningOn(a)
  const { vmId } = spec
  const way = await announced(spec, a, b)
  const task = await a.coordinator.task('vm', 'MigrateVm', stamped({ vmId, ...way }))
  t.equal(task['state'], 'TASK_STATE_SUCCEEDED')
  t.match(await a.world.vm(vmId), { status: 'VM_STATUS_DOWN', exitReason: 'migrated', failure: null })
  t.match(await b.world.vm(vmId), { status: runs, vmGeneration: '1', foreign: '', migration: null })
  await destroyed(vmId, a, b)
  t.equal(await statusOn(b, vmId), 'none')
})

t.test('a paused VM arrives paused, and stays so until somebody resumes it', async t => {
  const spec = await runningOn(a)
  const { vmId } = spec
  await a.coordinator.task('vm', 'PauseVm', stamped({ vmId }))
  const way = await announced(spec, a, b)
  await a.coordinator.task('vm', 'MigrateVm', stamped({ vmId, ...way }))
  await until('paused there', async () => (await statusOn(b, vmId)) === 'VM_STATUS_PAUSED')
  t.match(await b.world.vm(vmId), { pauseReason: 'PAUSE_REASON_USER' })
  await b.coordinator.task('vm', 'ResumeVm', stamped({ vmId }))
  t.match(await statusOn(b, vmId), runs)
  await destroyed(vmId, a, b)
})

t.test('a cancelled migration leaves the VM where it was, and nothing at the destination', async t => {
  const spec = await runningOn(a, large)
  const { vmId } = spec
  const way = await announced(spec, a, b)
  const taskId = randomUUID()
  const migrating = a.coordinator.task(
    'vm',
    'MigrateVm',
    stamped({ requestId: taskId, vmId, ...way, ...slowly })
  )
  migrating.catch(() => {})
  await until('leaving', async () => (await a.world.vm(vmId))?.['migration']?.progress?.doneBytes > 0)
  t.equal(await statusOn(a, vmId), 'VM_STATUS_MIGRATING_FROM')
  t.equal(await statusOn(b, vmId), 'VM_STATUS_MIGRATING_TO')
  await a.coordinator.call('task', 'CancelTask', { taskId })
  const outcome: Answer = await migrating.catch((error: Refused) => ({ state: error.reason }))
  t.match(outcome['state'], /CANCELLED/)
  t.match(await statusOn(a, vmId), runs)
  await until('gone there', async () => (await statusOn(b, vmId)) === 'none')
  await b.coordinator.mutate('vm', 'CancelIncoming', stamped({ vmId, vmGeneration: '1' }))
  await destroyed(vmId, a)
})

t.test('a host that was not announced cannot open the tunnel', async t => {
  const spec = await runningOn(c)
  const { vmId } = spec
  const way = await announced(spec, a, b)
  const failure = await c.coordinator
    .task('vm', 'MigrateVm', stamped({ vmId, ...way }))
    .catch((e: Refused) => e)
  t.match(failure instanceof Refused ? failure.reason : failure['state'], /LIBVIRT_FAILED|FAILED/)
  t.match(await statusOn(c, vmId), runs, 'the VM runs on')
  t.equal(await statusOn(b, vmId), 'none')
  t.match(await b.world.log(), /no migration of VM .* from host .* is expected here/)
  await b.coordinator.mutate('vm', 'CancelIncoming', stamped({ vmId, vmGeneration: '1' }))
  await destroyed(vmId, c)
})

t.test('more arrivals than there are places are refused, not queued', async t => {
  const specs = [diskless(), diskless(), diskless()]
  await announced(specs[0]!, a, b)
  await announced(specs[1]!, a, b)
  const refusal = await announced(specs[2]!, a, b).catch((error: Refused) => error)
  t.equal(refusal instanceof Refused && refusal.reason, 'LIMIT')
  for (const { vmId } of specs)
    await b.coordinator.mutate('vm', 'CancelIncoming', stamped({ vmId, vmGeneration: '1' }))
})

for (const killed of ['source', 'destination'] as const) {
  t.test(
    `the ${killed}'s agent is killed in the middle: the VM runs in one place, and can move again`,
    async t => {
      const spec = await runningOn(a)
      const { vmId } = spec
      const way = await announced(spec, a, b)
      const request = stamped({ requestId: randomUUID(), vmId, ...way, ...slowly })
      const migrating = a.coordinator.task('vm', 'MigrateVm', request).catch((error: Refused) => {
        t.comment(`the call: ${error.message}`)
      })
      await until('leaving', async () => (await a.world.vm(vmId))?.['migration']?.progress?.doneBytes > 0)
      const { world } = killed === 'source' ? a : b
      await world.agentEnds('SIGKILL')
      await world.startAgent()
      await migrating

      await until('it is clear where it runs', async () => {
        const [there, here] = [await statusOn(a, vmId), await statusOn(b, vmId)]
        return runs.test(there) !== runs.test(here) && !/MIGRATING/.test(`${there}${here}`)
      })
      if (runs.test(await statusOn(a, vmId))) {
        await b.coordinator.mutate('vm', 'CancelIncoming', stamped({ vmId, vmGeneration: '1' }))
        const again = await announced(spec, a, b)
        const task = await a.coordinator.task('vm', 'MigrateVm', stamped({ vmId, ...again }))
        t.equal(task['state'], 'TASK_STATE_SUCCEEDED')
      }
      t.match(await statusOn(b, vmId), runs)
      await destroyed(vmId, a, b)
      for (const { libvirtd } of [a.world, b.world]) {
        t.strictSame(await libvirtd.pids('qemu-system-x86'), [], 'no QEMU is left')
      }
    }
  )
}
