import { MiB } from '../../common/units.js'
import { isSpecialVolume, lastSlot, slotOffset, volumeLeaseOffset } from '../format/leases-layout.js'
import { FormatError } from '../format/format-error.js'
import { type LvmGroup, type LvmVolume, readLvmGroup } from '../format/lvm-text.js'
import { withoutPadding } from '../format/text.js'
import { padVolumeText, readVolumeText, volumeMetadataSize } from '../format/volume-fields.js'
import { At, type Json, type JsonObject } from './json.js'
import type { Kind } from './kind.js'

/** The tag's value as it stands there: images marked for removal keep their mark. */
export const tagValue = (volume: LvmVolume, prefix: string): string | null =>
  volume.tags.find(tag => tag.startsWith(prefix))?.slice(prefix.length) ?? null

/** Volumes with a metadata slot, in the order of their names. */
export function taggedVolumes(group: LvmGroup): LvmVolume[] {
  return group.volumes
    .filter(volume => !isSpecialVolume(volume.name) && slotOf(volume) !== null)
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

export function slotOf(volume: LvmVolume): number | null {
  const text = tagValue(volume, 'MD_')
  return text !== null && /^\d{1,4}$/.test(text) && Number(text) <= lastSlot ? Number(text) : null
}

export function slotsJson(group: LvmGroup): JsonObject {
  const entries = taggedVolumes(group).map((volume): [string, Json] => {
    const slot = slotOf(volume) ?? 0
    const places = { metadataOffset: slotOffset(slot), leaseOffset: volumeLeaseOffset(slot, MiB(1)) }
    return [
      volume.name,
      { slot, image: tagValue(volume, 'IU_'), parentTag: tagValue(volume, 'PU_'), ...places }
    ]
  })
  return Object.fromEntries(entries)
}

const inOrder = (tags: string[]): string[] => tags.toSorted((a, b) => (a < b ? -1 : 1))

function volumeJson(volume: LvmVolume, group: LvmGroup): JsonObject {
  const segments = volume.segments.map(segment => ({ ...segment }))
  const size = volume.segments.reduce((sum, { extents }) => sum + extents, 0) * group.extentSize
  return { uuid: volume.uuid, size, tags: inOrder(volume.tags), segments }
}

export const lvmTextMetadata: Kind = {
  name: 'lvm-text-metadata',
  about: 'the text metadata of a volume group (vgcfgbackup): tags, volumes, segments, slots (read only)',
  decode(content) {
    const group = readLvmGroup(content.toString('utf8'))
    const volumes = group.volumes.map((volume): [string, Json] => [volume.name, volumeJson(volume, group)])
    return {
      vg: group.name,
      uuid: group.uuid,
      seqno: group.seqno,
      flags: group.flags,
      extentSize: group.extentSize,
      vgTags: inOrder(group.tags),
      pvs: group.pvs.map(pv => ({ ...pv })),
      lvs: Object.fromEntries(volumes),
      slots: slotsJson(group)
    }
  },
  encode() {
    throw new FormatError('invalid', 'LVM alone writes this text; it is only read')
  }
}

const metadataSize = 17 * 2 ** 20

export const metadataLv: Kind = {
  name: 'metadata-lv',
  about: 'the special volume metadata (its first 17 MiB): the text in each slot that was ever used',
  decode(content) {
    if (content.length < slotOffset(1) + volumeMetadataSize) {
      throw new FormatError('truncated', 'the volume has at least 1 MiB and a slot', content.length)
    }
    const slotText: JsonObject = {}
    const slots: JsonObject = {}
    for (let slot = 0; slot <= lastSlot; slot++) {
      const offset = slotOffset(slot)
      const block = content.subarray(offset, offset + volumeMetadataSize)
      const text = withoutPadding(block)
      if (text.length === 0) continue
      const { fields, errors } = readVolumeText(block)
      slotText[slot] = text.toString('utf8')
      slots[slot] = { offset, parsed: { ...fields }, errors }
    }
    return { slotText, slots }
  },
  encode(json) {
    const texts = new At(json).get('slotText')
    const content = Buffer.alloc(metadataSize)
    for (const slot of Object.keys(texts.object())) {
      if (!/^\d{1,4}$/.test(slot)) throw texts.get(slot).wrong('the text of a numbered slot')
      const text = Buffer.from(texts.get(slot).text())
      if (text.length > volumeMetadataSize) throw texts.get(slot).wrong('a text of at most 512 bytes')
      padVolumeText(text).copy(content, slotOffset(Number(slot)))
    }
    return content
  }
}
