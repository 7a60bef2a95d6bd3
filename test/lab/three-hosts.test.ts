import { randomUUID } from 'node:crypto'
import { chmod, copyFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { HaPolicy } from '../../proto/generated/types/drover/v1/HaPolicy.js'
import { root } from '../root.js'
import { Guests, type Guest } from './guests.js'
import { Lab, poll } from './lab.js'
import { World } from './world.js'

// Three hosts, one highly available VM, and power devices with moods. Whatever happens to its host, the VM runs
// once, its acknowledged writes are on its disk, and the audit finds nothing.
const world = new World(new Lab('t-three'), ['h1', 'h2', 'h3'])
const { lab } = world
const guests = new Guests(world)
const ioTimeout = 1
let web: Guest

t.before(async () => {
  await world.createHosts()
  await world.createStorage(undefined, ioTimeout)
  await world.createTemplate()
  await useFaultyDevices()
  web = await guests.start('web', 'h3')
  t.teardown(() => web.console[Symbol.dispose]())
})
t.teardown(() => world[Symbol.asyncDispose]())

async function useFaultyDevices(): Promise<void> {
  await copyFile(join(root, 'test/lab/bmc/fence_faulty'), join(lab.files, 'fence_faulty'))
  await chmod(join(lab.files, 'fence_faulty'), 0o755)
  const install = 'cp /lab/files/fence_faulty /usr/sbin/; systemctl restart drover-agent'
  await Promise.all(world.hypervisors.map(host => lab.shell(host, install)))
  for (const name of world.hypervisors) {
    const devices = [{ ...(await lab.powerDevice(name)), fenceAgent: 'fence_faulty' }]
    const host = { hostId: world.hostIds.get(name) ?? '', powerManagement: { enabled: true, devices } }
    const updateMask = { paths: ['power_management'] }
    await world.api.ask(world.services.host.UpdateHost, { requestId: randomUUID(), host, updateMask })
  }
  await Promise.all(world.hypervisors.map(host => world.whenUp(host)))
  await world.whenStorageActive()
}
const mood = (word: 'broken' | 'lies') => writeFile(join(lab.files, 'fence-mood'), word)
const truth = () => rm(join(lab.files, 'fence-mood'), { force: true })

const policy = async (ha: HaPolicy, path: string) => {
  const cluster = { clusterId: world.ids.cluster, ha }
  const updateMask = { paths: [path] }
  await world.api.ask(world.services.cluster.UpdateCluster, { requestId: randomUUID(), cluster, updateMask })
}
const skips = (skipFencingWhileLeaseLives: boolean) =>
  policy({ skipFencingWhileLeaseLives }, 'ha.skip_fencing_while_lease_lives')
const now = async () => {
  const vm = await world.vm(web.vmId)
  return { host: world.nameOf(vm.hostId), generation: BigInt(vm.vmGeneration) }
}
const lastEvent = async () => {
  const { events } = await world.api.ask(world.services.event.ListEvents, {
    ...{ pageSize: 1, orderBy: 'sequence desc' }
  })
  return Number(events[0]?.sequence ?? 0)
}
const told = (kind: string, after: number, seconds = 120) =>
  poll(`event ${kind}`, seconds, async () => {
    const { events } = await world.api.ask(world.services.event.ListEvents, {
      ...{ pageSize: 1000, filter: `kind = "${kind}"`, orderBy: 'sequence desc' }
    })
    return events.find(({ sequence }) => Number(sequence) > after) ?? null
  })
/** Started once elsewhere, with all that was acknowledged before. */
const restarted = async (
  t: Test,
  before: { host: string; generation: bigint },
  acknowledged: number,
  boots: number
) => {
  const vm = await guests.whenUp(web.vmId, before.generation + 1n)
  t.not(world.nameOf(vm.hostId), before.host)
  t.strictSame(await guests.runningOn(web.vmId), [world.nameOf(vm.hostId)])
  const found = await poll('the guest boots', 240, async () => web.console.found[boots] ?? null)
  t.ok(found >= acknowledged, `${found} found, ${acknowledged} acknowledged`)
}
/** The same life on the same host. */
const lived = async (t: Test, before: { host: string; generation: bigint }, boots: number) => {
  const vm = await guests.whenUp(web.vmId, before.generation)
  t.equal(world.nameOf(vm.hostId), before.host)
  t.strictSame(await guests.runningOn(web.vmId), [before.host])
  await guests.writesOn(web.console)
  t.equal(web.console.found.length, boots, 'the guest did not boot again')
}
const allWell = async (t: Test, host: string) => {
  if (!(await lab.isPowered(host))) await lab.on(host)
  await world.whenUp(host)
  await world.whenStorageActive()
  t.strictSame(await world.violations(), [], 'the audit finds nothing')
}

t.test('after a power cut the VM restarts elsewhere, by the proof of its power device', async t => {
  const before = await now()
  const boots = web.console.found.length
  const since = await lastEvent()
  await lab.off(before.host)
  await restarted(t, before, web.console.lastAcknowledged, boots)
  t.match((await told('vm.restarting', since)).text, 'power off')
  await allWell(t, before.host)
})

t.test('an agent that stands still costs no VM, and its host is not switched off', async t => {
  const before = await now()
  const boots = web.console.found.length
  const since = await lastEvent()
  const main = () => lab.exec(before.host, ['systemctl', 'show', '-P', 'MainPID', 'drover-agent'])
  const frozen = await main()
  await lab.shell(before.host, `kill -STOP ${frozen}`)
  await told('host.connecting', since)
  await poll('systemd starts another agent', 120, async () => ((await main()) === frozen ? null : true))
  await world.whenUp(before.host)
  await lived(t, before, boots)
  t.equal(await lab.isPowered(before.host), true)
  await allWell(t, before.host)
})

t.test(
  'a host whose cable was pulled is switched off where the policy wants that, then its VM restarts',
  async t => {
    await skips(false)
    const before = await now()
    const boots = web.console.found.length
    await lab.link(before.host, 'down')
    const acknowledged = web.console.lastAcknowledged
    await poll('its power is cut', 120, async () => ((await lab.isPowered(before.host)) ? null : true))
    await restarted(t, before, acknowledged, boots)
    await skips(true)
    await allWell(t, before.host)
  }
)

t.test(
  'a power device that lies about a host that lives proves nothing where its answers have to last',
  async t => {
    await policy({ statusGapSeconds: 30 }, 'ha.status_gap_seconds')
    const before = await now()
    const boots = web.console.found.length
    const since = await lastEvent()
    await mood('lies')
    await lab.link(before.host, 'down')
    await told('host.non_responsive', since)
    // Without the renewals of its lease, which are seen, the lie would be believed after 30 s.
    const end = performance.now() + 45_000
    while (performance.now() < end) t.strictSame(await guests.runningOn(web.vmId), [before.host])
    t.equal((await world.host(before.host)).status, 'HOST_STATUS_NON_RESPONSIVE')
    t.equal(await lab.isPowered(before.host), true)

    await lab.link(before.host, 'up')
    await world.whenUp(before.host)
    await truth()
    await policy({ statusGapSeconds: 1 }, 'ha.status_gap_seconds')
    await lived(t, before, boots)
    await allWell(t, before.host)
  }
)

t.test('with a power device that does not answer the VM waits for the end of its lease', async t => {
  const before = await now()
  const boots = web.console.found.length
  const since = await lastEvent()
  await mood('broken')
  await lab.off(before.host)
  const began = performance.now()
  await restarted(t, before, web.console.lastAcknowledged, boots)
  // A watchdog has 60 s to end what a lost lease protected.
  t.ok(performance.now() - began > 60_000, 'not before sanlock calls the host dead')
  t.match((await told('vm.restarting', since)).text, 'lease free')
  await truth()
  await allWell(t, before.host)
})
