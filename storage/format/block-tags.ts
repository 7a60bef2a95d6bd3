import { FormatError } from './format-error.js'
import { type MetadataPairs, readLines, sealedLines } from './metadata-pairs.js'
import { blankId } from './uuid.js'

// What a block storage domain keeps in LVM tags.
//
//   on the VG   RHAT_storage_domain or RHAT_storage_domain_UNREADY, and one MDT_<line> a metadata line
//   on an LV    MD_<slot>  IU_<image>  PU_<parent>, or OVIRT_VOL_INITIALIZING alone while it is made

export const readyTag = 'RHAT_storage_domain'
export const unreadyTag = 'RHAT_storage_domain_UNREADY'
export const initializingTag = 'OVIRT_VOL_INITIALIZING'
const metadataPrefix = 'MDT_'

/** Keeps what LVM allows in tags and writes every other code point as `&<decimal>&`. */
export function encodeTag(text: string): string {
  return text.replace(/[^a-zA-Z0-9_+.\-/=!:#]/gu, character => `&${character.codePointAt(0)}&`)
}

export function decodeTag(tag: string): string {
  return tag.replace(/&(\d+)&/g, (whole, digits: string) => {
    const code = Number(digits)
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole
  })
}

/** The metadata lines among a VG's tags, decoded. */
export function metadataLines(vgTags: readonly string[]): string[] {
  return vgTags
    .filter(tag => tag.startsWith(metadataPrefix))
    .map(tag => decodeTag(tag.slice(metadataPrefix.length)))
}

/** Reads the metadata in a VG's tags and checks its seal. */
export function readMetadataTags(vgTags: readonly string[]): MetadataPairs {
  return readLines(metadataLines(vgTags))
}

/** The tags that hold the metadata, seal included. */
export function metadataTags(pairs: MetadataPairs): string[] {
  return sealedLines(pairs).map(line => metadataPrefix + encodeTag(line))
}

export type TagChange = { remove: string[]; add: string[] }

/** What one `vgchange` has to do so that a VG's tags hold this metadata. Empty lists: run no command. */
export function metadataTagChange(vgTags: readonly string[], pairs: MetadataPairs): TagChange {
  const current = new Set(metadataLines(vgTags))
  const wanted = new Set(sealedLines(pairs))
  const missing = (lines: Set<string>, from: Set<string>) =>
    [...lines].filter(line => !from.has(line)).map(line => metadataPrefix + encodeTag(line))
  return { remove: missing(current, wanted), add: missing(wanted, current) }
}

/** What the tags of a volume's LV say. */
export type VolumeTags =
  | { kind: 'volume'; slot: number; imageId: string; parentId: string | null }
  | { kind: 'removed'; slot: number; imageId: string; parentId: string | null; wipe: boolean }
  | { kind: 'initializing' }
  | { kind: 'unknown'; problem: string }

const removed = '_remove_me_'
const removedAndWiped = '_remove_me_ZERO_'

/** Reads an LV's tags. An LV without its three tags is reported and left alone. */
export function readVolumeTags(lvTags: readonly string[]): VolumeTags {
  if (lvTags.includes(initializingTag)) return { kind: 'initializing' }
  const value = (prefix: string) => lvTags.find(tag => tag.startsWith(prefix))?.slice(prefix.length)
  const [slotText, image, parent] = [value('MD_'), value('IU_'), value('PU_')]
  if (slotText === undefined || !/^\d{1,9}$/.test(slotText))
    return { kind: 'unknown', problem: 'no metadata slot' }
  if (image === undefined) return { kind: 'unknown', problem: 'no image' }
  if (parent === undefined) return { kind: 'unknown', problem: 'no parent' }

  const volume = { slot: Number(slotText), parentId: parent === blankId ? null : parent }
  if (image.startsWith(removedAndWiped)) {
    return { kind: 'removed', ...volume, imageId: image.slice(removedAndWiped.length), wipe: true }
  }
  if (image.startsWith(removed)) {
    return { kind: 'removed', ...volume, imageId: image.slice(removed.length), wipe: false }
  }
  return { kind: 'volume', ...volume, imageId: image }
}

export const slotTag = (slot: number) => `MD_${slot}`
export const imageTag = (imageId: string) => `IU_${imageId}`
export const parentTag = (parentId: string | null) => `PU_${parentId ?? blankId}`
export const removedImageTag = (imageId: string, wipe: boolean) =>
  `IU_${wipe ? removedAndWiped : removed}${imageId}`

/** The one `lvchange` that makes a new LV a volume. Metadata and lease are written before it. */
export function commitVolumeTags(volume: {
  slot: number
  imageId: string
  parentId: string | null
}): TagChange {
  return {
    remove: [initializingTag],
    add: [imageTag(volume.imageId), slotTag(volume.slot), parentTag(volume.parentId)]
  }
}

/** Is it a storage domain, one that is being made, or a VG of somebody else? */
export function vgState(vgTags: readonly string[]): 'ready' | 'unready' | 'foreign' {
  if (vgTags.includes(readyTag)) return 'ready'
  return vgTags.includes(unreadyTag) ? 'unready' : 'foreign'
}

/** The number for a new physical volume in `PVn`: the lowest that is free. */
export function freePvNumber(taken: Iterable<number>): number {
  const used = new Set(taken)
  for (let n = 0; n < 100; n++) if (!used.has(n)) return n
  throw new FormatError('noSpace', 'no free number for a physical volume')
}
