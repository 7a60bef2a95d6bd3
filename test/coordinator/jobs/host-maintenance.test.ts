import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import type { JobContexts } from '../../../coordinator/jobs/kinds.js'
import { host, updateHost } from '../../../coordinator/store/hosts.js'
import { reserve, unreserve } from '../../../coordinator/store/pending.js'
import { vm } from '../../../coordinator/store/vms.js'
import { fakeHosts } from './fake-hosts.js'
import { FakeWorld } from './fake-world.js'
import { fixture, furnish, ids, type Fixture } from './fixture.js'
import { migration } from './scenarios/furniture.js'

type Tap = { teardown(fn: () => unknown): void }

async function house(t: Tap): Promise<Fixture> {
  const made = await fixture()
  t.teardown(() => made.close())
  furnish(made, 'running')
  made.store.transaction(tx => updateHost(tx, ids.hostA, { mode: 'preparing' }))
  return made
}
const order = { hostId: ids.hostA, storageDomainIds: [] }

t.test('a host goes into maintenance when its VM has moved away', async t => {
  const { run, store } = await house(t)
  const job = await run('host.deactivate', order)
  t.equal(job.state, 'succeeded')
  t.equal(host(store.read, ids.hostA).mode, 'maintenance')
  t.equal(vm(store.read, ids.vm).hostId, ids.hostB)
})

t.test('what was placed on the host before, and is not seen there yet, is waited for', async t => {
  const { run, store, jobs } = await house(t)
  store.transaction(tx => {
    const jobId = jobs.createOver(tx, 'host.fence', { objects: {}, actor: 'local' }, {})
    reserve(tx, { vmId: ids.vm, hostId: ids.hostA, jobId, vcpus: 1, memoryBytes: 1, created: 1 })
  })
  let hasCome = false
  const stop = store.listen(() => {
    if (hasCome || vm(store.read, ids.vm).hostId !== ids.hostB) return
    hasCome = true
    t.not(host(store.read, ids.hostA).mode, 'maintenance')
    setImmediate(() => store.transaction(tx => unreserve(tx, ids.vm, ids.hostA)))
  })
  const job = await run('host.deactivate', order)
  stop()
  t.equal(job.state, 'succeeded')
  t.ok(hasCome)
})

t.test(
  'a migration that an earlier life ordered is waited for: its source has something to tidy up',
  async t => {
    const world = new FakeWorld()
    const hosts = fakeHosts(world)
    let release = () => {}
    const gate = new Promise<void>(resolve => (release = resolve))
    const made = await fixture({
      world,
      hosts: {
        ...hosts,
        call: async (hostId, method, request, signal) => {
          // The source is asked who has the VM by the last step, when the store knows that it has moved.
          const isTidying = hostId === ids.hostA && vm(made.store.read, ids.vm).hostId === ids.hostB
          if (isTidying) await gate
          return hosts.call(hostId, method, request, signal)
        }
      }
    })
    t.teardown(() => made.close())
    furnish(made, 'running')
    const { store, jobs } = made
    const create = <K extends 'vm.migrate' | 'host.deactivate'>(kind: K, context: JobContexts[K]) =>
      store.transaction(tx => jobs.create(tx, kind, { context, objects: {}, claims: [], actor: 'local' }))
    const moving = create('vm.migrate', migration)
    while (vm(store.read, ids.vm).hostId !== ids.hostB) await turn()
    store.transaction(tx => updateHost(tx, ids.hostA, { mode: 'preparing' }))
    const leaving = create('host.deactivate', order)
    for (let looks = 0; looks < 500; looks++) await turn()
    t.equal(host(store.read, ids.hostA).mode, 'preparing')
    release()
    const { state } = await jobs.untilOver(leaving, AbortSignal.timeout(20_000))
    t.equal(state, 'succeeded')
    t.equal((await jobs.untilOver(moving, AbortSignal.timeout(20_000))).state, 'succeeded')
    t.equal(host(store.read, ids.hostA).mode, 'maintenance')
  }
)

t.test('a VM that cannot leave is named, and the host is in service again', async t => {
  const { run, store } = await house(t)
  store.transaction(tx => updateHost(tx, ids.hostB, { mode: 'maintenance' }))
  const job = await run('host.deactivate', order)
  t.equal(job.state, 'undone')
  t.match(job.turnedBack?.message, /VMs cannot leave the host: .*cannot migrate/)
  t.equal(host(store.read, ids.hostA).mode, 'active')
})
