import t from 'tap'
import { GiB, MiB, bytes } from '../../../common/units.js'
import {
  alignmentFor,
  freeSlot,
  isSpecialVolume,
  lastSlot,
  slotOffset,
  volumeLeaseOffset
} from '../../../storage/format/leases-layout.js'
import { normalRemotePath, vdsmMountName } from '../../../storage/format/remote-path.js'
import {
  extents,
  initialAllocation,
  largestOnBlock,
  roundUpLikeVdsm
} from '../../../storage/format/volume-sizes.js'

// The tables of the original software are in test/vectors; here is what they leave out.

t.test('slot 1 and the last slot lie where the description says, and so do their leases', async t => {
  t.strictSame([slotOffset(1), volumeLeaseOffset(1, MiB(1))], [1_056_768, 105_906_176])
  t.strictSame([slotOffset(1947), volumeLeaseOffset(1947, MiB(1))], [16_998_400, 2_146_435_072])
  t.equal(volumeLeaseOffset(1947, MiB(1)) + MiB(1), GiB(2), 'the last lease ends with the volume')
})

t.test('slots outside the volume are refused', async t => {
  for (const slot of [-1, 1948, 1.5, Number.NaN]) {
    t.throws(() => slotOffset(slot), { name: 'FormatError', reason: 'invalid' })
    t.throws(() => volumeLeaseOffset(slot, MiB(1)), { name: 'FormatError', reason: 'invalid' })
  }
})

t.test('when every slot is taken, there is none, instead of one beyond the leases', async t => {
  const all = Array.from({ length: lastSlot }, (_, i) => i + 1)
  t.throws(() => freeSlot(all), { name: 'FormatError', reason: 'noSpace' })
  t.equal(freeSlot(all.filter(slot => slot !== 1947)), 1947)
  t.equal(freeSlot([0]), 1, 'slot 0 is reserved')
})

t.test('a lockspace has 1 to 2000 hosts', async t => {
  for (const hosts of [0, 2001, 1.5])
    t.throws(() => alignmentFor(512, hosts), { name: 'FormatError', reason: 'invalid' })
})

t.test('the names of special volumes are no volumes of users', async t => {
  t.strictSame(['metadata', 'ids', 'master', lockName()].map(isSpecialVolume), [true, true, true, false])
})

const lockName = () => '57c1fe20-0000-4000-8000-dffad95c4614'

t.test('sums in floating point are cut where the original cuts them', async t => {
  t.equal(roundUpLikeVdsm(1.1, 1), 1)
  t.equal(roundUpLikeVdsm(1024.5, 512), 1024)
  t.equal(largestOnBlock(GiB(10)), MiB(11_264))
})

t.test('LVM gives whole extents', async t => {
  t.strictSame([bytes(1), MiB(128), bytes(MiB(128) + 1)].map(extents), [1, 1, 2])
})

t.test('a raw volume on block storage is preallocated and has no initial size', async t => {
  const raw = { format: 'raw' as const, capacity: GiB(1) }
  t.throws(() => initialAllocation({ ...raw, allocation: 'thin' }, null), {
    name: 'FormatError',
    reason: 'invalid'
  })
  const initial = () => initialAllocation({ ...raw, allocation: 'preallocated' }, MiB(1))
  t.throws(initial, { name: 'FormatError', reason: 'invalid' })
})

const remotes: Array<[remote: string, normal: string, directory: string]> = [
  ['nas:/a/./b/../c', 'nas:/a/c', 'nas:_a_c'],
  ['nas:/../x', 'nas:/x', 'nas:_x'],
  ['[fe80::1%eth0]://a', '[fe80::1%eth0]:/a', '[fe80::1%eth0]:_a'],
  ['//a', '/a', '_a'],
  ['nas:vol_1', 'nas:vol_1', 'nas:vol__1']
]

for (const [remote, normal, directory] of remotes) {
  t.test(`${remote} is ${normal}`, async t => {
    t.strictSame([normalRemotePath(remote), vdsmMountName(normal)], [normal, directory])
  })
}
