import t from 'tap'
import { readOvf } from '../../agent/ovf.js'

const id = '0f1e2d3c-4b5a-4697-8877-665544332211'
const [disk, boot] = ['aaaaaaaa-1111-4222-8333-444444444444', 'bbbbbbbb-1111-4222-8333-444444444444']
const volume = 'cccccccc-1111-4222-8333-444444444444'

const item = (type: number, ...rest: string[]) =>
  `<Item><rasd:ResourceType>${type}</rasd:ResourceType>${rest.join('')}</Item>`
const envelope = (content: string, disks = '') => `<?xml version="1.0" encoding="UTF-8"?>
<ovf:Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1/" xmlns:rasd="r" xmlns:xsi="x" ovf:version="4.4.0.0">
<Section xsi:type="ovf:DiskSection_Type"><Info>List of Virtual Disks</Info>${disks}</Section>
<Content ovf:id="out" xsi:type="ovf:VirtualSystem_Type">${content}</Content></ovf:Envelope>`

const whole = envelope(
  `<Name>db &amp; web</Name><Description>two
lines\u202e</Description><TemplateId>00000000-0000-0000-0000-000000000000</TemplateId><BiosType>3</BiosType>
<Section xsi:type="ovf:VirtualHardwareSection_Type">
${item(3, '<rasd:num_of_sockets>2</rasd:num_of_sockets><rasd:cpu_per_socket>3</rasd:cpu_per_socket>')}
${item(4, '<rasd:VirtualQuantity>2048</rasd:VirtualQuantity>')}
${item(17, `<rasd:HostResource>${disk}/${volume}</rasd:HostResource>`)}
${item(17, `<rasd:HostResource>${boot}/${volume}</rasd:HostResource>`)}
${item(17, '<rasd:HostResource>../../etc/passwd</rasd:HostResource>')}
${item(10, '<rasd:MACAddress>56:6F:1A:00:00:01</rasd:MACAddress>')}
${item(10, '<rasd:MACAddress>&lt;evil/&gt;</rasd:MACAddress>')}
</Section>`,
  `<Disk ovf:diskId="${volume}" ovf:fileRef="${disk}/${volume}" ovf:disk-interface="VirtIO_SCSI" ovf:boot="false"/>
   <Disk ovf:diskId="${volume}" ovf:fileRef="${boot}/${volume}" ovf:disk-interface="IDE" ovf:boot="true"/>`
)

t.test(
  'a VM of oVirt is read: the disk to boot from first, and nothing that does not look right',
  async t => {
    t.strictSame(readOvf(id, whole), {
      ...{ id, name: 'db & web', description: 'two lines', isTemplate: false, vcpus: 6, memoryMiB: 2048 },
      ...{ isUefi: true, macs: ['56:6f:1a:00:00:01'], problem: '' },
      disks: [
        { diskId: boot, bus: 'sata', isBoot: true },
        { diskId: disk, bus: 'scsi', isBoot: false }
      ]
    })
  }
)

t.test('a template is told from a VM', async t => {
  t.ok(readOvf(id, envelope('<Name>t</Name><TemplateType>TEMPLATE</TemplateType>')).isTemplate)
  t.ok(readOvf(id, envelope(`<Name>t</Name><TemplateId>${id}</TemplateId>`)).isTemplate)
})

const hostile: Array<[what: string, text: string]> = [
  ['no XML', 'MZ\0\0'],
  ['a cut text', whole.slice(0, whole.length / 2)],
  ['entities of its own', `<!DOCTYPE x [<!ENTITY a "b">]>${envelope('<Name>&a;</Name>')}`],
  ['a bottomless nest', '<a>'.repeat(5000) + '</a>'.repeat(5000)],
  ['another document', '<html><body/></html>']
]
for (const [what, text] of hostile) {
  t.test(`${what} is a problem, and no more`, async t => {
    const { problem, name, disks } = readOvf(id, text)
    t.match(problem, /definition/)
    t.strictSame([name, disks], ['', []])
  })
}

t.test('numbers and names stay within bounds', async t => {
  const found = readOvf(
    id,
    envelope(
      `<Name>${'ä'.repeat(500)}</Name><Section>${item(3, '<rasd:num_of_sockets>999999999</rasd:num_of_sockets>')}
       ${item(4, '<rasd:VirtualQuantity>-5</rasd:VirtualQuantity>')}</Section>`
    )
  )
  t.strictSame([found.vcpus, found.memoryMiB, [...found.name].length], [512, 0, 64])
})
