import { randomUUID } from 'node:crypto'
import { pino } from 'pino'
import t from 'tap'
import { Disks } from '../../agent/disks.js'
import type { LunPort, VmLun } from '../../agent/luns.js'
import { domainSpec } from '../../agent/start-vm.js'
import { lockLevels } from '../../agent/tasks.js'
import type { VmRecord } from '../../agent/vm-metadata.js'
import { vmSpecMessage, vmSpecOf, type VmSpec } from '../../agent/vm-spec.js'
import { Fault } from '../../common/fault.js'
import { Fields } from '../../common/fields.js'
import { Locks } from '../../common/locks.js'
import { bytes } from '../../common/units.js'
import { domainXml } from '../../libvirt/domain-xml.js'
import type { LunContent } from '../../storage/connections/lun-contents.js'
import { throwUnlessForGuest, type Lun } from '../../storage/connections/luns.js'

const signal = new AbortController().signal
const wwid = '3600a098038303053453f463045727a51'

const lun = (change: Partial<VmLun> = {}): VmLun => ({
  ...{ diskId: randomUUID(), wwid, bus: 'scsi', slot: 2, readOnly: false, shareable: false },
  ...{ passthrough: false, reservations: false },
  ...change
})
function specWith(change: Partial<VmSpec>): VmSpec {
  return {
    ...{ vmId: randomUUID(), name: 'db', vcpus: 1, memoryBytes: 2 ** 28, cpuModel: null, machineType: null },
    ...{ firmware: 'bios', disks: [], nics: [], lease: null, graphics: false, ...change }
  }
}
const here: LunPort = {
  forVm: async ({ wwid: id }) => `/dev/disk/by-id/scsi-${id}`,
  canReserve: async () => true
}
const disksWith = (luns: LunPort) => {
  const volumes = { prepare: async () => [], tearDown: async () => {}, leasesPath: () => '' }
  return new Disks(volumes, new Locks(lockLevels), pino({ level: 'silent' }), luns)
}

async function xmlOf(spec: VmSpec): Promise<string> {
  const record: VmRecord = {
    ...{ vmId: spec.vmId, generation: 1, spec, startedBy: '', phase: 'started', startedAt: null },
    ...{ isPausedByUser: false, migration: null, exit: null }
  }
  const world = { config: { ovmf_code: '', ovmf_variables: '' } } as Parameters<typeof domainSpec>[0]
  return domainXml(domainSpec(world, record, await disksWith(here).prepare(spec, signal), 'tcg'))
}

t.test('a LUN is a block device of the host, lent to the VM', async t => {
  const xml = await xmlOf(specWith({ luns: [lun()], cdDrives: [{ medium: null }] }))
  const [disk = '', cd = ''] = xml.match(/<disk .*?<\/disk>/gs) ?? []
  t.match(disk, /<disk type="block" device="disk"/)
  t.match(disk, new RegExp(`<source dev="/dev/disk/by-id/scsi-${wwid}"`))
  t.notMatch(disk, /seclabel|shareable/, 'its node is relabelled for QEMU')
  t.match(disk, /cache="none"/)
  t.match(disk, /<serial>/)
  t.match(disk, /<boot order="1"/)
  t.match(cd, /<target dev="sdb" bus="sata"/, 'names go on behind it')
  t.match(cd, /<boot order="2"/)
  t.match(xml, /model="virtio-scsi"/)
})

t.test(
  'with passthrough it is a LUN of the guest, with its own serial number, and reservations on request',
  async t => {
    const change = { passthrough: true, reservations: true, shareable: true }
    const xml = await xmlOf(specWith({ luns: [lun(change)] }))
    const [disk = ''] = /<disk .*?<\/disk>/s.exec(xml) ?? []
    t.match(disk, /device="lun"/)
    t.match(disk, /<reservations managed="yes"\/>/)
    t.match(disk, /<shareable\/>/)
    t.notMatch(disk, /<serial>/)
  }
)

t.test('a host that cannot give the LUN says why, before anything is defined', async t => {
  const gone = { ...here, forVm: async () => Promise.reject(new Fault('WRONG_STATE', 'does not see it')) }
  await t.rejects(disksWith(gone).prepare(specWith({ luns: [lun()] }), signal), /does not see it/)
  const plain = { ...here, canReserve: async () => false }
  const wants = specWith({ luns: [lun({ passthrough: true, reservations: true })] })
  await t.rejects(disksWith(plain).prepare(wants, signal), /no qemu-pr-helper/)
})

t.test('LUNs travel as they are, and what is wrong with them is named', async t => {
  const spec = specWith({ luns: [lun({ passthrough: true, reservations: true })] })
  const fields = new Fields(vmSpecMessage(spec))
  const read = vmSpecOf(fields)
  fields.throwIfWrong()
  t.strictSame(read.luns, spec.luns)
  const wrong = (luns: object[], field: string) => {
    const broken = new Fields({ ...vmSpecMessage(specWith({})), luns })
    vmSpecOf(broken)
    let fault: unknown = null
    try {
      broken.throwIfWrong()
    } catch (error) {
      fault = error
    }
    t.match(fault, { violations: [{ field }] }, field)
  }
  wrong([{ ...lun(), wwid: '/etc/shadow', bus: 'DISK_BUS_SCSI' }], 'luns[0].wwid')
  wrong([{ ...lun(), bus: 'DISK_BUS_SATA' }], 'luns[0].bus')
  wrong([{ ...lun(), bus: 'DISK_BUS_SCSI', reservations: true }], 'luns[0].reservations')
  wrong(
    [
      { ...lun(), bus: 'DISK_BUS_SCSI' },
      { ...lun({ slot: 3 }), bus: 'DISK_BUS_SCSI' }
    ],
    'luns'
  )
})

const seen = (change: Partial<Lun> = {}): Lun => ({
  ...{
    wwid,
    device: '/dev/x',
    node: '/dev/sdb',
    size: bytes(2 ** 40),
    sectorSize: 512,
    vendor: '',
    product: ''
  },
  ...{ serial: '', transport: 'iscsi', isMultipath: false, isReadOnly: false, paths: [], users: [] },
  ...{ isSystem: false, ...change }
})
const xfs: LunContent[] = [{ kind: 'fileSystem', name: 'xfs' }]
const domain: LunContent[] = [{ kind: 'storageDomain', storageDomainId: randomUUID(), isReady: true }]
const cases: Array<[why: string, Lun, LunContent[] | null, boolean, refused: RegExp | null]> = [
  ['an empty one', seen(), [], false, null],
  ["one with a guest's file system", seen({ users: ['partition sdb1'] }), xfs, false, null],
  ["the host's own system", seen({ isSystem: true, users: ['mounted at /'] }), xfs, false, /own system/],
  ['one that the host has mounted', seen({ users: ['mounted at /srv'] }), xfs, false, /in use on this host/],
  ['one of a VG that the host has activated', seen({ users: ['vg-root'] }), [], false, /in use on this host/],
  ['a part of a storage domain', seen(), domain, false, /storage domain/],
  ['one that does not answer', seen(), null, false, /does not answer/],
  ['a read-only one to be written', seen({ isReadOnly: true }), [], false, /read-only/],
  ['a read-only one to be read', seen({ isReadOnly: true }), [], true, null]
]
for (const [why, found, contents, isReadOnly, refused] of cases) {
  t.test(`a VM ${refused ? 'does not get' : 'gets'} ${why}`, async t => {
    const look = () => throwUnlessForGuest(found, contents, isReadOnly)
    if (refused) t.throws(look, refused)
    else t.doesNotThrow(look)
  })
}
