import { FormatError } from './format-error.js'
import { decodeUtf8, parseInteger, quoteBytes, quoteText, splitLines, strip, withoutPadding } from './text.js'

// The text of one volume's metadata, exactly as VDSM reads and writes it. Words and numbers are those on
// storage; volume-metadata.ts turns them into ours.
//
//   CAP=10737418240        lines KEY=VALUE sorted by key, UTF-8
//   ...
//   VOLTYPE=LEAF
//   EOF                    what follows is ignored; in a slot it is NUL up to 512 bytes

export const volumeMetadataSize = 512
export const descriptionLimit = 210

/** Names and order in which VDSM reports fields and complains about them. */
export type VolumeFields = {
  domain: string
  image: string
  parent: string
  capacity: bigint
  format: string
  type: string
  voltype: string
  disktype: string
  description: string
  legality: string
  ctime: bigint
  generation: bigint
  sequence: bigint
}

export type VolumeText = {
  fields: Partial<VolumeFields>
  /** Empty when every field is there and readable. */
  errors: string[]
}

type TextField =
  'domain' | 'image' | 'parent' | 'format' | 'type' | 'voltype' | 'disktype' | 'description' | 'legality'
type NumberField = 'capacity' | 'ctime' | 'generation' | 'sequence'

type Rule = { key: string } & ({ name: TextField; kind: 'text' } | { name: NumberField; kind: 'number' })

const rules: readonly Rule[] = [
  { key: 'DOMAIN', name: 'domain', kind: 'text' },
  { key: 'IMAGE', name: 'image', kind: 'text' },
  { key: 'PUUID', name: 'parent', kind: 'text' },
  { key: 'CAP', name: 'capacity', kind: 'number' },
  { key: 'FORMAT', name: 'format', kind: 'text' },
  { key: 'TYPE', name: 'type', kind: 'text' },
  { key: 'VOLTYPE', name: 'voltype', kind: 'text' },
  { key: 'DISKTYPE', name: 'disktype', kind: 'text' },
  { key: 'DESCRIPTION', name: 'description', kind: 'text' },
  { key: 'LEGALITY', name: 'legality', kind: 'text' },
  { key: 'CTIME', name: 'ctime', kind: 'number' },
  { key: 'GEN', name: 'generation', kind: 'number' },
  { key: 'SEQ', name: 'sequence', kind: 'number' }
]

/** Reads a slot of 512 bytes or the whole `.meta` file. Never throws: a damaged text keeps what is readable. */
export function readVolumeText(bytes: Buffer): VolumeText {
  const { pairs, errors } = readPairs(bytes)
  if (pairs.has('NONE')) {
    return { fields: {}, errors: [...errors, 'Metadata was cleared, volume is partly deleted: ()'] }
  }
  applyOldSize(pairs, errors)
  if (!pairs.has('GEN')) pairs.set('GEN', '0')
  if (!pairs.has('SEQ')) pairs.set('SEQ', '0')

  const fields: Partial<VolumeFields> = {}
  for (const rule of rules) {
    const value = pairs.get(rule.key)
    if (value === undefined) errors.push(`Required key '${rule.name}' is missing.`)
    else if (rule.kind === 'text') fields[rule.name] = value
    else readNumber(rule.name, value, fields, errors)
  }
  return { fields, errors }
}

function readPairs(bytes: Buffer): { pairs: Map<string, string>; errors: string[] } {
  const pairs = new Map<string, string>()
  const errors: string[] = []
  for (const line of splitLines(withoutPadding(bytes))) {
    const decoded = decodeUtf8(line)
    if (decoded.kind === 'broken') {
      errors.push(`Invalid line '${quoteBytes(line)}': ${decoded.problem}`)
      continue
    }
    if (decoded.text.startsWith('EOF')) break
    const equals = decoded.text.indexOf('=')
    if (equals >= 0) pairs.set(strip(decoded.text.slice(0, equals)), strip(decoded.text.slice(equals + 1)))
  }
  return { pairs, errors }
}

/** Format V4 counted the size in sectors of 512 bytes, under another key. */
function applyOldSize(pairs: Map<string, string>, errors: string[]): void {
  const old = pairs.get('SIZE')
  if (old === undefined || pairs.has('CAP')) return
  const sectors = parseInteger(old)
  if (sectors === null) errors.push(notAnInteger(old))
  else pairs.set('CAP', String(sectors * 512n))
}

function readNumber(name: NumberField, text: string, fields: Partial<VolumeFields>, errors: string[]): void {
  const value = parseInteger(text)
  if (value === null) errors.push(`Invalid '${name}' value: ${notAnInteger(text)}`)
  else fields[name] = value
}

function notAnInteger(text: string): string {
  return `invalid literal for int() with base 10: ${quoteText(text)}`
}

/** V5 has CAP and SEQ; V4 has SIZE and MTIME; `converting` is V4 with a CAP, written while a domain is upgraded. */
export type VolumeTextVersion = 4 | 5 | 'converting'

/** The text without padding. A description beyond 210 characters is cut; a text beyond 512 bytes is refused. */
export function writeVolumeText(fields: VolumeFields, version: VolumeTextVersion = 5): Buffer {
  const pairs = rules
    .filter(rule => version === 5 || rule.key !== 'SEQ')
    .filter(rule => version !== 4 || rule.key !== 'CAP')
    .map((rule): [string, string] => [rule.key, String(fields[rule.name])])
    .map(([key, value]): [string, string] => [key, key === 'DESCRIPTION' ? cutDescription(value) : value])
  if (version !== 5) pairs.push(['SIZE', String(fields.capacity / 512n)], ['MTIME', '0'])

  const lines = pairs.map(([key, value]) => `${key}=${value}\n`).sort()
  const text = Buffer.from(`${lines.join('')}EOF\n`)
  if (text.length > volumeMetadataSize) {
    throw new FormatError('overflow', `volume metadata has ${text.length} bytes, ${volumeMetadataSize} fit`)
  }
  return text
}

/** Characters are code points: a pair of surrogates counts once and is never cut in two. */
export function cutDescription(text: string): string {
  return [...text].slice(0, descriptionLimit).join('')
}

/** A text as it stands in a slot of the special volume `metadata`. */
export function padVolumeText(text: Buffer): Buffer {
  const block = Buffer.alloc(volumeMetadataSize)
  text.copy(block)
  return block
}
