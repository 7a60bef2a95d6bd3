import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { pino } from 'pino'
import t from 'tap'
import { Libvirt } from '../../../libvirt/connections.js'
import { createDomain, defineDomain, Domain } from '../../../libvirt/domain.js'
import type { DomainSpec } from '../../../libvirt/domain-spec.js'
import { domainXml } from '../../../libvirt/domain-xml.js'
import { tinyGuest } from '../libvirt/tiny-guest.js'
import type { Answer } from './client.js'
import { AgentWorld, diskless } from './world.js'

const world = await AgentWorld.start()
const libvirt = Libvirt.open({ log: pino({ level: 'silent' }), socketPath: world.libvirtd.socket })
const soon = () => AbortSignal.timeout(60_000)
t.teardown(async () => {
  await libvirt.close()
  await world[Symbol.asyncDispose]()
})
await libvirt.whenUp(soon())
const { client } = world
const state = async (verb: string, vmId: string) => (await client.task('vm', verb, { vmId }))['state']
const status = async (vmId: string) => (await world.vm(vmId))?.['status'] ?? 'none'
async function until(what: string, isTrue: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if (await isTrue()) return
    await setTimeout(100)
  }
  throw new Error(`never: ${what}`)
}

t.test('a VM is started, paused, resumed, reset and destroyed', async t => {
  const spec = diskless(randomUUID(), { name: `</name><devices> "&' ü`, graphics: true })
  const { vmId } = spec
  const task = await client.task('vm', 'StartVm', { vmGeneration: '3', spec })
  t.match(task, { state: 'TASK_STATE_SUCCEEDED', result: { vm_generation: '3', machine_type: /^pc-q35-/ } })
  t.match(await world.vm(vmId), { name: spec.name, vmGeneration: '3', vncSocket: /vnc\.sock$/, foreign: '' })
  t.equal(await state('PauseVm', vmId), 'TASK_STATE_SUCCEEDED')
  t.match(await world.vm(vmId), { status: 'VM_STATUS_PAUSED', pauseReason: 'PAUSE_REASON_USER' })
  t.equal(await state('PauseVm', vmId), 'TASK_STATE_SUCCEEDED', 'once more changes nothing')
  t.equal(await state('ResumeVm', vmId), 'TASK_STATE_SUCCEEDED')
  t.equal(await status(vmId), 'VM_STATUS_UP')
  t.equal(await state('ResetVm', vmId), 'TASK_STATE_SUCCEEDED')
  t.match(await client.mutate('vm', 'SetConsoleTicket', { vmId, password: 'secret12' }), {})
  t.notMatch(await world.log(), /secret12/, 'no ticket is ever logged')
  t.equal(await state('DestroyVm', vmId), 'TASK_STATE_SUCCEEDED')
  t.equal(await status(vmId), 'none')
})

t.test('the serial console shows what the firmware says, and ends with the VM', async t => {
  const spec = diskless()
  await client.task('vm', 'StartVm', { vmGeneration: '1', spec, paused: true })
  t.equal(await status(spec.vmId), 'VM_STATUS_PAUSED')
  const call = client.bidi('vm', 'OpenConsole')
  let text = ''
  const ended = new Promise(resolve => {
    call.on('end', resolve)
    call.on('error', resolve)
  })
  call.on('data', (output: Answer) => (text += output['data'].toString('latin1')))
  call.write({ open: { vmId: spec.vmId } })
  await setTimeout(500)
  await state('ResumeVm', spec.vmId)
  await until('SeaBIOS', async () => text.includes('SeaBIOS'))
  await state('DestroyVm', spec.vmId)
  await ended
  t.pass('it ended')
})

t.test('a QEMU that is killed is a crash, and says so until it is destroyed', async t => {
  const spec = diskless()
  await client.task('vm', 'StartVm', { vmGeneration: '1', spec })
  process.kill(await world.libvirtd.qemuOf(spec.vmId), 'SIGKILL')
  await until('down', async () => (await status(spec.vmId)) === 'VM_STATUS_DOWN')
  t.match(await world.vm(spec.vmId), { exitReason: 'crashed', failure: { message: /unexpectedly/ } })
  const again = await client.task('vm', 'StartVm', { vmGeneration: '2', spec })
  t.equal(again['state'], 'TASK_STATE_SUCCEEDED', 'and can be started again')
  t.match(await world.vm(spec.vmId), { vmGeneration: '2', exitReason: '' })
  await state('DestroyVm', spec.vmId)
})

t.test('after a restart of libvirtd, and of the agent, everything is as it was', async t => {
  const [running, paused, died] = [diskless(), diskless(), diskless()]
  for (const spec of [running, paused, died]) await client.task('vm', 'StartVm', { vmGeneration: '5', spec })
  await state('PauseVm', paused.vmId)
  await world.libvirtd.kill()
  await until('libvirtd is back', async () => (await state('ResumeVm', running.vmId).catch(() => '')) !== '')
  t.match(await world.vm(paused.vmId), { status: 'VM_STATUS_PAUSED', vmGeneration: '5' })

  await world.agentEnds('SIGKILL')
  process.kill(await world.libvirtd.qemuOf(died.vmId), 'SIGKILL')
  await world.startAgent()
  t.match(await world.vm(running.vmId), { status: /UP$/, vmGeneration: '5', spec: { vcpus: 1 } })
  t.match(await world.vm(paused.vmId), { status: 'VM_STATUS_PAUSED', pauseReason: 'PAUSE_REASON_USER' })
  t.match(await world.vm(died.vmId), {
    status: 'VM_STATUS_DOWN',
    vmGeneration: '5',
    exitReason: /crashed|lost/
  })
  for (const { vmId } of [running, paused, died]) await state('DestroyVm', vmId)
})

t.test('a stranger is shown and left alone; our own that cannot be read too', async t => {
  const stranger = tinyGuest({ name: 'stranger' })
  const domain = await createDomain(libvirt, { uuid: stranger.uuid, xml: stranger.xml }, soon())
  await until('seen', async () => (await world.vm(stranger.uuid))?.['foreign'] === 'external')
  t.match(await world.vm(stranger.uuid), { foreign: 'external', name: 'stranger', spec: null })
  await t.rejects(state('DestroyVm', stranger.uuid), { message: /is external; it is shown, never touched/ })

  const spec = diskless()
  await client.task('vm', 'StartVm', { vmGeneration: '1', spec })
  const metadata = { uri: 'urn:drover:vm:1', prefix: 'drover', xml: '<vm format="99">?</vm>' }
  await new Domain(libvirt, spec.vmId).setMetadata(metadata, { live: true, config: true }, soon())
  await world.agentEnds('SIGKILL')
  await world.startAgent()
  t.match(await world.vm(spec.vmId), { foreign: 'quarantined', name: 'tiny' })
  await t.rejects(state('DestroyVm', spec.vmId), { message: /is quarantined: .* format 99/ })
  t.equal((await world.libvirtd.pids('qemu-system-x86')).length, 2, 'both run on')

  await new Domain(libvirt, spec.vmId).destroy(soon())
  await new Domain(libvirt, spec.vmId).undefine(soon())
  await domain.destroy(soon())
  await until('forgotten', async () => (await client.call('vm', 'ListVms'))['vms'].length === 0)
})

t.test('libvirt accepts every kind of device that a VM can have', async t => {
  const chain = [
    { kind: 'file' as const, path: '/tmp/top', format: 'qcow2' as const },
    { kind: 'file' as const, path: '/tmp/base', format: 'raw' as const }
  ]
  const disk = { isCdrom: false, isReadOnly: false, hasDirectIo: true, chain }
  const spec: DomainSpec = {
    ...{
      uuid: randomUUID(),
      name: 'everything',
      title: 'a <b>',
      accelerator: 'tcg',
      machineType: 'pc-q35-7.2'
    },
    ...{ vcpus: 4, memoryBytes: 2 ** 28, cpuModel: 'qemu64', graphics: { password: 'x' } },
    metadata: { prefix: 'drover', uri: 'urn:drover:vm:1', attributes: { format: '1' }, text: '{}' },
    firmware: {
      kind: 'uefi',
      loader: '/usr/share/OVMF/OVMF_CODE_4M.fd',
      variablesTemplate: '/usr/share/OVMF/OVMF_VARS_4M.fd',
      variables: '/tmp/vars.fd'
    },
    disks: [
      { ...disk, diskId: randomUUID(), bus: 'virtio', slot: 1 },
      { ...disk, diskId: randomUUID(), bus: 'virtio', slot: 28 },
      { ...disk, diskId: randomUUID(), bus: 'scsi', slot: 28 },
      { ...disk, diskId: randomUUID(), bus: 'sata', slot: 0 },
      { ...disk, diskId: randomUUID(), bus: 'sata', slot: 0, isCdrom: true, isReadOnly: true }
    ],
    nics: [
      { mac: '52:54:00:00:00:01', bridge: 'br0', slot: 2 },
      { mac: '52:54:00:00:00:02', bridge: null, slot: 3 }
    ],
    lease: { lockspace: randomUUID(), key: randomUUID(), path: '/tmp/xleases', offset: 3 * 2 ** 20 }
  }
  const domain = await defineDomain(libvirt, domainXml(spec), soon())
  t.match(await domain.xml(soon(), { inactive: true }), /<controller type='scsi'.*model='virtio-scsi'/)
  await domain.undefine(soon())
})
