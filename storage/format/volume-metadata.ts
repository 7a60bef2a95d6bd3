import { type Bytes, bytes } from '../../common/units.js'
import { FormatError } from './format-error.js'
import { isWellFormed } from './text.js'
import { blankId } from './uuid.js'
import { padVolumeText, readVolumeText, type VolumeFields, writeVolumeText } from './volume-fields.js'

export type VolumeFormat = 'raw' | 'qcow2'
export type AllocationPolicy = 'thin' | 'preallocated'
export type VolumeRole = 'leaf' | 'internal' | 'shared'
export type Legality = 'legal' | 'illegal' | 'fake'

/** What the four characters on storage are for: `DATA`, `ISOF`, `OVFS`, `MEMD` … or an old engine's number. */
export type DiskContent = string

/** One volume, in our words. On storage it is a text of at most 512 bytes. */
export type VolumeMetadata = {
  storageDomainId: string
  /** The volume's own image; for a template's volume the template's image, wherever it is linked. */
  imageId: string
  parentId: string | null
  capacity: Bytes
  format: VolumeFormat
  allocation: AllocationPolicy
  role: VolumeRole
  legality: Legality
  diskContent: DiskContent
  description: string
  /** Seconds since 1970. */
  createdAt: number
  /** 0…999, one more after each operation on the data that succeeded. */
  generation: number
  /** Counts the volumes made in an image from 1; 0 is unknown. */
  sequence: number
}

export type VolumeReading =
  { kind: 'valid'; metadata: VolumeMetadata } | { kind: 'invalid'; cleared: boolean; problems: string[] }

const formats = { RAW: 'raw', COW: 'qcow2' } as const
const allocations = { SPARSE: 'thin', PREALLOCATED: 'preallocated' } as const
const roles = { LEAF: 'leaf', INTERNAL: 'internal', SHARED: 'shared' } as const
const legalities = { LEGAL: 'legal', ILLEGAL: 'illegal', FAKE: 'fake' } as const

/** Reads a slot or a `.meta` file. What is invalid is reported, never deleted and never repaired by guessing. */
export function readVolumeMetadata(text: Buffer): VolumeReading {
  const { fields, errors } = readVolumeText(text)
  if (errors.length > 0) {
    const cleared = errors.some(error => error.startsWith('Metadata was cleared'))
    return { kind: 'invalid', cleared, problems: errors }
  }
  const problems: string[] = []
  const metadata = toOurWords(fields as VolumeFields, problems)
  return problems.length > 0 ? { kind: 'invalid', cleared: false, problems } : { kind: 'valid', metadata }
}

/** The same for callers that cannot go on without it. */
export function parseVolumeMetadata(text: Buffer): VolumeMetadata {
  const reading = readVolumeMetadata(text)
  if (reading.kind === 'valid') return reading.metadata
  throw new FormatError(
    reading.cleared ? 'cleared' : 'invalid',
    `invalid volume metadata: ${reading.problems.join('; ')}`
  )
}

function toOurWords(fields: VolumeFields, problems: string[]): VolumeMetadata {
  return {
    storageDomainId: fields.domain,
    imageId: fields.image,
    parentId: fields.parent === blankId ? null : fields.parent,
    capacity: bytes(safeNumber('CAP', fields.capacity, problems)),
    format: word('FORMAT', fields.format, formats, problems) ?? 'raw',
    allocation: word('TYPE', fields.type, allocations, problems) ?? 'thin',
    role: word('VOLTYPE', fields.voltype, roles, problems) ?? 'leaf',
    legality: word('LEGALITY', fields.legality, legalities, problems) ?? 'illegal',
    diskContent: fields.disktype,
    description: fields.description,
    createdAt: safeNumber('CTIME', fields.ctime, problems),
    generation: safeNumber('GEN', fields.generation, problems),
    sequence: safeNumber('SEQ', fields.sequence, problems)
  }
}

function safeNumber(key: string, value: bigint, problems: string[]): number {
  if (value >= 0n && value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value)
  problems.push(`${key}=${value} is out of range`)
  return 0
}

function word<Known extends Record<string, string>>(
  key: string,
  value: string,
  known: Known,
  problems: string[]
): Known[keyof Known] | undefined {
  if (Object.hasOwn(known, value)) return known[value as keyof Known]
  problems.push(`${key}=${value} is unknown`)
  return undefined
}

/** The text of a `.meta` file. Refuses what VDSM could not read back as it was meant. */
export function volumeMetadataText(metadata: VolumeMetadata): Buffer {
  return writeVolumeText(toTheirWords(metadata))
}

/** The 512 bytes of a slot in the special volume `metadata`. */
export function volumeMetadataBlock(metadata: VolumeMetadata): Buffer {
  return padVolumeText(volumeMetadataText(metadata))
}

function toTheirWords(metadata: VolumeMetadata): VolumeFields {
  checkDescription(metadata.description)
  return {
    domain: metadata.storageDomainId,
    image: metadata.imageId,
    parent: metadata.parentId ?? blankId,
    capacity: BigInt(metadata.capacity),
    format: keyOf(formats, metadata.format),
    type: keyOf(allocations, metadata.allocation),
    voltype: keyOf(roles, metadata.role),
    disktype: metadata.diskContent,
    description: metadata.description,
    legality: keyOf(legalities, metadata.legality),
    ctime: BigInt(metadata.createdAt),
    generation: BigInt(metadata.generation),
    sequence: BigInt(metadata.sequence)
  }
}

/** Lines are not escaped, so a line end in a description would become a key of its own. */
function checkDescription(text: string): void {
  if (/\p{Cc}/u.test(text))
    throw new FormatError('invalid', 'a description may not contain control characters')
  if (!isWellFormed(text)) throw new FormatError('invalid', 'the description is not valid Unicode')
}

function keyOf(words: Record<string, string>, value: string): string {
  const found = Object.keys(words).find(key => words[key] === value)
  if (found === undefined) throw new FormatError('invalid', `${value} has no word on storage`)
  return found
}

/** After an operation on the data has succeeded. */
export function nextGeneration(generation: number): number {
  return (generation + 1) % 1000
}
