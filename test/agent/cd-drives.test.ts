import { randomUUID } from 'node:crypto'
import { pino } from 'pino'
import t from 'tap'
import { withMedium } from '../../agent/cd-drives.js'
import { Disks, type VolumePort } from '../../agent/disks.js'
import { lockLevels } from '../../agent/tasks.js'
import { vmSpecMessage, vmSpecOf, type VmDisk, type VmSpec } from '../../agent/vm-spec.js'
import { Fields } from '../../common/fields.js'
import { Locks } from '../../common/locks.js'
import { domainXml } from '../../libvirt/domain-xml.js'
import { domainSpec } from '../../agent/start-vm.js'
import type { VmRecord } from '../../agent/vm-metadata.js'

const storageDomainId = randomUUID()
const medium = () => ({ storageDomainId, imageId: randomUUID(), volumeId: randomUUID() })
const signal = new AbortController().signal
const thrown = (work: () => void): unknown => {
  try {
    return work()
  } catch (error) {
    return error
  }
}

function specWith(change: Partial<VmSpec> = {}): VmSpec {
  return {
    ...{ vmId: randomUUID(), name: 'web', vcpus: 1, memoryBytes: 2 ** 28, cpuModel: null, machineType: null },
    ...{ firmware: 'bios', disks: [], nics: [], lease: null, graphics: false, ...change }
  }
}

/** Storage that remembers what is prepared. */
function storage(): { port: VolumePort; prepared: Map<string, number>; log: string[] } {
  const prepared = new Map<string, number>()
  const log: string[] = []
  const port: VolumePort = {
    prepare: async (_, { imageId }) => {
      log.push(`prepare ${imageId}`)
      prepared.set(imageId, (prepared.get(imageId) ?? 0) + 1)
      return [{ path: `/run/${imageId}`, format: 'raw', hasDirectIo: true }]
    },
    tearDown: async (_, imageId) => {
      log.push(`tear down ${imageId}`)
      prepared.delete(imageId)
    },
    leasesPath: () => ''
  }
  return { port, prepared, log }
}
const noLuns = { forVm: async () => '', canReserve: async () => false }
const disksOver = (port: VolumePort, others: (vmId: string) => VmSpec[] = () => []) =>
  new Disks(port, new Locks(lockLevels), pino({ level: 'silent' }), noLuns, others)

t.test('an image that several VMs use is let go of with the last of them', async t => {
  const { port, prepared } = storage()
  const disks = disksOver(port)
  const iso = medium()
  const [a, b] = [specWith({ cdDrives: [{ medium: iso }] }), specWith({ cdDrives: [{ medium: iso }] })]
  await disks.prepare(a, signal)
  await disks.prepare(b, signal)
  await disks.tearDown(a)
  t.ok(prepared.has(iso.imageId), 'the other one still has it')
  await disks.tearDown(b)
  t.notOk(prepared.has(iso.imageId))
})

t.test('a VM that an earlier life of the agent started counts too', async t => {
  const { port, log } = storage()
  const iso = medium()
  const running = specWith({ cdDrives: [{ medium: iso }] })
  const disks = disksOver(port, () => [running])
  const other = specWith({ cdDrives: [{ medium: iso }] })
  await disks.prepare(other, signal)
  await disks.tearDown(other)
  t.strictSame(log, [`prepare ${iso.imageId}`])
})

t.test('who lets go of an image waits for nobody that wants it, and takes it from nobody', async t => {
  const { port, prepared } = storage()
  const disks = disksOver(port)
  const iso = medium()
  const [a, b] = [specWith(), specWith()]
  await disks.prepareMedium(a.vmId, iso, signal)
  await Promise.all([disks.letGoOfMedium(a.vmId, iso), disks.prepareMedium(b.vmId, iso, signal)])
  t.ok(prepared.has(iso.imageId))
})

t.test('CDs come behind the disks, or before them', async t => {
  const disk: VmDisk = {
    ...{ ...medium(), diskId: randomUUID(), bus: 'virtio', slot: 1, readOnly: false, cdrom: false }
  }
  for (const [bootFromCd, order] of [
    [false, [1, 2, 3]],
    [true, [3, 1, 2]]
  ] as const) {
    const spec = specWith({ disks: [disk], cdDrives: [{ medium: null }, { medium: medium() }], bootFromCd })
    const prepared = await disksOver(storage().port).prepare(spec, signal)
    t.strictSame(
      prepared.map(({ boot }) => boot),
      order
    )
    t.match(prepared[1], { diskId: 'cd-1', chain: [], isCdrom: true })
  }
})

t.test('an empty drive is a drive without a source, on SATA and read-only', async t => {
  const spec = specWith({ cdDrives: [{ medium: null }] })
  const prepared = await disksOver(storage().port).prepare(spec, signal)
  const record: VmRecord = {
    ...{ vmId: spec.vmId, generation: 1, spec, startedBy: '', phase: 'started', startedAt: null },
    ...{ isPausedByUser: false, migration: null, exit: null }
  }
  const world = { config: { ovmf_code: '', ovmf_variables: '' } } as Parameters<typeof domainSpec>[0]
  const xml = domainXml(domainSpec(world, record, prepared, 'tcg'))
  const [drive = ''] = /<disk .*?<\/disk>/s.exec(xml) ?? []
  t.match(drive, /device="cdrom"/)
  t.match(drive, /<target dev="sda" bus="sata"\/>/)
  t.match(drive, /<readonly\/>/)
  t.notMatch(drive, /<source/)
})

t.test('what is in a drive is another, and the rest as it was', async t => {
  const [first, second] = [medium(), medium()]
  const spec = specWith({ cdDrives: [{ medium: first }, { medium: null }] })
  t.strictSame(withMedium(spec, 2, second).cdDrives, [{ medium: first }, { medium: second }])
  t.strictSame(withMedium(spec, 1, null).cdDrives, [{ medium: null }, { medium: null }])
  t.throws(() => withMedium(spec, 3, second), /without a CD-ROM drive 3/)
})

t.test('drives travel as they are, and what is wrong with them is named', async t => {
  const spec = specWith({ cdDrives: [{ medium: medium() }, { medium: null }], bootFromCd: true })
  const fields = new Fields(vmSpecMessage(spec))
  const read = vmSpecOf(fields)
  fields.throwIfWrong()
  t.match(read, { cdDrives: spec.cdDrives, bootFromCd: true })

  const wrong = (cdDrives: object[], path: string) => {
    const broken = new Fields({ ...vmSpecMessage(specWith()), cdDrives })
    vmSpecOf(broken)
    const fault = thrown(() => broken.throwIfWrong())
    t.match(fault, { reason: 'INVALID_REQUEST', violations: [{ field: path }] })
  }
  wrong([{ medium: { ...medium(), imageId: '../etc' } }], 'cd_drives[0].medium.image_id')
  wrong([{}, {}, {}, {}, {}], 'cd_drives')
})

t.test('what several VMs write is raw and past every cache', async t => {
  const disk: VmDisk = {
    ...{ ...medium(), diskId: randomUUID(), bus: 'scsi', slot: 1, readOnly: false, cdrom: false },
    shareable: true
  }
  const port = (format: 'raw' | 'qcow2', hasDirectIo: boolean): VolumePort => ({
    ...storage().port,
    prepare: async () => [{ path: '/run/x', format, hasDirectIo }]
  })
  const [a, b] = [specWith({ disks: [disk] }), specWith({ disks: [disk] })]
  const { port: whole, prepared } = storage()
  const disks = disksOver(whole)
  const [one] = await disks.prepare(a, signal)
  t.match(one, { isShareable: true, hasDirectIo: true })
  await disks.prepare(b, signal)
  await disks.tearDown(a)
  t.ok(prepared.has(disk.imageId), 'the other one still has it')
  await t.rejects(disksOver(port('qcow2', true)).prepare(a, signal), /it is not raw/)
  await t.rejects(disksOver(port('raw', false)).prepare(a, signal), /no direct I\/O/)
})
