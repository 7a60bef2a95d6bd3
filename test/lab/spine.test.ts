import t, { type Test } from 'tap'
import { randomUUID } from 'node:crypto'
import { GuestConsole } from './guest-console.js'
import { Guests } from './guests.js'
import { Lab, poll } from './lab.js'
import { World } from './world.js'

// The spine under faults, on real hosts: after each of them the VM runs once, its acknowledged writes are on its disk, and
// the audit finds nothing.
const world = new World(new Lab('t-spine'))
const { lab } = world

t.before(() => world.create())
t.teardown(() => world[Symbol.asyncDispose]())

const guests = new Guests(world)
const clean = async (t: Test) => t.strictSame(await world.violations(), [], 'the audit finds nothing')

t.test('an agent and a libvirtd that are killed lose no VM', async t => {
  const { vmId, console } = await guests.start('kept')
  const before = await world.vm(vmId)
  const host = world.nameOf(before.hostId)
  for (const part of ['agent', 'libvirtd'] as const) {
    await lab.kill(host, part)
    await guests.writesOn(console)
    await world.whenUp(host)
    const vm = await guests.whenUp(vmId, BigInt(before.vmGeneration))
    t.equal(vm.hostId, before.hostId, `after the ${part}`)
  }
  t.equal(console.found.length, 1, 'the guest did not boot again')
  console[Symbol.dispose]()
  await guests.remove(vmId)
  await clean(t)
})

t.test('a highly available VM whose QEMU is killed starts again, with its writes', async t => {
  const { vmId, console } = await guests.start('killed')
  const { hostId, vmGeneration } = await world.vm(vmId)
  await lab.kill(world.nameOf(hostId), 'qemu')
  const acknowledged = console.lastAcknowledged
  await guests.whenUp(vmId, BigInt(vmGeneration) + 1n)
  const found = await poll('the guest boots', 240, async () => console.found[1] ?? null)
  t.ok(found >= acknowledged, `${found} found, ${acknowledged} acknowledged`)
  t.equal((await guests.runningOn(vmId)).length, 1)
  console[Symbol.dispose]()
  await guests.remove(vmId)
  await clean(t)
})

t.test('a coordinator that is killed in the middle of a migration finishes it after its restart', async t => {
  const { vmId, console } = await guests.start('moving')
  const before = await world.vm(vmId)
  const job = await world.api.ask(world.services.vm.MigrateVm, { requestId: randomUUID(), vmId })
  await lab.kill('coord', 'coordinator')
  await poll('the coordinator is back', 120, async () => {
    await world.connect()
    return world.api.ask(world.services.coordinator.GetCoordinator, {})
  })
  const ended = await world.api.follow(job).then(
    () => 'succeeded',
    () => 'undone'
  )
  const vm = await guests.whenUp(vmId, BigInt(before.vmGeneration))
  t.equal(vm.hostId !== before.hostId, ended === 'succeeded')
  t.strictSame(await guests.runningOn(vmId), [world.nameOf(vm.hostId)])
  console[Symbol.dispose]()
  const again = new GuestConsole(world.api, vmId)
  await poll('the guest writes', 120, async () => (again.acknowledged.length > 1 ? true : null))
  again[Symbol.dispose]()
  await guests.remove(vmId)
  await clean(t)
})

t.test('a host that is only cut off keeps its VM, which starts nowhere else', async t => {
  const { vmId, console } = await guests.start('parted')
  const before = await world.vm(vmId)
  const host = world.nameOf(before.hostId)
  await lab.link(host, 'down')
  await poll('the host is given up', 90, async () => {
    const { status, problem } = await world.host(host)
    // It renews its lease on the storage that it still reaches.
    return status === 'HOST_STATUS_NON_RESPONSIVE' && problem.includes('alive') ? true : null
  })
  t.strictSame(await guests.runningOn(vmId), [host])
  t.equal(await lab.isPowered(host), true)

  await lab.link(host, 'up')
  await world.whenUp(host)
  const vm = await guests.whenUp(vmId, BigInt(before.vmGeneration))
  t.equal(vm.hostId, before.hostId)
  await guests.writesOn(console)
  t.equal(console.found.length, 1, 'the guest did not boot again')
  t.strictSame(await guests.runningOn(vmId), [host])
  console[Symbol.dispose]()
  await guests.remove(vmId)
  await clean(t)
})

t.test('a coordinator that is killed while it creates and starts VMs leaves none half made', async t => {
  for (const pause of [0, 150, 400, 800]) {
    const name = `half-${pause}`
    const request = {
      requestId: randomUUID(),
      templateId: world.ids.template,
      vm: { name, clusterId: world.ids.cluster, ha: { enabled: true } }
    }
    const job = await world.api.ask(world.services.vm.CreateVm, request)
    await new Promise(resolve => setTimeout(resolve, pause))
    await lab.kill('coord', 'coordinator')
    await poll('the coordinator is back', 120, async () => {
      await world.connect()
      return world.api.ask(world.services.coordinator.GetCoordinator, {})
    })
    const again = await world.api.ask(world.services.vm.CreateVm, request)
    t.equal(again.jobId, job.jobId, 'the same request is the same job')
    const vmId = (await world.api.follow(job)).objects['vm'] ?? ''
    await world.api.job(world.services.vm.DeleteVm, { vmId })
  }
  await clean(t)
})
