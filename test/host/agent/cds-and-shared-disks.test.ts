import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { chown, mkdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { pino } from 'pino'
import { lunSpec } from '../../../agent/luns.js'
import { Libvirt } from '../../../libvirt/connections.js'
import { Domain, defineDomain } from '../../../libvirt/domain.js'
import { domainXml } from '../../../libvirt/domain-xml.js'
import { bootableCd } from './bootable-cd.js'
import type { Answer } from './client.js'
import { until } from './guest-on-disk.js'
import { storageDomain } from './storage.js'
import { AgentWorld, diskless } from './world.js'

// CDs that a guest reads, disks that two guests write, and a block device of the host, with a real agent over a real
// libvirtd and QEMU.

t.setTimeout(280_000)

const execute = promisify(execFile)
const world = await AgentWorld.start({ allowed_directories: ['/tmp'] })
t.teardown(() => world[Symbol.asyncDispose]())
const { storageDomainId } = await storageDomain(world)
await mkdir(join(world.root, 'import'), { recursive: true })

async function done(service: 'storage' | 'vm', method: string, request: object): Promise<Answer> {
  const task = await world.client.task(service, method, request)
  if (task['state'] !== 'TASK_STATE_SUCCEEDED')
    throw new Error(`${method}: ${JSON.stringify(task['failure'])}`)
  return task
}

type Medium = { storageDomainId: string; imageId: string; volumeId: string }

async function imported(label: string): Promise<Medium> {
  const source = join(world.root, 'import', `${label}.iso`)
  await writeFile(source, bootableCd(label))
  const medium = { storageDomainId, imageId: randomUUID(), volumeId: randomUUID() }
  const formats = { sourceFormat: 'DISK_FORMAT_ISO', format: 'DISK_FORMAT_RAW' }
  await done('storage', 'ImportImage', { ...medium, ...formats, source, description: label })
  return medium
}

/** What a VM says at its serial console. */
function consoleOf(vmId: string) {
  const stream = world.client.bidi('vm', 'OpenConsole')
  let text = ''
  stream.on('data', (output: Answer) => (text += output['data'].toString('latin1')))
  stream.on('error', () => {})
  stream.write({ open: { vmId } })
  return {
    says: (words: string) =>
      until(`the guest says ${words}`, 90, async () => text.includes(words)).catch((error: unknown) => {
        throw new Error(`${String(error)}, but ${JSON.stringify(text.slice(-300))}`)
      }),
    close: () => stream.cancel()
  }
}

const start = (spec: object) => done('vm', 'StartVm', { vmGeneration: '1', spec })
const refused = (service: 'storage' | 'vm', method: string, request: object) =>
  world.client.task(service, method, request).catch((error: unknown) => String(error))

const [one, two] = [await imported('ISO-ONE'), await imported('ISO-TWO')]

t.test('a guest boots from a CD, from the next one, and from none', async t => {
  const spec = diskless(randomUUID(), { cdDrives: [{ medium: one }, {}], bootFromCd: true })
  const { vmId } = spec
  await start(spec)
  const console = consoleOf(vmId)
  t.teardown(() => console.close())
  const change = (medium: Medium | null, more: object = {}) =>
    done('vm', 'ChangeCd', { vmId, vmGeneration: '1', medium, ...more })
  const reset = () => done('vm', 'ResetVm', { vmId })
  await console.says('ISO-ONE')
  await change(two)
  await reset()
  await console.says('ISO-TWO')
  t.match(await world.vm(vmId), { spec: { cdDrives: [{ medium: two }, { medium: null }] } })
  await done('storage', 'RemoveImage', { storageDomainId, imageId: (await imported('UNUSED.')).imageId })
  t.match(
    await refused('storage', 'RemoveImage', { storageDomainId, imageId: two.imageId }),
    /in use on this host/,
    'what is in a drive stays'
  )

  await world.agentEnds('SIGKILL')
  await world.startAgent()
  t.match(await world.vm(vmId), { spec: { cdDrives: [{ medium: two }, { medium: null }] } })
  await change(null)
  await reset()
  const later = consoleOf(vmId)
  t.teardown(() => later.close())
  await later.says('No bootable device')
  await change(one, { drive: 2 })
  t.match(await world.vm(vmId), { spec: { cdDrives: [{ medium: null }, { medium: one }] } })
  t.match(await refused('vm', 'ChangeCd', { vmId, drive: 3, medium: one }), /without a CD-ROM drive 3/)
  const lost = { ...one, imageId: randomUUID() }
  t.match(await refused('vm', 'ChangeCd', { vmId, medium: lost }), /not|no/)
  t.match(await world.vm(vmId), { spec: { cdDrives: [{ medium: null }, { medium: one }] } }, 'as it was')
  await change(one)
  await reset()
  await later.says('ISO-ONE')
  await done('vm', 'DestroyVm', { vmId })
})

t.test('an image in the drives of two VMs stays usable until both have let go of it', async t => {
  const specs = [1, 2].map(() => diskless(randomUUID(), { cdDrives: [{ medium: two }] }))
  for (const spec of specs) await start(spec)
  const [first, second] = specs.map(({ vmId }) => vmId)
  await done('vm', 'DestroyVm', { vmId: first })
  const remove = { storageDomainId, imageId: two.imageId }
  t.match(await refused('storage', 'RemoveImage', remove), /in use on this host/)
  await done('vm', 'ChangeCd', { vmId: second })
  await done('storage', 'RemoveImage', remove)
  await done('vm', 'DestroyVm', { vmId: second })
})

t.test('two VMs write one disk if it is shareable, and only then', async t => {
  const place = { imageId: randomUUID(), volumeId: randomUUID() }
  const kind = { format: 'DISK_FORMAT_RAW', allocation: 'ALLOCATION_POLICY_PREALLOCATED' }
  await done('storage', 'CreateVolume', {
    ...{ storageDomainId, ...place, ...kind, capacity: String(2 ** 20), description: 'shared' }
  })
  const disk = { diskId: randomUUID(), storageDomainId, ...place, slot: 1, bus: 'DISK_BUS_SCSI' }
  const specs = [true, true, false].map(shareable => {
    return diskless(randomUUID(), { disks: [{ ...disk, shareable }] })
  })
  const [first, second, alone] = specs as [object, object, object]
  await start(first)
  await start(second)
  t.match(await refused('vm', 'StartVm', { vmGeneration: '1', spec: alone }), /is used by VM/)
  t.equal((await world.libvirtd.pids('qemu-system-x86')).length, 2)
  for (const { vmId } of specs.slice(0, 2)) {
    t.match(await world.vm(vmId), { status: /POWERING_UP|UP$/ })
    await done('vm', 'DestroyVm', { vmId })
  }
  await done('storage', 'RemoveImage', { storageDomainId, imageId: place.imageId })
})

t.test('a block device of the host is lent to QEMU, and given back', async t => {
  const file = join(world.root, 'lun.img')
  await execute('truncate', ['-s', '8M', file])
  const { stdout } = await execute('losetup', ['--find', '--show', file])
  const device = stdout.trim()
  t.teardown(() => execute('losetup', ['--detach', device]))
  await chown(device, 0, 0)
  const lun = {
    ...{ diskId: randomUUID(), wwid: '3600a', bus: 'scsi' as const, slot: 1, readOnly: false },
    ...{ shareable: false, passthrough: false, reservations: false }
  }
  const uuid = randomUUID()
  const libvirt = Libvirt.open({
    ...{ log: pino({ level: 'silent' }), socketPath: world.libvirtd.socket },
    ...{ onUp: () => {}, onEvent: () => {} }
  })
  t.teardown(() => libvirt.close())
  const signal = AbortSignal.timeout(60_000)
  await until('libvirt is there', 20, async () => libvirt.isUp)
  const xml = domainXml({
    ...{ uuid, name: `drover-${uuid}`, title: 'lun', accelerator: 'tcg', machineType: 'q35', vcpus: 1 },
    ...{ memoryBytes: 2 ** 26, cpuModel: null, firmware: { kind: 'bios' }, nics: [], lease: null },
    metadata: { prefix: 'x', uri: 'urn:x', attributes: {}, text: '' },
    graphics: null,
    disks: [lunSpec(lun, device, 1)]
  })
  await defineDomain(libvirt, xml, signal)
  const domain = new Domain(libvirt, uuid)
  await domain.start(signal, { paused: true })
  t.match(await domain.xml(signal), new RegExp(`<source dev='${device}'`))
  await domain.destroy(signal)
  await domain.undefine(signal)
  const after = await stat(device)
  t.strictSame([after.uid, after.gid], [0, 0])
})
