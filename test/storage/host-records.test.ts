import t from 'tap'
import { MiB, seconds } from '../../common/units.js'
import { hostIdOffset } from '../../storage/format/leases-layout.js'
import { unusedHostRecord, writeSanlockRecord } from '../../storage/format/sanlock-record.js'
import { hostRecords, HostWatch, recordsLength } from '../../storage/host-records.js'

const geometry = { sectorSize: 512 as const, alignment: MiB(1) }
const record = (timestamp: number, generation = 1) => ({
  sanlockHostId: 7,
  hostName: 'host7',
  generation,
  timestamp
})

function ids(timestamp: bigint): Buffer {
  const area = Buffer.alloc(recordsLength(geometry))
  const unused = unusedHostRecord('lockspace', 512, MiB(1), 1)
  const used = { ...unused, ownerId: 7n, ownerGeneration: 3n, resource: 'host7', timestamp }
  writeSanlockRecord(used).copy(area, hostIdOffset(7, 512))
  writeSanlockRecord(unused).copy(area, hostIdOffset(8, 512))
  return area
}

t.test('records of host ids that were ever used are read, damaged ones are nobody', async t => {
  const area = ids(4711n)
  t.same(hostRecords(area, geometry), [
    { sanlockHostId: 7, hostName: 'host7', generation: 3, timestamp: 4711 }
  ])
  area[hostIdOffset(7, 512) + 60] = 0xff
  t.same(hostRecords(area, geometry), [], 'its checksum is wrong')
})

t.test('a host is judged by when its record changed before our eyes, never by its own clock', async t => {
  const watch = new HostWatch(seconds(10))
  const state = (now: number) => watch.hosts(seconds(now))[0]?.state
  watch.observe([record(100)], seconds(0))
  t.equal(state(0), 'unknown', 'we have only begun to look')
  t.equal(state(34), 'unknown', 'a living host may leave its record for so long')
  t.equal(state(36), 'failing', 'watched for longer than that')
  watch.observe([record(120)], seconds(40))
  t.equal(state(41), 'live', 'it was renewed')
  t.equal(state(75), 'live')
  t.equal(state(76), 'failing', '3 x 10 + 5 s without renewal')
  t.equal(state(179), 'failing')
  t.equal(state(180), 'expired', '8 x 10 + 60 s without renewal')
  watch.observe([record(0)], seconds(181))
  t.equal(state(181), 'free', 'given back')
  watch.observe([record(5, 2)], seconds(190))
  t.equal(state(191), 'live', 'another life')
})

t.test('ages are of our own clock', async t => {
  const watch = new HostWatch(seconds(1))
  watch.observe([record(9)], seconds(5))
  watch.observe([record(9)], seconds(7))
  t.match(watch.hosts(seconds(8)), [{ unchanged: 3, watched: 3 }])
})
