import fc from 'fast-check'
import t from 'tap'
import { domainFacts } from '../../libvirt/domain-facts.js'
import type { DomainSpec } from '../../libvirt/domain-spec.js'
import { domainXml } from '../../libvirt/domain-xml.js'
import { readXml, type XmlElement } from '../../libvirt/xml.js'

const uri = 'urn:drover:vm:1'
const spec: DomainSpec = {
  uuid: '8aeb98d1-292b-4fbc-8ce6-c1da32171cfc',
  name: 'drover-8aeb98d1-292b-4fbc-8ce6-c1da32171cfc',
  title: 'web <1>',
  metadata: { prefix: 'drover', uri, attributes: { format: '1', id: 'x' }, text: '{"a":"<&>"}' },
  accelerator: 'kvm',
  machineType: 'pc-q35-7.2',
  vcpus: 2,
  memoryBytes: 512 * 2 ** 20,
  cpuModel: null,
  firmware: { kind: 'bios' },
  disks: [
    {
      ...{ diskId: 'd1', bus: 'virtio', isCdrom: false, isReadOnly: false, slot: 3, hasDirectIo: true },
      chain: [
        { kind: 'file', path: '/run/drover/volumes/s/i/top', format: 'qcow2' },
        { kind: 'file', path: '/run/drover/volumes/s/i/base', format: 'raw' }
      ]
    },
    {
      ...{ diskId: 'd2', bus: 'scsi', isCdrom: false, isReadOnly: true, slot: 4, hasDirectIo: true },
      chain: [{ kind: 'file', path: '/run/drover/volumes/s/j/only', format: 'raw' }]
    },
    {
      ...{ diskId: 'd3', bus: 'sata', isCdrom: true, isReadOnly: true, slot: 0, hasDirectIo: true },
      chain: [{ kind: 'file', path: '/run/drover/volumes/s/k/iso', format: 'raw' }]
    }
  ],
  nics: [
    { mac: '52:54:00:00:00:01', bridge: 'br0', slot: 1 },
    { mac: '52:54:00:00:00:02', bridge: null, slot: 2 }
  ],
  lease: { lockspace: 's', key: 'v', path: '/x/xleases', offset: 3145728 },
  graphics: { password: 'secret' }
}

/** Every address of a device on the PCI buses, by what the device is called. */
function addresses(xml: string): Map<string, string> {
  const devices = readXml(xml).children.find(({ name }) => name === 'devices') as XmlElement
  const found = devices.children.flatMap(device => {
    const alias = device.children.find(({ name }) => name === 'alias')?.attributes['name']
    const address = device.children.find(({ name }) => name === 'address')?.attributes
    return alias && address ? [[alias, JSON.stringify(address)] as const] : []
  })
  return new Map(found)
}

t.test('what is written can be read back', async t => {
  const facts = domainFacts(domainXml(spec), uri)
  t.match(facts, {
    uuid: spec.uuid,
    title: 'web <1>',
    vcpus: 2,
    memoryBytes: 512 * 2 ** 20,
    hasGraphics: true
  })
  t.equal(facts.metadata?.text, '{"a":"<&>"}')
  t.strictSame(
    facts.disks.map(({ target, serial, chain }) => [target, serial, chain.map(({ format }) => format)]),
    [
      ['vda', 'd1', ['qcow2', 'raw']],
      ['sda', 'd2', ['raw']],
      ['sdb', 'd3', ['raw']]
    ]
  )
  t.strictSame(facts.leases, [{ lockspace: 's', key: 'v', path: '/x/xleases', offset: 3145728 }])
  t.strictSame(
    facts.nics.map(({ mac, bridge }) => [mac, bridge]),
    [
      ['52:54:00:00:00:01', 'br0'],
      ['52:54:00:00:00:02', null]
    ]
  )
})

t.test('a chain is spelled out to its end, so that QEMU follows no header', async t => {
  t.match(domainXml(spec), /<backingStore type="file">.*base.*<backingStore\/><\/backingStore>/)
})

t.test('a device keeps its address whatever else comes or goes', async t => {
  const whole = addresses(domainXml(spec))
  const fewer = addresses(domainXml({ ...spec, disks: spec.disks.slice(0, 1), nics: spec.nics.slice(1) }))
  for (const [alias, address] of fewer) t.equal(whole.get(alias), address, alias)
  t.equal(new Set(whole.values()).size, whole.size, 'no two devices share an address')
})

t.test('an emulated VM asks for no KVM', async t => {
  const xml = domainXml({ ...spec, accelerator: 'tcg' })
  t.match(xml, /<domain type="qemu">/)
  t.match(xml, /<cpu mode="maximum"\/>/)
})

t.test('a VM without a screen has no video, no USB and no VNC', async t => {
  const xml = domainXml({ ...spec, graphics: null })
  t.notMatch(xml, /<graphics|<input/)
  t.match(xml, /<model type="none"\/>/)
})

t.test('the screen is closed until a ticket is given', async t => {
  t.match(domainXml(spec), /passwdValidTo="1970-01-01T00:00:01"/)
})

const paths = (node: XmlElement, above = ''): string[] => {
  const path = `${above}/${node.name}`
  return [path, ...node.children.flatMap(inner => paths(inner, path))]
}
const legal = fc
  .string({ unit: 'grapheme', maxLength: 40 })
  .filter(text => !/[\u0000-\u001f\u007f-\u009f\ufffe\uffff]/.test(text))

t.test('no text can change the structure, and every text comes back as it was', async t => {
  const plain = paths(readXml(domainXml(spec)))
  fc.assert(
    fc.property(legal, title => {
      const xml = domainXml({ ...spec, title })
      t.strictSame(paths(readXml(xml)), plain)
      return readXml(xml).children.find(({ name }) => name === 'title')?.text === title
    }),
    { numRuns: 200 }
  )
})

t.test('XML with a document type, without an end, or too deep is refused', async t => {
  t.throws(() => readXml('<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>'), /XML of libvirt is/)
  t.throws(() => readXml('<a><b></a>'), /XML of libvirt is/)
  t.throws(() => readXml('<a>'.repeat(70) + '</a>'.repeat(70)), /XML of libvirt is/)
})
