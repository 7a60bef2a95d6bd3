import t from 'tap'
import type { DiskLimits } from '../../common/limits.js'
import {
  bandwidthElement,
  bandwidthOf,
  cpuTune,
  cpuTuneElement,
  ioTune,
  ioTuneElement
} from '../../libvirt/limits-xml.js'
import { diskTargets } from '../../libvirt/domain-xml.js'
import { writeXml, type XmlElement } from '../../libvirt/xml.js'

const text = (element: XmlElement | false) => (element ? writeXml(element) : '')
const noDisk: DiskLimits = {
  ...{ totalBytesSec: 0, readBytesSec: 0, writeBytesSec: 0, totalIopsSec: 0, readIopsSec: 0, writeIopsSec: 0 }
}

t.test('limits of the CPUs are shared among them', async t => {
  const xml = text(cpuTuneElement({ cpuLimits: { shares: 512, percent: 150 }, vcpus: 2 }))
  t.equal(xml, '<cputune><shares>512</shares><period>100000</period><quota>75000</quota></cputune>')
  t.equal(text(cpuTuneElement({ cpuLimits: null, vcpus: 2 })), '')
  t.strictSame(cpuTune({ shares: 0, percent: 1 }, 512), {
    shares: 1024,
    vcpuPeriod: 100_000,
    vcpuQuota: 1000
  })
  t.equal(cpuTune(null, 2).vcpuQuota, -1, 'no limit')
})

t.test(
  'only the limits of a disk that are set stand in its XML, and all of them go to libvirt later',
  async t => {
    const limits = { ...noDisk, readBytesSec: 2 ** 20, totalIopsSec: 100 }
    const xml =
      '<iotune><read_bytes_sec>1048576</read_bytes_sec><total_iops_sec>100</total_iops_sec></iotune>'
    t.equal(text(ioTuneElement(limits)), xml)
    t.match(ioTune(limits), { total_iops_sec: 100, write_iops_sec: 0 })
    t.ok(Object.values(ioTune(null)).every(value => value === 0))
  }
)

t.test('a nic is held to what it receives and sends', async t => {
  const inbound = { averageKibSec: 1000, peakKibSec: 2000, burstKib: 0 }
  const xml = '<bandwidth><inbound average="1000" peak="2000"/></bandwidth>'
  t.equal(text(bandwidthElement({ inbound, outbound: null })), xml)
  t.strictSame(bandwidthOf(null).inbound, { average: 0, peak: 0, burst: 0 })
})

t.test('disks have their names in libvirt by bus and order', async t => {
  const disks = (['virtio', 'scsi', 'virtio', 'sata'] as const).map(bus => ({ bus, isCdrom: false }))
  t.strictSame(diskTargets([...disks, { bus: 'virtio', isCdrom: true }]), ['vda', 'sda', 'vdb', 'sdb', 'sdc'])
})
