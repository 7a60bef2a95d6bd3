import { FormatError } from '../format/format-error.js'
import { withoutPadding } from '../format/text.js'
import {
  type VolumeFields,
  type VolumeTextVersion,
  padVolumeText,
  readVolumeText,
  volumeMetadataSize,
  writeVolumeText
} from '../format/volume-fields.js'
import { At, type Json, type JsonObject, parseJson, recomputed } from './json.js'
import type { Kind } from './kind.js'

function fieldsOf(input: At): VolumeFields {
  const optional = (key: string) => (input.has(key) ? input.get(key).bigint() : 0n)
  return {
    domain: input.get('domain').text(),
    image: input.get('image').text(),
    parent: input.get('parent').text(),
    capacity: input.get('capacity').bigint(),
    format: input.get('format').text(),
    type: input.get('type').text(),
    voltype: input.get('voltype').text(),
    disktype: input.get('disktype').text(),
    description: input.has('description') ? input.get('description').text() : '',
    legality: input.get('legality').text(),
    ctime: input.get('ctime').bigint(),
    generation: optional('generation'),
    sequence: optional('sequence')
  }
}

/** Files of V4 are only written while a storage domain is converted, and then have the new key too. */
function versionOf(input: At, isFile: boolean): VolumeTextVersion {
  if (!input.has('domainVersion') || input.get('domainVersion').number() >= 5) return 5
  return isFile ? 'converting' : 4
}

/** From fields, from the text, or from what decoding printed. */
function textOf(json: Json, isFile: boolean): Buffer {
  const root = new At(json)
  const input = root.has('inputs') ? root.get('inputs') : root
  if (input.has('domain')) return writeVolumeText(fieldsOf(input), versionOf(input, isFile))
  if (input.has('fields')) return writeVolumeText(fieldsOf(input.get('fields')), versionOf(input, isFile))
  if (input.has('text')) return limited(Buffer.from(input.get('text').text()))
  return writeVolumeText(fieldsOf(input.get('parsed')), versionOf(input, isFile))
}

function limited(text: Buffer): Buffer {
  if (text.length <= volumeMetadataSize) return text
  throw new FormatError('overflow', `volume metadata has ${text.length} bytes, ${volumeMetadataSize} fit`)
}

function readingJson(bytes: Buffer): { parsed: JsonObject; errors: string[] } {
  const { fields, errors } = readVolumeText(bytes)
  return { parsed: { ...fields }, errors }
}

export const volumeMetadataBlock: Kind = {
  name: 'volume-metadata-block',
  about: "one volume's metadata: a slot of 512 bytes of a block storage domain",
  decode(bytes) {
    if (bytes.length !== volumeMetadataSize) {
      throw new FormatError('truncated', `a slot has ${volumeMetadataSize} bytes`, bytes.length)
    }
    const text = withoutPadding(bytes)
    return { text: text.toString('utf8'), textBytes: text.length, ...readingJson(bytes) }
  },
  encode: json => padVolumeText(textOf(json, false))
}

export const volumeMetadataFile: Kind = {
  name: 'volume-metadata-file',
  about: "one volume's metadata: the text of a .meta file",
  decode(bytes) {
    const { parsed, errors } = readingJson(bytes)
    const isPlain = errors.length === 0 && writesBack(parsed, bytes)
    return isPlain ? { parsed } : { text: withoutPadding(bytes).toString('utf8'), parsed, errors }
  },
  encode: json => textOf(json, true)
}

/** Is this text what we would write today? If not, the text itself is worth showing. */
function writesBack(parsed: JsonObject, bytes: Buffer): boolean {
  try {
    return writeVolumeText(fieldsOf(new At(parsed))).equals(withoutPadding(bytes))
  } catch (error) {
    if (error instanceof FormatError) return false
    throw error
  }
}

/** All other fields at their longest, so that only the description decides. */
const longest: VolumeFields = {
  domain: 'd'.repeat(36),
  image: 'i'.repeat(36),
  parent: 'p'.repeat(36),
  capacity: 2n ** 63n,
  format: 'COW',
  type: 'PREALLOCATED',
  voltype: 'INTERNAL',
  disktype: 'OVFS',
  description: '',
  legality: 'ILLEGAL',
  ctime: 1_440_935_038n,
  generation: 999n,
  sequence: 2n ** 32n - 1n
}

function recomputeOverflow(json: Json): Json {
  return recomputed(json, 'cases', example => {
    const description = example.get('description').text()
    try {
      return { bytes: writeVolumeText({ ...longest, description }).length, error: null }
    } catch (error) {
      if (error instanceof FormatError) return { bytes: null, error: 'MetadataOverflowError' }
      throw error
    }
  })
}

export const volumeMetadataOverflow: Kind = {
  name: 'volume-metadata-overflow',
  about: 'which descriptions fit when all other fields are at their longest',
  decode: bytes => recomputeOverflow(parseJson(bytes)),
  encode: recomputeOverflow
}

const recomputeParse = (json: Json): Json =>
  recomputed(json, 'cases', example => readingJson(example.get('hex').hex()))

export const volumeMetadataParse: Kind = {
  name: 'volume-metadata-parse',
  about: 'what can still be read of damaged and unusual blocks, and what is said about the rest',
  decode: bytes => recomputeParse(parseJson(bytes)),
  encode: recomputeParse
}
