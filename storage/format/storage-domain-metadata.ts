import { type Bytes, bytes } from '../../common/units.js'
import { FormatError } from './format-error.js'
import type { MetadataPairs } from './metadata-pairs.js'
import { isWellFormed, parseInteger } from './text.js'
import { blankId } from './uuid.js'

export type StorageKind = 'nfs' | 'fcp' | 'iscsi' | 'local' | 'cifs' | 'posix' | 'glusterfs'
export type StorageDomainClass = 'data' | 'iso' | 'backup'
export type SectorSize = 512 | 4096

/** One physical volume as the VG tags remember it. Nothing reads the numbers; VDSM expects them. */
export type PvMapping = { device: string; uuid: string; start: number; extents: number; offset: number }

/** What a storage domain says of itself, in our words. Keys that we do not know stay in the pairs. */
export type StorageDomainMetadata = {
  storageDomainId: string
  version: number
  kind: StorageKind
  class: StorageDomainClass
  description: string
  role: 'regular' | 'master'
  /** Data centers it is attached to: none, one, or several for ISOs. */
  poolIds: string[]
  lockPolicy: string
  alignment: Bytes
  sectorSize: SectorSize
  /** File storage domains: the normalised connection string. */
  remotePath: string | null
  /** Block storage domains: LVM's own id of the VG, and its PVs by the number in `PVn`. */
  vgUuid: string | null
  pvs: ReadonlyMap<number, PvMapping>
}

const kinds: Record<string, StorageKind> = {
  NFS: 'nfs',
  FCP: 'fcp',
  ISCSI: 'iscsi',
  LOCALFS: 'local',
  CIFS: 'cifs',
  POSIXFS: 'posix',
  GLUSTERFS: 'glusterfs'
}
const classes: Record<string, StorageDomainClass> = { Data: 'data', Iso: 'iso', Backup: 'backup' }
const alignments = [1, 2, 4, 8].map(mebibytes => mebibytes * 2 ** 20)

export const descriptionLimit = 50

// Left from the time before sanlock. VDSM writes and expects them.
const historic = {
  IOOPTIMEOUTSEC: '10',
  LEASERETRIES: '3',
  LEASETIMESEC: '60',
  LOCKRENEWALINTERVALSEC: '5'
}

/** Reads pairs whose seal was checked. Anything out of the table of format V5 is a FormatError. */
export function parseStorageDomainMetadata(pairs: MetadataPairs): StorageDomainMetadata {
  const version = number(pairs, 'VERSION')
  return {
    storageDomainId: required(pairs, 'SDUUID'),
    version,
    kind: oneOf(pairs, 'TYPE', kinds),
    class: oneOf(pairs, 'CLASS', classes),
    description: pairs.get('DESCRIPTION') ?? '',
    role: pairs.get('ROLE') === 'Master' ? 'master' : 'regular',
    poolIds: pools(pairs.get('POOL_UUID') ?? ''),
    lockPolicy: pairs.get('LOCKPOLICY') ?? '',
    alignment: bytes(limited(pairs, 'ALIGNMENT', 2 ** 20, alignments)),
    sectorSize: limited(pairs, 'BLOCK_SIZE', 512, [512, 4096]) === 4096 ? 4096 : 512,
    remotePath: pairs.get('REMOTE_PATH') ?? null,
    vgUuid: pairs.get('VGUUID') ?? null,
    pvs: pvMappings(pairs)
  }
}

function required(pairs: MetadataPairs, key: string): string {
  const value = pairs.get(key)
  if (value === undefined) throw new FormatError('missing', `storage domain metadata has no ${key}`)
  return value
}

function number(pairs: MetadataPairs, key: string): number {
  const value = parseInteger(required(pairs, key))
  if (value === null || value < 0n || value > 2n ** 53n) throw unknownValue(pairs, key)
  return Number(value)
}

function limited(pairs: MetadataPairs, key: string, ifMissing: number, allowed: number[]): number {
  if (!pairs.has(key)) return ifMissing
  const value = number(pairs, key)
  if (!allowed.includes(value)) throw unknownValue(pairs, key)
  return value
}

function oneOf<Word>(pairs: MetadataPairs, key: string, words: Record<string, Word>): Word {
  const value = required(pairs, key)
  const found = Object.hasOwn(words, value) ? words[value] : undefined
  if (found === undefined) throw unknownValue(pairs, key)
  return found
}

function unknownValue(pairs: MetadataPairs, key: string): FormatError {
  return new FormatError('invalid', `storage domain metadata has an unknown ${key}: ${pairs.get(key)}`)
}

function pools(text: string): string[] {
  return text.split(',').filter(id => id !== '' && id !== blankId)
}

function pvMappings(pairs: MetadataPairs): Map<number, PvMapping> {
  const mappings = new Map<number, PvMapping>()
  for (const [key, value] of pairs) {
    const index = /^PV(\d{1,4})$/.exec(key)?.[1]
    if (index !== undefined) mappings.set(Number(index), parsePvMapping(key, value))
  }
  return mappings
}

function parsePvMapping(key: string, value: string): PvMapping {
  const parts = /^pv:(.*),uuid:(.*),pestart:(\d{1,15}),pecount:(\d{1,15}),mapoffset:(\d{1,15})$/.exec(value)
  if (parts === null) throw new FormatError('invalid', `storage domain metadata has a bad ${key}: ${value}`)
  const [, device = '', uuid = '', start, extents, offset] = parts
  return { device, uuid, start: Number(start), extents: Number(extents), offset: Number(offset) }
}

/** The pairs of a new storage domain of format V5. */
export function storageDomainPairs(metadata: StorageDomainMetadata): Map<string, string> {
  const pairs = new Map<string, string>(Object.entries(historic))
  pairs.set('LOCKPOLICY', metadata.lockPolicy)
  for (const [key, value] of changedPairs(metadata)) pairs.set(key, value)
  return pairs
}

/** The same metadata with some properties changed. Everything else, known or not, stays as it is. */
export function withChanges(
  pairs: MetadataPairs,
  changes: Partial<StorageDomainMetadata>
): Map<string, string> {
  const changed = new Map(pairs)
  if (changes.pvs !== undefined) {
    for (const key of pairs.keys()) if (/^PV\d+$/.test(key)) changed.delete(key)
  }
  for (const [key, value] of changedPairs(changes)) changed.set(key, value)
  return changed
}

function* changedPairs(metadata: Partial<StorageDomainMetadata>): Generator<[string, string]> {
  if (metadata.storageDomainId !== undefined) yield ['SDUUID', metadata.storageDomainId]
  if (metadata.version !== undefined) yield ['VERSION', String(metadata.version)]
  if (metadata.kind !== undefined) yield ['TYPE', keyOf(kinds, metadata.kind)]
  if (metadata.class !== undefined) yield ['CLASS', keyOf(classes, metadata.class)]
  if (metadata.description !== undefined) yield ['DESCRIPTION', checkedDescription(metadata.description)]
  if (metadata.role !== undefined) yield ['ROLE', metadata.role === 'master' ? 'Master' : 'Regular']
  if (metadata.poolIds !== undefined) yield ['POOL_UUID', metadata.poolIds.join(',')]
  if (metadata.lockPolicy !== undefined) yield ['LOCKPOLICY', metadata.lockPolicy]
  if (metadata.alignment !== undefined) yield ['ALIGNMENT', String(metadata.alignment)]
  if (metadata.sectorSize !== undefined) yield ['BLOCK_SIZE', String(metadata.sectorSize)]
  if (metadata.remotePath != null) yield ['REMOTE_PATH', metadata.remotePath]
  if (metadata.vgUuid != null) yield ['VGUUID', metadata.vgUuid]
  for (const [index, pv] of metadata.pvs ?? []) yield [`PV${index}`, pvText(pv)]
}

function keyOf(words: Record<string, string>, value: string): string {
  const found = Object.keys(words).find(key => words[key] === value)
  if (found === undefined) throw new FormatError('invalid', `${value} has no word on storage`)
  return found
}

function checkedDescription(text: string): string {
  const length = [...text].length
  if (length > descriptionLimit) {
    throw new FormatError(
      'overflow',
      `a description has at most ${descriptionLimit} characters, not ${length}`
    )
  }
  if (/\p{Cc}|[\u2028\u2029]/u.test(text) || !isWellFormed(text)) {
    throw new FormatError('invalid', 'a description may not contain control characters')
  }
  return text
}

function pvText(pv: PvMapping): string {
  return `pv:${pv.device},uuid:${pv.uuid},pestart:${pv.start},pecount:${pv.extents},mapoffset:${pv.offset}`
}
