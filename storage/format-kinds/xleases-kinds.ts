import { type Bytes, MiB, bytes } from '../../common/units.js'
import { FormatError } from '../format/format-error.js'
import {
  type Header,
  decodeHeader,
  decodeRecord,
  encodeHeader,
  encodeRecord,
  freeRecord
} from '../format/xleases-record.js'
import {
  XleasesIndex,
  emptyIndex,
  formatWrites,
  indexSize,
  leaseOffset,
  recordCount
} from '../format/xleases.js'
import { At, type Json, type JsonObject, inputsOf, looksLikeJson, parseJson } from './json.js'
import type { Kind, KindOptions } from './kind.js'

/** The index does not state its alignment, but its records state their places: most of them decide. */
export function guessAlignment(index: Buffer): Bytes {
  const votes = new Map<number, number>()
  for (let record = 0; record < recordCount; record++) {
    const entry = decodeRecord(index.subarray(512 + record * 64, 576 + record * 64))
    if (entry.kind !== 'used') continue
    const alignment = Number(entry.offset) / (3 + record)
    if ([1, 2, 4, 8].includes(alignment / 2 ** 20)) votes.set(alignment, (votes.get(alignment) ?? 0) + 1)
  }
  const [most] = [...votes].toSorted(([, a], [, b]) => b - a)
  return bytes(most?.[0] ?? MiB(1))
}

export function leasesJson(index: XleasesIndex): JsonObject {
  return Object.fromEntries(
    index.leases().map(({ leaseId, offset, updating }) => [leaseId, { offset, updating }])
  )
}

/** What lookups answer where that is not plain: a record that an old version left half made. */
function lookupJson(index: XleasesIndex): JsonObject {
  const leases = index.leases()
  const updating = leases.filter(lease => lease.updating)
  if (updating.length === 0) return {}
  const whole = leases.find(lease => !lease.updating)
  const answers = updating.map((lease): [string, Json] => [lease.leaseId, 'NoSuchLease'])
  if (whole !== undefined) answers.push([whole.leaseId, whole.offset])
  return { lookup: Object.fromEntries(answers) }
}

export const xleasesIndex: Kind = {
  name: 'xleases-index',
  about: 'the index of external leases (253,952 bytes): which lease lies where',
  decode(content, options) {
    const sector = options.sectorSize ?? 512
    const alignment = alignmentOf(options, content)
    const index = XleasesIndex.loadForRebuild(content, alignment, sector)
    if (options.full) return fullJson(index)
    if (index.header.updating) return { error: 'IndexIsUpdating' }
    return { leases: leasesJson(index), ...lookupJson(index) }
  },
  encode(json, options) {
    const root = new At(json)
    const inputs = inputsOf(json)
    const from = (key: string) => (inputs.has(key) ? inputs.get(key) : root.get(key))
    const header: Header = {
      lockspace: from('lockspace').text(),
      formattedAt: from('mtime').size(),
      updating: false
    }
    const isUpdating = inputs.has('updating') && inputs.get('updating').boolean()
    const alignment = inputs.has('alignment')
      ? inputs.get('alignment').alignment()
      : bytes(options.alignment ?? MiB(1))
    const sector = inputs.has('blockSize')
      ? inputs.get('blockSize').sectorSize()
      : (options.sectorSize ?? 512)
    const index = XleasesIndex.load(emptyIndex(header), alignment, sector)
    if (inputs.has('steps')) for (const step of inputs.get('steps').list()) doStep(index, step)
    else if (inputs.has('leases')) putLeases(index, inputs.get('leases'))
    const content = index.bytes
    if (isUpdating) encodeHeader({ ...header, updating: true }).copy(content)
    return content
  }
}

/** With the header, and with the numbers of records that cannot be read. */
function fullJson(index: XleasesIndex): JsonObject {
  const records = Array.from({ length: recordCount }, (_, record) => record)
  return {
    ...headerJson(index.header),
    alignment: index.alignment,
    blockSize: index.sectorSize,
    leases: leasesJson(index),
    damagedRecords: records.filter(record => index.record(record).kind === 'damaged')
  }
}

function alignmentOf(options: KindOptions, content: Buffer): Bytes {
  if (options.alignment !== null) return bytes(options.alignment)
  return content.length < indexSize ? MiB(1) : guessAlignment(content)
}

function doStep(index: XleasesIndex, step: At): void {
  const leaseId = step.get('lease').text()
  switch (step.get('op').text()) {
    case 'add':
      index.put(leaseId, index.place(leaseId).record)
      return
    case 'remove':
      index.remove(leaseId)
      return
    default:
      throw step.get('op').wrong('"add" or "remove"')
  }
}

function putLeases(index: XleasesIndex, leases: At): void {
  for (const leaseId of Object.keys(leases.object())) {
    const place = leases.get(leaseId).get('offset')
    const record = place.number() / index.alignment - 3
    if (!Number.isInteger(record) || record < 0 || record >= recordCount)
      throw place.wrong('the place of a lease')
    const isUpdating = leases.get(leaseId).has('updating') && leases.get(leaseId).get('updating').boolean()
    index.put(leaseId, record, isUpdating)
  }
}

function headerJson(header: Header): JsonObject {
  return { lockspace: header.lockspace, mtime: header.formattedAt, updating: header.updating }
}

function headerOf(json: At): Header {
  return {
    lockspace: json.get('lockspace').text(),
    formattedAt: json.get('mtime').size(),
    updating: json.get('updating').boolean()
  }
}

function recordJson(record: Buffer): JsonObject {
  const entry = decodeRecord(record)
  if (entry.kind === 'used') return { lease: entry.leaseId, offset: entry.offset }
  throw new FormatError('invalid', entry.kind === 'free' ? 'the record is free' : entry.problem, 0)
}

/** The offsets of all records of which the example gives one, by the alignment that record 0 implies. */
function offsetsJson(offsets: At, alignment: Bytes): JsonObject {
  const records = Object.keys(offsets.object())
  for (const record of records)
    if (!/^\d{1,4}$/.test(record)) throw offsets.get(record).wrong('the place of a numbered record')
  return Object.fromEntries(records.map(record => [record, leaseOffset(Number(record), alignment)]))
}

function recordsDocument(
  json: Json,
  of: (entry: At, kind: 'record' | 'header', updating: boolean) => JsonObject
): Json {
  const root = new At(json)
  const first = root.get('record0').get('offset')
  const alignment = new At(first.number() / 3, `a third of ${first.path}`).alignment()
  const entry = (key: string, kind: 'record' | 'header', updating: boolean): JsonObject => ({
    [key]: { ...root.get(key).object(), ...of(root.get(key), kind, updating) }
  })
  return {
    ...root.object(),
    emptyRecord: freeRecord.toString('hex'),
    ...entry('record0', 'record', false),
    ...entry('updatingRecord', 'record', true),
    ...entry('header', 'header', false),
    ...entry('headerUpdating', 'header', true),
    leaseOffsets: offsetsJson(root.get('leaseOffsets'), alignment),
    maxRecords: recordCount,
    indexSize
  }
}

export const xleasesRecords: Kind = {
  name: 'xleases-records',
  about: 'single records (64 bytes) and the header (512 bytes) of the index of external leases',
  decode(content) {
    if (content.length === 64) return recordJson(content)
    if (!looksLikeJson(content)) return headerJson(decodeHeader(content))
    return recordsDocument(parseJson(content), (entry, kind) => {
      const hex = entry.get('hex').hex()
      return kind === 'header' ? headerJson(decodeHeader(hex)) : recordJson(hex)
    })
  },
  encode(json) {
    const root = new At(json)
    if (root.has('lease')) {
      const isUpdating = root.has('updating') && root.get('updating').boolean()
      return encodeRecord(root.get('lease').text(), root.get('offset').bigint(), isUpdating)
    }
    if (root.has('lockspace')) return encodeHeader(headerOf(root))
    return recordsDocument(json, (entry, kind, updating) => {
      const block =
        kind === 'header'
          ? encodeHeader(headerOf(entry))
          : encodeRecord(entry.get('lease').text(), entry.get('offset').bigint(), updating)
      return { hex: block.toString('hex') }
    })
  }
}

function recomputeWrites(json: Json): Json {
  const root = new At(json)
  const alignment = root.get('alignment').alignment()
  const sector = root.get('blockSize').sectorSize()
  const header = { lockspace: '00000000-0000-0000-0000-000000000001', formattedAt: 0 }
  const [whole, first] = formatWrites(header, alignment, sector)
  const index = XleasesIndex.load(emptyIndex({ ...header, updating: false }), alignment, sector)
  const adds = Array.from({ length: 10 }, (_, i) => {
    const write = index.put(`lease-${i}`, index.place(`lease-${i}`).record)
    return [write.offset, write.block.length]
  })
  return {
    ...root.object(),
    format: [
      [whole.offset, whole.block.length],
      [first.offset, first.block.length]
    ],
    firstTenAdds: adds
  }
}

export const xleasesWrites: Kind = {
  name: 'xleases-writes',
  about: 'which bytes are written when an index is formatted and leases are added',
  decode: content => recomputeWrites(parseJson(content)),
  encode: recomputeWrites
}
