import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { Fault } from '../../../common/fault.js'
import { Secret } from '../../../common/secret.js'
import {
  attachDevice,
  detachDevice,
  setLifecycleAction,
  setMemory,
  updateDevice
} from '../../../libvirt/devices.js'
import { createDomain, defineDomain, findDomainByName, listDomains } from '../../../libvirt/domain.js'
import { agentCommand, guestInfo } from '../../../libvirt/guest-agent.js'
import * as host from '../../../libvirt/host.js'
import * as objects from '../../../libvirt/host-objects.js'
import {
  dumpCore,
  hasManagedSave,
  managedSave,
  removeManagedSave,
  restoreDomain,
  savedXml,
  saveDomain
} from '../../../libvirt/save.js'
import * as secrets from '../../../libvirt/secrets.js'
import { sendKeys } from '../../../libvirt/console.js'
import { setBlockIoTune, pinVcpu } from '../../../libvirt/tuning.js'
import { tinyGuest } from './tiny-guest.js'
import { libvirtWorld, soon } from './world.js'

t.setTimeout(120_000)

const ours = { uri: 'urn:drover:vm:1', prefix: 'drover' }
const live = { live: true }

const w = await libvirtWorld()
t.teardown(() => w[Symbol.asyncDispose]())

t.test('the life of a guest: defined, started, paused, resumed, reset, destroyed, forgotten', async t => {
  const { uuid, name, xml } = tinyGuest()
  const guest = await defineDomain(w.libvirt, xml, soon())
  t.equal(guest.uuid, uuid)
  t.match(await guest.state(soon()), { state: 'shutoff' })
  t.strictSame(await listDomains(w.libvirt, soon(), 'inactive'), [{ uuid, name, id: null }])
  t.ok(await guest.isPersistent(soon()))
  t.equal((await findDomainByName(w.libvirt, name, soon()))?.uuid, uuid)
  t.equal(await findDomainByName(w.libvirt, 'nobody', soon()), null)

  await guest.start(soon(), { paused: true })
  t.strictSame(await guest.state(soon()), { state: 'paused', reason: 'user' })
  await guest.resume(soon())
  t.strictSame(await guest.state(soon()), { state: 'running', reason: 'unpaused' })
  await guest.suspend(soon())
  await w.event('lifecycle', guest, event => event.change === 'suspended' && event.detail === 'paused')
  t.strictSame(await guest.state(soon()), { state: 'paused', reason: 'user' })
  await guest.resume(soon())
  await guest.reset(soon())
  await w.event('reboot', guest)
  await sendKeys(guest, [28], soon())
  await guest.shutdown('acpi', soon())
  await guest.setAutostart(false, soon())
  t.match(await guest.info(soon()), { maxMemoryKiB: 16384, vcpus: 1 })
  t.match(await guest.xml(soon(), { inactive: true }), /<domain type='qemu'>/)
  const again = await guest.start(soon()).catch((error: unknown) => error)
  t.ok(Fault.is(again, 'WRONG_STATE'))

  await guest.destroy(soon())
  await w.event('lifecycle', guest, event => event.change === 'stopped' && event.detail === 'destroyed')
  await guest.undefine(soon())
  t.equal(await guest.stateIfPresent(soon()), null)
  const gone = await guest.suspend(soon()).catch((error: unknown) => error)
  t.ok(Fault.is(gone, 'VM_NOT_FOUND'))
})

t.test('our metadata is kept beside the guest, and says when it changes', async t => {
  const guest = await w.boot()
  t.equal(await guest.metadata(ours.uri, soon()), null)
  await guest.setMetadata({ ...ours, xml: '<vm generation="12"><disk target="vda"/></vm>' }, live, soon())
  t.match(await guest.metadata(ours.uri, soon()), /<vm generation="12">\s*<disk target="vda"\/>\s*<\/vm>/)
  t.match(await w.event('metadataChange', guest), { type: 'element', uri: ours.uri })
  await guest.setMetadata({ ...ours, xml: null }, live, soon())
  t.equal(await guest.metadata(ours.uri, soon()), null)
})

t.test('devices come and change while the guest runs', async t => {
  const devices = `<graphics type='vnc' autoport='yes' listen='127.0.0.1' passwd='old'/><video><model type='vga'/></video>
    <disk type='file' device='cdrom'><target dev='hdc' bus='ide'/><readonly/></disk>`
  const guest = await w.boot({ devices })
  const rng = `<rng model='virtio'><backend model='random'>/dev/urandom</backend><alias name='ua-rng'/></rng>`
  await attachDevice(guest, rng, live, soon())
  await w.event('deviceAdded', guest, ({ alias }) => alias === 'ua-rng')
  await detachDevice(guest, 'ua-rng', live, soon())
  const missing = await detachDevice(guest, 'ua-none', live, soon()).catch((error: unknown) => error)
  t.ok(Fault.is(missing, 'LIBVIRT_FAILED'), 'libvirt 9.0 has no number of its own for an unknown alias')
  await updateDevice(
    guest,
    `<graphics type='vnc' autoport='yes' listen='127.0.0.1' passwd='new' passwdValidTo='2030-01-01T00:00:00'/>`,
    live,
    soon()
  )
  t.notMatch(await guest.xml(soon()), /passwd=/)
  t.match(await guest.xml(soon(), { secure: true }), /passwd='new'/)
  await setMemory(guest, 16384, live, soon())
  await setLifecycleAction(guest, 'CRASH', 'RESTART', live, soon())
  await pinVcpu(guest, 0, [0], live, soon())
  const none = await setBlockIoTune(guest, 'vdz', { total_iops_sec: 10 }, live, soon()).catch(
    (error: unknown) => error
  )
  t.ok(none instanceof Fault)
})

t.test('a guest without an agent says so at once', async t => {
  const devices = `<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>`
  const guest = await w.boot({ devices })
  for (const ask of [
    agentCommand(guest, { execute: 'guest-ping' }, soon()),
    guestInfo(guest, ['os'], soon())
  ]) {
    t.ok(Fault.is(await ask.catch((error: unknown) => error), 'GUEST_AGENT_UNAVAILABLE'))
  }
})

t.test('a guest is saved, dumped, and comes back from its file', async t => {
  const file = (name: string) => join(w.daemon.root, name)
  const { uuid, xml } = tinyGuest()
  const guest = await createDomain(w.libvirt, { uuid, xml }, soon())
  await dumpCore(guest, { to: file('core'), live: true }, soon())
  t.ok((await stat(file('core'))).size > 2 ** 20)
  await saveDomain(guest, { to: file('saved') }, soon())
  t.equal(await guest.stateIfPresent(soon()), null)
  t.match(await savedXml(w.libvirt, file('saved'), soon()), new RegExp(uuid))
  await restoreDomain(w.libvirt, { uuid, from: file('saved'), paused: true }, soon())
  t.match(await guest.state(soon()), { state: 'paused' })
  await guest.destroy(soon())

  const persistent = await defineDomain(w.libvirt, xml, soon())
  await persistent.start(soon())
  await managedSave(persistent, soon())
  t.ok(await hasManagedSave(persistent, soon()))
  await removeManagedSave(persistent, soon())
  t.notOk(await hasManagedSave(persistent, soon()))
  await persistent.undefine(soon())
})

t.test('what the host is and has', async t => {
  t.match(await host.nodeInfo(w.libvirt, soon()), { model: 'x86_64', numaNodes: Number })
  t.match(await host.hostCapabilities(w.libvirt, soon()), /<host>/)
  t.match(
    await host.domainCapabilities(w.libvirt, { arch: 'x86_64', virtType: 'qemu', machine: 'q35' }, soon()),
    /<domainCapabilities>/
  )
  t.match(await host.versions(w.libvirt, soon()), {
    libvirt: /^\d+\.\d+\.\d+$/,
    hypervisor: /^\d+\.\d+\.\d+$/
  })
  t.ok((await host.nodeCpuTimes(w.libvirt, soon()))['user'] ?? 0n)
  const memory = await host.nodeMemory(w.libvirt, soon())
  t.ok(memory.totalKiB > memory.freeKiB && memory.freeKiB > 0)
  t.ok((await host.cpuModels(w.libvirt, 'x86_64', soon())).includes('qemu64'))
  t.ok((await host.hostName(w.libvirt, soon())).length > 0)
  t.ok((await objects.listNodeDevices(w.libvirt, [], soon())).includes('computer'))
  t.match(await objects.nodeDevice(w.libvirt, 'computer', soon()), /<device>/)
})

t.test('secrets, networks and filters come and go, and twice is as good as once', async t => {
  const uuid = '22222222-2222-4333-8444-555555555555'
  await secrets.defineSecret(
    w.libvirt,
    `<secret ephemeral='yes' private='yes'><uuid>${uuid}</uuid></secret>`,
    soon()
  )
  await secrets.setSecretValue(w.libvirt, uuid, new Secret('canary'), soon())
  t.strictSame(await secrets.listSecrets(w.libvirt, soon()), [{ uuid, usage: 'none', usageId: '' }])
  t.strictSame(await secrets.findSecret(w.libvirt, uuid, soon()), { uuid, usage: 'none', usageId: '' })
  for (let times = 0; times < 2; times++) await secrets.removeSecret(w.libvirt, uuid, soon())
  t.equal(await secrets.findSecret(w.libvirt, uuid, soon()), null)

  const network = `<network><name>n</name><forward mode='bridge'/><bridge name='lo'/></network>`
  await objects.ensureNetwork(w.libvirt, network, soon())
  t.strictSame(
    (await objects.listNetworks(w.libvirt, soon())).map(({ name }) => name),
    ['n']
  )
  for (let times = 0; times < 2; times++) await objects.removeNetwork(w.libvirt, 'n', soon())
  t.strictSame(await objects.listNetworks(w.libvirt, soon()), [])
  const filter = await objects.defineNwfilter(
    w.libvirt,
    `<filter name='f'><rule action='drop' direction='in'/></filter>`,
    soon()
  )
  t.ok((await objects.listNwfilters(w.libvirt, soon())).some(({ uuid }) => uuid === filter))
})
