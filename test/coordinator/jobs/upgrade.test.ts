import t from 'tap'
import { derivedId } from '../../../common/ids.js'
import { upgradeContext } from '../../../coordinator/jobs/upgrade-host.js'
import { host, updateHost } from '../../../coordinator/store/hosts.js'
import { jobOrNull } from '../../../coordinator/store/jobs.js'
import { vm } from '../../../coordinator/store/vms.js'
import { fixture, furnish, ids, type Fixture } from './fixture.js'

type Tap = { teardown(fn: () => unknown): void }

async function house(t: Tap): Promise<Fixture> {
  const made = await fixture()
  t.teardown(() => made.close())
  furnish(made, 'running')
  return made
}
const usual = { packages: [], isRefreshed: true, reboot: 'if_needed' as const }
const ofA = upgradeContext({ ...usual, hostId: ids.hostA }, true)
const whole = {
  ...{ ...usual, clusterId: ids.cluster, hostIds: [ids.hostA, ids.hostB] },
  ...{ atOnce: 1, actor: 'local', upgraded: 0 }
}
const modes = ({ store }: Fixture) => [ids.hostA, ids.hostB].map(id => host(store.read, id).mode)

t.test('a host with nothing to upgrade keeps its VMs', async t => {
  const made = await house(t)
  const job = await made.run('host.upgrade', ofA)
  t.match(job.result, { note: 'nothing to upgrade' })
  t.equal(vm(made.store.read, ids.vm).hostId, ids.hostA)
  t.strictSame(made.world.effects, [])
})

t.test('a host is emptied, upgraded, rebooted and in service again', async t => {
  const made = await house(t)
  const it = made.world.host(ids.hostA)
  it.upgrades.push('linux-image 1 2')
  it.reboot = 'a new kernel'
  const job = await made.run('host.upgrade', ofA)
  t.equal(job.state, 'succeeded')
  t.match(job.result, { packages: 'linux-image 1 2', reboot: 'a new kernel' })
  const done = made.world.effects.filter(effect => /^(upgrade|reboot)/.test(effect))
  t.strictSame(done, [`upgrade ${ids.hostA}`, `reboot ${ids.hostA}`])
  t.equal(host(made.store.read, ids.hostA).mode, 'active')
  t.equal(vm(made.store.read, ids.vm).hostId, ids.hostB)
})

t.test('a host that was in maintenance is upgraded, and stays there', async t => {
  const made = await house(t)
  made.store.transaction(tx => updateHost(tx, ids.hostB, { mode: 'maintenance' }))
  made.world.host(ids.hostB).upgrades.push('x 1 2')
  const job = await made.run('host.upgrade', upgradeContext({ ...usual, hostId: ids.hostB }, false))
  t.equal(job.state, 'succeeded')
  t.equal(host(made.store.read, ids.hostB).mode, 'maintenance')
  t.strictSame(made.world.host(ids.hostB).upgrades, [])
})

t.test('a host whose upgrade failed stays in maintenance, and the next ones are not begun', async t => {
  const made = await house(t)
  for (const id of whole.hostIds) made.world.host(id).upgrades.push('x 1 2')
  // The first look passes; the installation fails.
  made.world.chaos.before = (_, verb) => {
    if (verb === 'UpgradePackages' && host(made.store.read, ids.hostA).mode === 'maintenance')
      made.world.fail('UpgradePackages', 'COMMAND_FAILED')
  }
  const job = await made.run('cluster.upgrade', whole)
  t.equal(job.state, 'undone')
  t.match(job.turnedBack?.message, /host host0 failed: .*; 0 of 2 hosts are upgraded/)
  t.strictSame(modes(made), ['maintenance', 'active'])
  t.equal(jobOrNull(made.store.read, derivedId(job.id, `upgrade/${ids.hostB}`)), null)
})

t.test('a host that cannot be emptied goes back into service, and stops the upgrade', async t => {
  const made = await house(t)
  for (const id of whole.hostIds) made.world.host(id).upgrades.push('x 1 2')
  made.store.transaction(tx => updateHost(tx, ids.hostB, { mode: 'maintenance' }))
  const job = await made.run('cluster.upgrade', { ...whole, hostIds: [ids.hostA] })
  t.match(job.turnedBack?.message, /VMs cannot leave/)
  t.strictSame(modes(made), ['active', 'maintenance'])
  t.strictSame(made.world.host(ids.hostA).upgrades, ['x 1 2'])
})

t.test('all hosts are upgraded one after the other, and the VM has moved twice', async t => {
  const made = await house(t)
  for (const id of whole.hostIds) made.world.host(id).upgrades.push('x 1 2')
  const job = await made.run('cluster.upgrade', whole)
  t.equal(job.state, 'succeeded', String(job.turnedBack?.message))
  t.strictSame(modes(made), ['active', 'active'])
  t.strictSame(
    made.world.effects.filter(effect => effect.startsWith('upgrade')),
    [`upgrade ${ids.hostA}`, `upgrade ${ids.hostB}`]
  )
  t.equal(vm(made.store.read, ids.vm).hostId, ids.hostA)
})
