import { join } from 'node:path'
import t from 'tap'
import { Fault } from '../../../common/fault.js'
import { isVirError } from '../../../libvirt/errors.js'
import { Domain } from '../../../libvirt/domain.js'
import * as m from '../../../libvirt/migration.js'
import { until } from '../../libvirt/manual-clock.js'
import { libvirtWorld, soon } from './world.js'

t.setTimeout(120_000)

// Two hosts: two libvirtds with nothing in common but the machine.
const [source, destination] = await Promise.all([libvirtWorld(), libvirtWorld()])
t.teardown(async () => {
  await source[Symbol.asyncDispose]()
  await destination[Symbol.asyncDispose]()
})
const spec = {
  destinationUri: `qemu+unix:///system?socket=${destination.daemon.socket}`,
  migrateUri: `unix://${join(destination.daemon.root, 'migration')}`
}
const arrived = (domain: Domain) => new Domain(destination.libvirt, domain.uuid)

t.test('a guest moves to another libvirtd, with its metadata, and both tell', async t => {
  const guest = await source.boot()
  const ours = { uri: 'urn:drover:vm:1', prefix: 'drover', xml: '<vm generation="3"/>' }
  await guest.setMetadata(ours, { live: true }, soon())
  await m.setMaxDowntime(guest, 500, soon())
  t.equal(await m.maxDowntime(guest, soon()), 500)

  await m.migrate(guest, spec, soon())
  t.equal(await guest.stateIfPresent(soon()), null)
  t.match(await arrived(guest).state(soon()), { state: 'running', reason: 'migrated' })
  t.match(await arrived(guest).metadata(ours.uri, soon()), /<vm generation="3"\/>/)
  await source.event('lifecycle', guest, event => event.change === 'stopped' && event.detail === 'migrated')
  await destination.event(
    'lifecycle',
    guest,
    event => event.change === 'resumed' && event.detail === 'migrated'
  )
  const { params } = await source.event('jobCompleted', guest)
  t.ok(Number(params['downtime']) >= 0 && Number(params['memory_total']) > 0)
  t.match(await m.completedJobStats(arrived(guest), soon()), { state: 'completed' })
})

t.test('a running migration is watched, slowed down and called off; the guest stays', async t => {
  const guest = await source.boot({ memoryMiB: 64 })
  const outcome = m
    .migrate(guest, { ...spec, bandwidthMiBs: 1, autoConverge: { initial: 20, increment: 10 } }, soon())
    .catch((error: unknown) => error)
  await until('progress', async () => ((await m.jobStats(guest, soon()))?.memory.processed ?? 0) > 0)
  await m.setMaxSpeed(guest, 2, soon())
  t.match(await m.jobStats(guest, soon()), {
    state: 'unbounded',
    operation: 'migration_out',
    memory: { total: Number }
  })
  t.match(await guest.state(soon()), { state: 'running' }, 'other calls about it go on')
  await source.event('migrationIteration', guest)
  await m.abortJob(guest, soon())
  const failure = await outcome
  t.ok(Fault.is(failure, 'CANCELLED'))
  t.match(await guest.state(soon()), { state: 'running' })
  t.equal(await arrived(guest).stateIfPresent(soon()), null)
  t.equal(await m.jobStats(guest, soon()), null)
})

t.test('a destination that is not there leaves the guest where it is', async t => {
  const guest = await source.boot()
  const nowhere = { destinationUri: 'qemu+unix:///system?socket=/nowhere', migrateUri: null }
  const failure = await m.migrate(guest, nowhere, soon()).catch((error: unknown) => error)
  t.ok(isVirError(failure, 'SYSTEM_ERROR'))
  t.match(await guest.state(soon()), { state: 'running' })
})

t.test('a migration that its caller forgot goes on, and does not keep others away', async t => {
  const guest = await source.boot()
  const caller = new AbortController()
  const migration = m.migrate(guest, spec, caller.signal)
  caller.abort(new Error('client gone'))
  await t.rejects(migration, new Error('client gone'))
  await until(
    'it has arrived',
    async () => (await arrived(guest).stateIfPresent(soon()))?.state === 'running'
  )
})
