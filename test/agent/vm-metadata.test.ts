import fc from 'fast-check'
import t from 'tap'
import { decodeRecord, encodeRecord, type VmRecord } from '../../agent/vm-metadata.js'

const record: VmRecord = {
  vmId: '8aeb98d1-292b-4fbc-8ce6-c1da32171cfc',
  generation: 12,
  spec: {
    ...{ vmId: '8aeb98d1-292b-4fbc-8ce6-c1da32171cfc', name: 'süß', vcpus: 1, memoryBytes: 2 ** 25 },
    ...{ cpuModel: null, machineType: 'pc-q35-7.2', firmware: 'bios', disks: [], nics: [], lease: null },
    graphics: false
  },
  startedBy: 'r',
  phase: 'started',
  startedAt: 1,
  isPausedByUser: false,
  migration: null,
  exit: null
}

t.test('a record is read as it was written', async t => {
  t.strictSame(decodeRecord(encodeRecord(record)), record)
})

t.test('its text is plain ASCII for any name, so that libvirt gives it back unchanged', async t => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), name => {
      const written = encodeRecord({ ...record, spec: { ...record.spec, name } })
      t.match(written.text, /^[\x20-\x7e]*$/)
      return decodeRecord(written).spec.name === name
    }),
    { numRuns: 200 }
  )
})

const { attributes, text } = encodeRecord(record)
const broken: Array<[why: string, metadata: { attributes: Record<string, string>; text: string }]> = [
  ['of a newer format', { attributes: { ...attributes, format: '2' }, text }],
  ['without generation', { attributes: { format: '1', id: record.vmId }, text }],
  ['that is no JSON', { attributes, text: text.slice(1) }],
  ['that is another kind of JSON', { attributes, text: '[1]' }],
  ['without a spec', { attributes, text: '{"startedBy":"r"}' }],
  ['of another VM', { attributes: { ...attributes, id: 'other' }, text }]
]
for (const [why, metadata] of broken) {
  t.test(`metadata ${why} is refused with a reason, and the VM is quarantined`, async t => {
    t.throws(() => decodeRecord(metadata), /the metadata of the VM/)
  })
}
