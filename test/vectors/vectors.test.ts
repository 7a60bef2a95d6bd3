import { writeFile } from 'node:fs/promises'
import t, { type Test } from 'tap'
import {
  type Entry,
  bytesOf,
  dataDirectory,
  decode,
  entriesOf,
  format,
  jsonOf,
  kindsInManifest
} from './manifest.js'

// The golden examples of the storage format, through the same door as an operator's: `drover-agent format`.

const encodeFile = async (t: Test, kind: string, json: unknown) => {
  const path = `${t.testdir()}/input.json`
  await writeFile(path, JSON.stringify(json))
  const { code, out, err } = await format('encode', kind, path)
  t.equal(code, 0, err)
  return out
}

// Structures in binary: what decoding prints, and which JSON makes the same bytes.
const binary: Record<string, { makes: (entry: Entry) => unknown }> = {
  'volume-metadata-block': { makes: entry => entry.inputs },
  'volume-metadata-file': { makes: entry => entry.inputs },
  'domain-metadata-file': { makes: entry => entry.inputs },
  'mailbox-page': { makes: entry => entry.expect },
  'mailbox-area': { makes: entry => entry.expect },
  'xleases-index': {
    makes: entry => (entry.inputs?.['steps'] || entry.description.startsWith('freshly') ? entry.inputs : null)
  }
}

for (const [kind, { makes }] of Object.entries(binary)) {
  t.test(`every ${kind} is read as the original software reads it`, async t => {
    const entries = entriesOf(kind)
    t.ok(entries.length > 0)
    for (const entry of entries) {
      const found = await decode(kind, `${dataDirectory}/${entry.file}`)
      const { offset: _offset, sanlockWriteResource: _calls, ...expected } = entry.expect ?? {}
      t.strictSame(found, expected, entry.file)
    }
  })

  t.test(`every ${kind} is written byte by byte as the original software writes it`, async t => {
    for (const entry of entriesOf(kind)) {
      const input = makes(entry)
      if (input == null) continue
      const out = await encodeFile(t, kind, input)
      t.ok(out.equals(bytesOf(entry)), entry.file)
    }
  })

  t.test(`every ${kind} is the same again after decoding and encoding`, async t => {
    if (kind === 'xleases-index' || kind === 'mailbox-area')
      return t.comment('decoding shows what counts, not all')
    for (const entry of entriesOf(kind)) {
      const decoded = await decode(kind, `${dataDirectory}/${entry.file}`)
      t.ok((await encodeFile(t, kind, decoded)).equals(bytesOf(entry)), entry.file)
    }
  })
}

// Worked examples in JSON: every result is thrown away and computed again, in both directions.
const worked: Record<string, { answers: string[] }> = {
  'mailbox-messages': { answers: ['hex'] },
  'mailbox-trace': { answers: ['queued'] },
  'mailbox-checksums': { answers: ['checksum', 'le4'] },
  'volume-metadata-overflow': { answers: ['bytes', 'error'] },
  'volume-metadata-parse': { answers: ['parsed', 'errors'] },
  'domain-metadata-vg-tags': { answers: ['vgTags', 'decodedLines', 'tagChanges', 'vg'] },
  'domain-metadata-parse': { answers: ['fields', 'error'] },
  'domain-metadata-checksum': { answers: ['sortedLines', 'sha1Input', 'checksum'] },
  'lvm-tag-encoding': { answers: ['encoded', 'decoded'] },
  'xleases-records': { answers: ['emptyRecord', 'maxRecords', 'indexSize'] },
  'xleases-writes': { answers: ['format', 'firstTenAdds'] },
  numbers: {
    answers: [
      ...['allocBytes', 'lvSizeMiB', 'lvExtents', 'error', 'blockCow', 'fileCow', 'raw', 'optimal', 'chunk'],
      ...['freeLimit', 'threshold', 'maxSize', 'nextSize', 'canExtend', 'to', 'alignment', 'metadataOffset'],
      ...['leaseOffset', 'freeV5', 'normalized', 'dir']
    ]
  },
  'lvm-commands': { answers: ['config', 'configNoLvmpolld'] },
  'qemu-img-commands': { answers: ['cwd'] }
}

/** The examples without their answers (but keeping lists that only have the same name). */
function questions(value: unknown, answers: string[], depth = 0): unknown {
  if (Array.isArray(value)) return value.map(item => questions(item, answers, depth + 1))
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).filter(([key, member]) => {
    const isTable = depth === 0 && Array.isArray(member) && key !== 'vgTags' && key !== 'format'
    return isTable || !answers.includes(key)
  })
  return Object.fromEntries(entries.map(([key, member]) => [key, questions(member, answers, depth + 1)]))
}

for (const [kind, { answers }] of Object.entries(worked)) {
  t.test(`the examples of ${kind} read the same when they are decoded`, async t => {
    for (const entry of entriesOf(kind)) {
      t.strictSame(await decode(kind, `${dataDirectory}/${entry.file}`), jsonOf(entry), entry.file)
    }
  })

  t.test(`the answers of ${kind} follow from the questions alone`, async t => {
    const entries = entriesOf(kind)
    t.ok(entries.length > 0)
    for (const entry of entries) {
      const out = await encodeFile(t, kind, questions(jsonOf(entry), answers))
      t.strictSame(JSON.parse(out.toString('utf8')), jsonOf(entry), entry.file)
    }
  })
}

t.test('a hexadecimal field that is missing is computed as well', async t => {
  const strip = (value: unknown) => questions(value, ['hex', 'slotsHex', 'last4'])
  for (const kind of ['mailbox-messages', 'xleases-records']) {
    for (const entry of entriesOf(kind)) {
      const out = await encodeFile(t, kind, strip(jsonOf(entry)))
      t.strictSame(JSON.parse(out.toString('utf8')), jsonOf(entry), entry.file)
    }
  }
})

t.test('a trace whose pages are replaced by their slots has the same bytes', async t => {
  const [entry] = entriesOf('mailbox-trace')
  const trace = jsonOf(entry!) as { steps: Array<{ page?: number; area?: string; hex?: unknown }> }
  const steps = trace.steps.map(step =>
    step.area === 'inbox' && step.page === 0 ? step : { ...step, hex: undefined }
  )
  const out = await encodeFile(t, 'mailbox-trace', { ...trace, steps })
  t.strictSame(JSON.parse(out.toString('utf8')), jsonOf(entry!))
})

t.test(
  'the slots of the special volume metadata hold the texts of their volumes, and make the volume again',
  async t => {
    const expected = JSON.parse(
      bytesOf({ file: 'domains/block-domain.json', kind: '', description: '' }).toString('utf8')
    ) as { slots: Record<string, { slot: number; metadataOffset: number }>; slotText: Record<string, string> }
    const [entry] = entriesOf('metadata-lv')
    const found = (await decode('metadata-lv', `${dataDirectory}/${entry!.file}`)) as {
      slotText: Record<string, string>
      slots: Record<string, { offset: number; errors: string[] }>
    }
    for (const [volume, { slot, metadataOffset }] of Object.entries(expected.slots)) {
      t.equal(found.slotText[slot], expected.slotText[volume], volume)
      t.equal(found.slots[slot]?.offset, metadataOffset)
      t.strictSame(found.slots[slot]?.errors, [])
    }
    t.ok((await encodeFile(t, 'metadata-lv', found)).equals(bytesOf(entry!)))
  }
)

t.test("LVM's text metadata gives the tags and slots of the expectations", async t => {
  const expected = JSON.parse(
    bytesOf({ file: 'domains/block-domain.json', kind: '', description: '' }).toString('utf8')
  ) as { slots: unknown; final: { lvs: string[] } }
  const [entry] = entriesOf('lvm-text-metadata')
  const found = (await decode('lvm-text-metadata', `${dataDirectory}/${entry!.file}`)) as {
    slots: unknown
    lvs: Record<string, { uuid: string; size: number; tags: string[] }>
  }
  t.strictSame(found.slots, expected.slots)
  for (const row of expected.final.lvs) {
    const [uuid = '', name = '', , , size, , , tags = ''] = row.split('|')
    const lv = found.lvs[name]
    t.strictSame([lv?.uuid, lv?.size, lv?.tags.join(',')], [uuid, Number(size), tags], name)
  }
})

const covered = [...Object.keys(binary), ...Object.keys(worked), 'metadata-lv', 'lvm-text-metadata']
const elsewhere = ['domain-archive', 'domain-expectations'] // in domains.test.ts

t.test('no kind of the manifest is left out', async t => {
  t.strictSame(kindsInManifest.toSorted(), [...covered, ...elsewhere].toSorted())
})
