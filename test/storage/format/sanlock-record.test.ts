import fc from 'fast-check'
import t from 'tap'
import { MiB } from '../../../common/units.js'
import { crc32c } from '../../../storage/format/crc32c.js'
import { FormatError } from '../../../storage/format/format-error.js'
import {
  type HostProof,
  clearedHostRecord,
  hostIdCount,
  readSanlockRecord,
  unusedHostRecord,
  writeSanlockRecord
} from '../../../storage/format/sanlock-record.js'

const lockspace = '6e2d3c1a-0b7f-4c55-9a53-1f2e3d4c5b6a'

t.test('the record of a fresh SDM lease has the bytes and checksum of the description', async t => {
  const sector = writeSanlockRecord({
    ...unusedHostRecord('LS1', 512, MiB(1), 0),
    kind: 'paxos',
    version: 0x00060004,
    hosts: 2000n,
    maxHosts: 2000n,
    resource: 'SDM'
  })
  t.match(sector.toString('hex'), /^10201506040006001000000000020000d0070000/)
  t.equal(readSanlockRecord(sector)?.checksum, 0x7dc46378)
})

const held = writeSanlockRecord({
  ...unusedHostRecord(lockspace, 512, MiB(1), 10),
  ownerId: 3n,
  ownerGeneration: 7n,
  leaseVersion: 7n,
  resource: 'host3.b1c7',
  timestamp: 123_456n
})
const proof: HostProof = {
  lockspace,
  sanlockHostId: 3,
  hostName: 'host3.b1c7',
  generation: 7n,
  timestamp: 123_456n
}

t.test('a cleared record is the same with timestamp 0 and a checksum that fits', async t => {
  const cleared = clearedHostRecord(held, proof)
  const { checksum: _a, timestamp, ...before } = readSanlockRecord(held)!
  const { checksum: _b, timestamp: after, ...now } = readSanlockRecord(cleared)!
  t.strictSame(now, before)
  t.strictSame([timestamp, after], [123_456n, 0n])
  const differing = [...cleared.keys()].filter(at => cleared[at] !== held[at])
  t.ok(differing.every(at => (at >= 152 && at < 160) || (at >= 168 && at < 172)))
})

const objections: Array<[why: string, change: Partial<HostProof>, text: RegExp]> = [
  ['it was renewed after the host was seen off', { timestamp: 123_455n }, /renewed/],
  ['the host came back under a new generation', { generation: 6n }, /generation is 7/],
  ['another host has the id', { hostName: 'host4' }, /belongs to host host3/],
  ['it is the record of another id', { sanlockHostId: 4 }, /host id 3/],
  ['it belongs to another storage domain', { lockspace: 'other' }, /lockspace/]
]

for (const [why, change, text] of objections) {
  t.test(`a record is not cleared when ${why}`, async t => {
    t.throws(() => clearedHostRecord(held, { ...proof, ...change }), text)
  })
}

t.test('a record is not cleared when its checksum is wrong, or when it is none', async t => {
  const damaged = Buffer.from(held)
  damaged[60] = 0x78
  t.throws(() => clearedHostRecord(damaged, proof), /checksum/)
  t.throws(() => clearedHostRecord(Buffer.alloc(512), proof), /no host record/)
})

t.test('sectors without a lease, with another magic or of strange size are told apart', async t => {
  t.equal(readSanlockRecord(Buffer.alloc(512)), null)
  t.throws(() => readSanlockRecord(Buffer.alloc(512, 'x')), FormatError)
  t.throws(() => readSanlockRecord(Buffer.alloc(100)), { name: 'FormatError', reason: 'truncated' })
})

t.test('a lockspace has as many host ids as sanlock gives it', async t => {
  const counts = ([1, 2, 4, 8] as const).map(n => hostIdCount(4096, MiB(n)))
  t.strictSame([hostIdCount(512, MiB(1)), ...counts], [2000, 250, 500, 1000, 2000])
})

t.test('CRC-32C has its check value', async t => {
  t.equal(crc32c(Buffer.from('123456789')), 0xe3069283)
})

t.test('any sector gives a record, nothing, or a FormatError', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 512, maxLength: 512 }), fc.boolean(), (raw, isLease) => {
      const sector = Buffer.from(raw)
      if (isLease) sector.write('10202112', 0, 'hex')
      try {
        readSanlockRecord(sector)
        return true
      } catch (error) {
        return error instanceof FormatError
      }
    })
  )
})
