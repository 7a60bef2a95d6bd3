import { type FileHandle, open, readdir } from 'node:fs/promises'
import { MiB, bytes } from '../../common/units.js'
import { readMetadataTags } from '../format/block-tags.js'
import { FormatError } from '../format/format-error.js'
import { freeSlot, isSpecialVolume, slotOffset } from '../format/leases-layout.js'
import { readAreaHeader, readPvLabel } from '../format/lvm-label.js'
import { type LvmGroup, type LvmPv, type LvmVolume, readLvmGroup } from '../format/lvm-text.js'
import { readSanlockRecord } from '../format/sanlock-record.js'
import { withoutPadding } from '../format/text.js'
import { blankId } from '../format/uuid.js'
import { readVolumeText, volumeMetadataSize } from '../format/volume-fields.js'
import { XleasesIndex, indexSize } from '../format/xleases.js'
import { fieldsJson } from './domain-kinds.js'
import { domainInfoJson } from './file-archive.js'
import type { Json, JsonObject } from './json.js'
import { slotOf, slotsJson, tagValue, taggedVolumes } from './lvm-kinds.js'
import { leasesJson } from './xleases-kinds.js'

// A whole block storage domain, read from the images of its physical volumes without LVM and device-mapper:
// LVM's own text says where each volume lies.

type Pv = { path: string; id: string; file: FileHandle }

/** What is on the physical volumes in a directory (files ending in .img). */
export async function readBlockStorageDomain(directory: string): Promise<JsonObject> {
  const names = (await readdir(directory)).filter(name => name.endsWith('.img')).toSorted()
  const pvs: Pv[] = []
  try {
    for (const name of names) {
      const path = `${directory}/${name}`
      const file = await open(path)
      pvs.push({ path, id: '', file })
    }
    return await describe(pvs)
  } finally {
    for (const { file } of pvs) await file.close()
  }
}

async function describe(pvs: Pv[]): Promise<JsonObject> {
  const { text, pvId } = await currentText(pvs)
  const group = readLvmGroup(text)
  const read = (volume: string, offset: number, length: number) =>
    readVolume(group, pvs, volume, offset, length)
  const pairs = readMetadataTags(group.tags)
  const fields = fieldsJson(pairs, 'block')
  const texts = await slotTexts(group, read)
  const index = await read('xleases', MiB(1), indexSize)
  return {
    domain: pairs.get('SDUUID') ?? null,
    pool: pairs.get('POOL_UUID') || null,
    vg: group.name,
    pvs: group.pvs.map(pv => pv.device),
    vgTags: group.tags.toSorted((a, b) => (a < b ? -1 : 1)),
    fields,
    segments: segmentsJson(group),
    ...volumesJson(group, texts),
    slots: slotsJson(group),
    slotText: Object.fromEntries(texts),
    domainInfo: {
      ...domainInfoJson(fields, pairs),
      vguuid: pairs.get('VGUUID') ?? null,
      state: 'OK',
      metadataDevice: deviceName(group, firstPvOf(group, 'metadata')),
      vgMetadataDevice: deviceName(group, pv => pv.uuid.replaceAll('-', '') === pvId)
    },
    externalLeases: leasesJson(XleasesIndex.load(index, MiB(1), 512)),
    leases: await resourcesJson(group, read),
    freeSlotNow: freeSlot(taggedVolumes(group).flatMap(volume => slotOf(volume) ?? []))
  }
}

type Read = (volume: string, offset: number, length: number) => Promise<Buffer>

/** The device without its directory, as PV mappings name it. */
function deviceName(group: LvmGroup, isWanted: (pv: LvmPv) => boolean): string | null {
  return group.pvs.find(isWanted)?.device.replace(/^.*\//, '') ?? null
}

/** Is it the physical volume with the first extent of a logical volume? */
function firstPvOf(group: LvmGroup, name: string): (pv: LvmPv) => boolean {
  const segments = group.volumes.find(volume => volume.name === name)?.segments ?? []
  return pv => pv.name === segments.find(({ start }) => start === 0)?.pv
}

type CurrentText = { text: string; seqno: number; pvId: string }

/** The text with the highest sequence number of all copies that are in use, and where it was. */
async function currentText(pvs: Pv[]): Promise<CurrentText> {
  let best: CurrentText | null = null
  for (const pv of pvs) {
    const label = readPvLabel(await readFrom(pv.file, 0, 2048))
    pv.id = label.pvId
    for (const area of label.areas) {
      const place = readAreaHeader(await readFrom(pv.file, Number(area.offset), 512), area)
      if (place === null) continue
      const parts = []
      for (const { offset, length } of place.parts)
        parts.push(await readFrom(pv.file, Number(offset), length))
      const text = Buffer.concat(parts).toString('utf8').replace(/\0+$/, '')
      const { seqno } = readLvmGroup(text)
      if (best === null || seqno > best.seqno) best = { text, seqno, pvId: pv.id }
    }
  }
  if (best === null)
    throw new FormatError('missing', 'no physical volume holds the metadata of the volume group')
  return best
}

async function readFrom(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(length), position })
  return buffer.subarray(0, bytesRead)
}

/** Bytes of a logical volume; they have to lie in one segment. */
async function readVolume(
  group: LvmGroup,
  pvs: Pv[],
  name: string,
  offset: number,
  length: number
): Promise<Buffer> {
  const volume = group.volumes.find(lv => lv.name === name)
  const extent = Math.floor(offset / group.extentSize)
  const segment = volume?.segments.find(({ start, extents }) => extent >= start && extent < start + extents)
  const description = group.pvs.find(pv => pv.name === segment?.pv)
  const pv = pvs.find(({ id }) => id === description?.uuid.replaceAll('-', ''))
  if (segment === undefined || description === undefined || pv === undefined) {
    throw new FormatError(
      'missing',
      `byte ${offset} of volume ${name} lies on no physical volume that is here`
    )
  }
  const first = description.start + segment.pvStart * group.extentSize
  return await readFrom(pv.file, first + offset - segment.start * group.extentSize, length)
}

function segmentsJson(group: LvmGroup): Json[] {
  const deviceOf = new Map(group.pvs.map(pv => [pv.name, pv.device]))
  const lines = group.volumes.flatMap(volume =>
    volume.segments.map(({ start, extents, pv, pvStart }) => {
      return `${volume.name}|${start}|${extents}|${deviceOf.get(pv)}:${pvStart}-${pvStart + extents - 1}`
    })
  )
  return lines.toSorted((a, b) => (a < b ? -1 : 1))
}

async function slotTexts(group: LvmGroup, read: Read): Promise<Map<string, string>> {
  const texts = new Map<string, string>()
  for (const volume of taggedVolumes(group)) {
    const block = await read('metadata', slotOffset(slotOf(volume) ?? 0), volumeMetadataSize)
    texts.set(volume.name, withoutPadding(block).toString('utf8'))
  }
  return texts
}

const removedPrefix = '_remove_me_'

/** Images, parents by tag, and chains by the slots, which are the truth. */
function volumesJson(group: LvmGroup, texts: Map<string, string>): JsonObject {
  const tagged = taggedVolumes(group)
  const isRemoved = (volume: LvmVolume) => tagValue(volume, 'IU_')?.startsWith(removedPrefix) ?? false
  const live = tagged.filter(volume => !isRemoved(volume))
  const usersOf = (volume: LvmVolume) =>
    live
      .filter(other => tagValue(other, 'PU_') === volume.name)
      .flatMap(other => tagValue(other, 'IU_') ?? [])
      .filter(image => image !== tagValue(volume, 'IU_'))
  const entry = (volume: LvmVolume): [string, Json] => {
    const own = tagValue(volume, 'IU_') ?? ''
    const imgs = [own, ...new Set(isRemoved(volume) ? [] : usersOf(volume))]
    return [volume.name, { imgs, parent: tagValue(volume, 'PU_') }]
  }
  return {
    volumes: Object.fromEntries(live.map(entry)),
    remnants: Object.fromEntries(tagged.filter(isRemoved).map(entry)),
    chains: chainsJson(live, texts),
    volumesDump: Object.fromEntries(
      tagged.map(volume => [volume.name, dumpJson(volume, group, texts, isRemoved)])
    )
  }
}

function fieldsOf(name: string, texts: Map<string, string>) {
  return readVolumeText(Buffer.from(texts.get(name) ?? ''))
}

function chainsJson(live: LvmVolume[], texts: Map<string, string>): JsonObject {
  const images = [...new Set(live.flatMap(volume => tagValue(volume, 'IU_') ?? []))]
  return Object.fromEntries(images.map(image => [image, chainOf(image, live, texts)]))
}

/** From the image's leaf down to its base, listed base first. */
function chainOf(image: string, live: LvmVolume[], texts: Map<string, string>): string[] {
  const members = live.filter(volume => tagValue(volume, 'IU_') === image)
  const role = (volume: LvmVolume) => fieldsOf(volume.name, texts).fields.voltype
  const chain: string[] = []
  let current =
    members.find(volume => role(volume) === 'LEAF') ?? (members.length === 1 ? members[0] : undefined)
  while (current !== undefined && !chain.includes(current.name)) {
    chain.unshift(current.name)
    const parent = fieldsOf(current.name, texts).fields.parent ?? blankId
    current = members.find(volume => volume.name === parent)
  }
  return chain
}

function dumpJson(
  volume: LvmVolume,
  group: LvmGroup,
  texts: Map<string, string>,
  isRemoved: (volume: LvmVolume) => boolean
): JsonObject {
  const { fields, errors } = fieldsOf(volume.name, texts)
  const { domain: _domain, ...shown } = fields
  const size = volume.segments.reduce((sum, { extents }) => sum + extents, 0) * group.extentSize
  const status = isRemoved(volume) ? 'REMOVED' : errors.length > 0 ? 'INVALID' : 'OK'
  return { ...shown, status, mdslot: slotOf(volume), truesize: size, apparentsize: size }
}

/** Every sanlock resource in `leases` and `xleases`. */
async function resourcesJson(group: LvmGroup, read: Read): Promise<Json[]> {
  const found: Json[] = []
  for (const lv of ['leases', 'xleases']) {
    const volume = group.volumes.find(({ name }) => name === lv && isSpecialVolume(name))
    const size = (volume?.segments ?? []).reduce((sum, { extents }) => sum + extents, 0) * group.extentSize
    for (let offset = 0; offset < size; offset += MiB(1)) {
      if (lv === 'xleases' && offset === bytes(MiB(1))) continue
      const record = readSanlockRecord(await read(lv, offset, 512))
      if (record === null || record.resource === '') continue
      const { lockspace, resource, checksumValid, leaseVersion: version } = record
      found.push({ lv, offset, lockspace, resource, version, checksumValid })
    }
  }
  return found
}
