import t from 'tap'
import { Fault } from '../../../common/fault.js'
import { bytes, GiB } from '../../../common/units.js'
import { isWwid } from '../../../common/address-rules.js'
import { type BlockDisk, parseWwid } from '../../../storage/connections/block-disks.js'
import { parseMounts } from '../../../storage/connections/device-uses.js'
import type { LunContent } from '../../../storage/connections/lun-contents.js'
import { type DeviceUse, groupLuns, judgeLun, throwUnlessUsable } from '../../../storage/connections/luns.js'

const wwid = '36001405aabbccddeeff00112233445566'
const sd = (name: string, change: Partial<BlockDisk> = {}): BlockDisk => ({
  name,
  size: GiB(10),
  sectorSize: 512,
  isReadOnly: false,
  wwid,
  vendor: 'LIO-ORG',
  product: 'one',
  serial: 'lab-one',
  address: '3:0:0:0',
  transport: 'iscsi',
  state: 'running',
  partitions: [],
  holders: [],
  slaves: [],
  mapper: null,
  ...change
})
const map = sd('dm-0', {
  address: null,
  slaves: ['sda', 'sdb'],
  holders: ['dm-1'],
  mapper: { name: wwid, uuid: `mpath-${wwid}` }
})
const lv = sd('dm-1', { wwid: null, mapper: { name: 'vg-root', uuid: 'LVM-x' } })
const lun = (disks: BlockDisk[], uses: DeviceUse[] = []) => {
  const [first] = groupLuns(disks, uses)
  if (!first) throw new RangeError('no LUN')
  return first
}

t.test('paths with one WWID are one LUN, used through multipath where it is there', async t => {
  const paths = [sd('sda', { holders: ['dm-0'] }), sd('sdb', { holders: ['dm-0'], state: 'offline' })]
  const found = groupLuns([...paths, { ...map, holders: [] }], [])
  t.match(found, [{ wwid, device: `/dev/mapper/${wwid}`, node: '/dev/dm-0', isMultipath: true, users: [] }])
  t.strictSame(found[0]?.paths, [
    { disk: 'sda', address: '3:0:0:0', state: 'running' },
    { disk: 'sdb', address: '3:0:0:0', state: 'offline' }
  ])
  t.match(lun([sd('sda')]), { device: `/dev/disk/by-id/scsi-${wwid}`, node: '/dev/sda', isMultipath: false })
})

t.test('disks that other hosts could not name, and empty drives, are no LUNs', async t => {
  t.strictSame(groupLuns([sd('sda', { wwid: null }), sd('sdb', { size: bytes(0) })], []), [])
})

const reasonOf = (work: () => void) => {
  try {
    work()
    return null
  } catch (error) {
    return error instanceof Fault ? error.reason : error
  }
}

const storageDomain: LunContent = { kind: 'storageDomain', storageDomainId: 'sd', isReady: true }
const ext: LunContent = { kind: 'fileSystem', name: 'ext' }
const root = { device: 'dm-1', use: 'mounted at /', isSystem: true }
const data = { device: 'sda1', use: 'mounted at /srv', isSystem: false }

const cases: Array<
  [why: string, disks: BlockDisk[], uses: DeviceUse[], contents: LunContent[] | null, state: string]
> = [
  ['an empty LUN is free', [sd('sda')], [], [], 'free'],
  ['a file system is foreign', [sd('sda')], [], [ext], 'foreign'],
  [
    'a partition table likewise',
    [sd('sda', { partitions: ['sda1'] })],
    [],
    [{ kind: 'partitionTable', name: 'GPT' }],
    'foreign'
  ],
  ['a foreign VG likewise', [sd('sda')], [], [{ kind: 'lvm', pvId: 'p', vg: 'vg' }], 'foreign'],
  ['a storage domain is in use', [sd('sda')], [], [storageDomain], 'used'],
  ['what is mounted is refused', [sd('sda', { partitions: ['sda1'] })], [data], [ext], 'refused'],
  [
    'the system disk never, below LVM and multipath',
    [sd('sda', { holders: ['dm-0'] }), map, lv],
    [root],
    [],
    'refused'
  ],
  ['a LUN below an active volume likewise', [sd('sda', { holders: ['dm-1'] }), lv], [], [ext], 'refused'],
  ['a LUN that does not answer likewise', [sd('sda')], [], null, 'refused'],
  ['a read-only LUN likewise', [sd('sda', { isReadOnly: true })], [], [], 'refused']
]
for (const [why, disks, uses, contents, state] of cases) {
  t.test(why, async t => {
    const found = lun(disks, uses)
    t.equal(judgeLun(found, contents).state, state)
    const refusal = reasonOf(() => throwUnlessUsable(found, contents, null))
    t.equal(refusal, state === 'free' ? null : 'LUN_IN_USE')
  })
}

t.test('a storage domain that is being made finds its own beginning, and no other', async t => {
  const half: LunContent = { kind: 'storageDomain', storageDomainId: 'sd', isReady: false }
  const pv = (vg: string | null): LunContent => ({ kind: 'lvm', pvId: 'p', vg })
  const free = lun([sd('sda')])
  const refusal = (contents: LunContent[], id: string | null, of = free) =>
    reasonOf(() => throwUnlessUsable(of, contents, id))
  t.equal(refusal([half], 'sd'), null)
  t.equal(refusal([pv(null)], 'sd'), null, 'nor does a PV that no VG has')
  t.equal(refusal([half], 'other'), 'LUN_IN_USE')
  t.equal(refusal([pv(null)], null), 'LUN_IN_USE')
  t.equal(refusal([pv('vg')], 'sd'), 'LUN_IN_USE')
  const system = lun([sd('sda', { holders: ['dm-1'] }), lv], [root])
  t.equal(refusal([half], 'sd', system), 'LUN_IN_USE')
})

t.test('WWIDs are spelled as udev and multipath do', async t => {
  t.equal(parseWwid('naa.6001405aabbccdd\n'), '36001405aabbccdd')
  t.equal(parseWwid('eui.0025385b71b0a1c2'), '20025385b71b0a1c2')
  t.equal(parseWwid('t10.ATA     QEMU HARDDISK   QM00001'), '1ATA_QEMU_HARDDISK_QM00001')
  t.equal(parseWwid('naa.../../x'), null)
  t.equal(parseWwid(''), null)
  for (const bad of ['', '-a', '../x', 'a/b', 'a b', 'x'.repeat(128)]) t.notOk(isWwid(bad), bad)
})

t.test('mounts without a device are left out', async t => {
  const mountinfo = `22 1 254:1 / / rw - ext4 /dev/vda1 rw\n23 22 0:21 / /proc rw - proc proc rw\n`
  t.strictSame(parseMounts(mountinfo), [{ number: '254:1', target: '/' }])
})
