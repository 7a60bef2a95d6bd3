import t from 'tap'
import { host, updateHost } from '../../../coordinator/store/hosts.js'
import { reserve, unreserve } from '../../../coordinator/store/pending.js'
import { vm } from '../../../coordinator/store/vms.js'
import { fixture, furnish, ids, type Fixture } from './fixture.js'

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

t.test('a VM that cannot leave is named, and the host is in service again', async t => {
  const { run, store } = await house(t)
  store.transaction(tx => updateHost(tx, ids.hostB, { mode: 'maintenance' }))
  const job = await run('host.deactivate', order)
  t.equal(job.state, 'undone')
  t.match(job.turnedBack?.message, /VMs cannot leave the host: .*cannot migrate/)
  t.equal(host(store.read, ids.hostA).mode, 'active')
})
