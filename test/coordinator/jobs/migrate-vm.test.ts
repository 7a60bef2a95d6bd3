import t from 'tap'
import { Fault } from '../../../common/fault.js'
import type { Hosts } from '../../../coordinator/jobs/hosts.js'
import { updateHost, type Host } from '../../../coordinator/store/hosts.js'
import type { Job } from '../../../coordinator/store/jobs.js'
import { vm } from '../../../coordinator/store/vms.js'
import { fakeHosts } from './fake-hosts.js'
import { FakeWorld } from './fake-world.js'
import { fixture, ids, storyOf, type Fixture } from './fixture.js'
import { prepare, scenarios } from './scenarios.js'

// A migration under every kind of trouble ends with one copy of the VM, or with none until HA restarts it.

const scenario = scenarios.find(({ name }) => name === 'a VM migrates')!
type Trouble = (house: Fixture, migrate: () => Promise<object>, signal: AbortSignal) => Promise<object>

/** Runs the migration with something in place of the call that migrates. */
async function play(
  t: { teardown(end: () => Promise<void>): void },
  trouble: Trouble
): Promise<{ house: Fixture; job: Job; story: string }> {
  const world = new FakeWorld()
  const good = fakeHosts(world)
  let house: Fixture | null = null
  const hosts: Hosts = {
    ...good,
    runTask: (hostId, method, request, options) => {
      const work = () => good.runTask(hostId, method, request, options)
      if (!method.path.endsWith('/MigrateVm') || !house) return work()
      return trouble(house, work, options.signal) as ReturnType<Hosts['runTask']>
    }
  }
  house = await fixture({ world, hosts, start: false })
  t.teardown(house.close)
  const { jobId } = prepare(house, scenario)
  house.jobs.start()
  const job = await house.jobs.untilOver(jobId, AbortSignal.timeout(20_000))
  return { house, job, story: storyOf(house, job).join(', ') }
}

const stopped = ({ store, world }: Fixture, hostId: string) => {
  const host = world.hosts.get(hostId)
  if (host) host.isSilent = true
  host?.vms.clear()
  world.gone.add(hostId)
  const health: Host['health'] = 'proven_stopped'
  store.transaction(tx => updateHost(tx, hostId, { health }))
}
const cut = () => new Fault('HOST_UNREACHABLE', 'the connection broke')
const where = ({ store }: Fixture) => vm(store.read, ids.vm).hostId

t.test('the source dies after the switch-over: the destination has the VM', async t => {
  const { house, job, story } = await play(t, async (house, migrate) => {
    await migrate()
    stopped(house, ids.hostA)
    throw cut()
  })
  t.equal(job.state, 'succeeded', story)
  t.equal(where(house), ids.hostB)
})

t.test('the source dies before the switch-over: nobody has the VM, and nothing waits for it', async t => {
  const { house, job, story } = await play(t, async house => {
    stopped(house, ids.hostA)
    throw cut()
  })
  t.equal(job.state, 'undone', story)
  t.match(job.turnedBack, { reason: 'WRONG_STATE', message: /lost while it migrated/ })
  t.equal(house.world.hosts.get(ids.hostB)?.incoming.size, 0)
  t.strictSame(house.world.runningOn(ids.vm), [])
})

t.test(
  'the destination dies: the VM stays, and the job ends when the host is proven to be stopped',
  async t => {
    const { house, job, story } = await play(t, async house => {
      const there = house.world.hosts.get(ids.hostB)!
      there.isSilent = true
      setTimeout(() => stopped(house, ids.hostB), 50)
      throw new Fault('LIBVIRT_FAILED', 'migration failed: no route')
    })
    t.equal(job.state, 'undone', story)
    t.equal(job.turnedBack?.reason, 'LIBVIRT_FAILED')
    t.equal(where(house), ids.hostA)
    t.strictSame(house.world.runningOn(ids.vm), [ids.hostA])
  }
)

t.test('a cancel in the middle leaves the VM where it is', async t => {
  const { house, job, story } = await play(t, (house, _, signal) => {
    const [running] = house.jobs.dump()
    house.store.transaction(tx => house.jobs.cancel(tx, running?.job ?? ''))
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
  })
  t.equal(job.state, 'undone', story)
  t.equal(job.turnedBack?.reason, 'CANCELLED')
  t.equal(where(house), ids.hostA)
  t.equal(house.world.hosts.get(ids.hostB)?.incoming.size, 0)
})

t.test('a cancel that comes too late changes nothing', async t => {
  const { house, job, story } = await play(t, async (house, migrate, signal) => {
    await migrate()
    const [running] = house.jobs.dump()
    house.store.transaction(tx => house.jobs.cancel(tx, running?.job ?? ''))
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
  })
  t.equal(job.state, 'succeeded', story)
  t.equal(where(house), ids.hostB)
})

t.test('while the source says that the VM is leaving, nothing is decided', async t => {
  const { house, job, story } = await play(t, async house => {
    house.world.setVm(ids.hostA, ids.vm, 'migrating_from')
    setTimeout(() => house.world.setVm(ids.hostA, ids.vm, 'up'), 50)
    throw new Fault('LIBVIRT_FAILED', 'it did not converge')
  })
  t.equal(job.state, 'undone', story)
  t.equal(job.turnedBack?.message, 'it did not converge')
  t.equal(where(house), ids.hostA)
})

t.test('a VM that only one host can take cannot migrate, and the job says why', async t => {
  const world = new FakeWorld()
  const house = await fixture({ world, start: false })
  t.teardown(house.close)
  const { jobId } = prepare(house, scenario)
  house.store.transaction(tx => updateHost(tx, ids.hostB, { mode: 'maintenance' }))
  house.jobs.start()
  const job = await house.jobs.untilOver(jobId, AbortSignal.timeout(20_000))
  t.equal(job.turnedBack?.reason, 'NO_HOST', storyOf(house, job).join(', '))
  t.match(job.turnedBack?.message, /host1: the host is maintenance/)
})
