import {
  decodeTag,
  encodeTag,
  metadataLines,
  metadataTagChange,
  metadataTags,
  readMetadataTags,
  readyTag
} from '../format/block-tags.js'
import { FormatError } from '../format/format-error.js'
import {
  type MetadataPairs,
  encodedForSeal,
  metadataFileLines,
  readLines,
  readMetadataFile,
  sealOf,
  sortedLines,
  writeMetadataFile
} from '../format/metadata-pairs.js'
import { parseInteger } from '../format/text.js'
import { At, type Json, type JsonObject, looksLikeJson, parseJson, recomputed } from './json.js'
import type { Kind } from './kind.js'

// Fields as VDSM names and types them: storage types and classes are numbers, pools a list, the rest text or
// integers. Everything that is no known field stays the text it is.

const types = ['UNKNOWN', 'NFS', 'FCP', 'ISCSI', 'LOCALFS', 'CIFS', 'POSIXFS', 'GLUSTERFS']
const classes = ['', 'Data', 'Iso', 'Backup']
const integers = ['VERSION', 'BLOCK_SIZE', 'ALIGNMENT']
const integersWithDefault: Record<string, bigint> = {
  LOCKRENEWALINTERVALSEC: 5n,
  LEASETIMESEC: 60n,
  IOOPTIMEOUTSEC: 10n,
  LEASERETRIES: 3n
}
const blockIntegersWithDefault: Record<string, bigint> = { LOGBLKSIZE: 512n, PHYBLKSIZE: 512n }

export type Place = 'file' | 'block'

export function fieldsJson(pairs: MetadataPairs, place: Place): JsonObject {
  return Object.fromEntries([...pairs].map(([key, value]) => [key, fieldJson(key, value, place)]))
}

function fieldJson(key: string, value: string, place: Place): Json {
  const numberOf = (names: string[]) => names.findIndex(name => name !== '' && name === value)
  if (key === 'TYPE') {
    const type = types.indexOf(value.toUpperCase())
    return type < 0 ? value : type
  }
  if (key === 'CLASS') return numberOf(classes) < 0 ? value : numberOf(classes)
  if (key === 'POOL_UUID') return value === '' ? [] : value.split(',')
  if (integers.includes(key)) {
    const number = parseInteger(value)
    if (number === null) throw new FormatError('invalid', `${key} is not a number: ${value}`)
    return number
  }
  const fallback = integersWithDefault[key] ?? (place === 'block' ? blockIntegersWithDefault[key] : undefined)
  if (fallback !== undefined) return parseInteger(value) ?? fallback
  return place === 'block' && /^PV\d+$/.test(key) ? pvJson(key, value) : value
}

function pvJson(key: string, value: string): Json {
  const entries = value.split(',').map(part => {
    const colon = part.indexOf(':')
    if (colon < 0) throw new FormatError('invalid', `${key} has a part without value: ${part}`)
    return [part.slice(0, colon), part.slice(colon + 1)] as const
  })
  const { pv, ...others } = Object.fromEntries(entries)
  return pv === undefined ? value : { ...others, guid: pv }
}

export function pairsOf(fields: At): Map<string, string> {
  const keys = Object.keys(fields.object())
  return new Map(keys.map(key => [key, fieldText(key, fields.get(key))]))
}

function fieldText(key: string, field: At): string {
  const { value } = field
  if (key === 'TYPE' && typeof value === 'number') return named(types, field)
  if (key === 'CLASS' && typeof value === 'number') return named(classes, field)
  if (Array.isArray(value))
    return field
      .list()
      .map(item => item.text())
      .join(',')
  if (field.isObject) {
    const part = (name: string) => scalarText(field.get(name))
    return `pv:${part('guid')},uuid:${part('uuid')},pestart:${part('pestart')},pecount:${part('pecount')},mapoffset:${part('mapoffset')}`
  }
  return value === null ? '' : scalarText(field)
}

function named(names: string[], field: At): string {
  const name = names[field.number()] ?? ''
  if (name === '') throw field.wrong('a known number')
  return name
}

const scalarText = (field: At): string =>
  typeof field.value === 'string' ? field.value : String(field.bigint())

/** The metadata after each step: as created, then after each update. */
function historyOf(input: At): Array<Map<string, string>> {
  if (!input.has('initial')) return [pairsOf(input.has('fields') ? input.get('fields') : input)]
  const history = [pairsOf(input.get('initial'))]
  for (const update of input.has('updates') ? input.get('updates').list() : []) {
    history.push(new Map([...(history.at(-1) ?? []), ...pairsOf(update)]))
  }
  return history
}

function inputOf(json: Json): At {
  const root = new At(json)
  return root.has('inputs') ? root.get('inputs') : root
}

const last = (history: Array<Map<string, string>>): Map<string, string> => history.at(-1) ?? new Map()

export const domainMetadataFile: Kind = {
  name: 'domain-metadata-file',
  about: 'dom_md/metadata of a file storage domain; its seal is checked',
  decode: bytes => ({ fields: fieldsJson(readMetadataFile(bytes), 'file') }),
  encode: json => writeMetadataFile(last(historyOf(inputOf(json))))
}

/** Tags sorted by code point; LVM has an order of its own. */
const sorted = (tags: string[]): string[] => tags.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0))

function tagsJson(vgTags: string[]): JsonObject {
  const pairs = readMetadataTags(vgTags)
  return { vgTags, decodedLines: metadataLines(vgTags), fields: fieldsJson(pairs, 'block') }
}

/** A list of tags as LVM reports it, joined by commas, or a JSON list of them. */
function tagListOf(bytes: Buffer): string[] {
  if (!looksLikeJson(bytes)) return sorted(bytes.toString('utf8').trim().split(/[,\n]/))
  return sorted(new At(parseJson(bytes)).list().map(tag => tag.text()))
}

function historyTags(vg: Json, history: Array<Map<string, string>>): Json[] {
  let current: string[] = []
  return history.flatMap(pairs => {
    const { remove, add } = metadataTagChange(current, pairs)
    current = metadataTags(pairs)
    return remove.length + add.length === 0 ? [] : [{ vg, delTags: sorted(remove), addTags: sorted(add) }]
  })
}

export const domainMetadataVgTags: Kind = {
  name: 'domain-metadata-vg-tags',
  about: "a block storage domain's metadata in the tags of its volume group; its seal is checked",
  decode(bytes) {
    const isList = !looksLikeJson(bytes) || Array.isArray(parseJson(bytes))
    if (isList) return tagsJson(tagListOf(bytes))
    const root = new At(parseJson(bytes))
    const tags = root
      .get('vgTags')
      .list()
      .map(tag => tag.text())
    return { ...root.object(), ...tagsJson(tags) }
  },
  encode(json) {
    const root = new At(json)
    const input = inputOf(json)
    const history = historyOf(input)
    const vg = root.has('vg') ? root.get('vg').text() : (last(history).get('SDUUID') ?? null)
    const tags = sorted([...metadataTags(last(history)), readyTag])
    const document = root.has('inputs') ? root.object() : {}
    return { ...document, vg, ...tagsJson(tags), tagChanges: historyTags(vg, history) }
  }
}

function parseCase(example: At): JsonObject {
  try {
    const lines = metadataFileLines(Buffer.from(example.get('text').text()))
    return { fields: fieldsJson(readLines(lines), 'file'), error: null }
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    return { fields: null, error: error.reason === 'sealBroken' ? 'MetaDataSealIsBroken' : error.reason }
  }
}

const recomputeParse = (json: Json): Json => recomputed(json, 'cases', parseCase)

export const domainMetadataParse: Kind = {
  name: 'domain-metadata-parse',
  about: 'what is read of unusual and damaged storage domain metadata',
  decode: bytes => recomputeParse(parseJson(bytes)),
  encode: recomputeParse
}

const recomputeSeals = (json: Json): Json =>
  recomputed(json, 'cases', example => {
    const pairs = pairsOf(example.get('fields'))
    const lines = sortedLines(pairs)
    return { sortedLines: lines, sha1Input: encodedForSeal(lines), checksum: sealOf(pairs) }
  })

export const domainMetadataChecksum: Kind = {
  name: 'domain-metadata-checksum',
  about: 'the seal of storage domain metadata, step by step',
  decode: bytes => recomputeSeals(parseJson(bytes)),
  encode: recomputeSeals
}

export const lvmTagEncoding: Kind = {
  name: 'lvm-tag-encoding',
  about: 'a line of metadata and the LVM tag that holds it (without MDT_)',
  decode: bytes =>
    recomputed(parseJson(bytes), 'cases', example => {
      const decoded = decodeTag(example.get('encoded').text())
      return { plain: decoded, decoded }
    }),
  encode: json =>
    recomputed(json, 'cases', example => {
      const encoded = encodeTag(example.get('plain').text())
      return { encoded, decoded: decodeTag(encoded) }
    })
}
