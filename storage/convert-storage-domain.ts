import { readdir } from 'node:fs/promises'
import { crashpoint, idempotent } from '../common/crashpoint.js'
import type { Clock } from '../common/clock.js'
import { Fault } from '../common/fault.js'
import { bytes, MiB } from '../common/units.js'
import { aloneOnLuns, throwIfAlive, type Visitor } from './attach-storage-domain.js'
import { BlockStorageDomain } from './block-storage-domain.js'
import { readDirect, writeDirect } from './direct-io.js'
import { FileStorageDomain, type Tools } from './file-storage-domain.js'
import { ifThere, replaceFile } from './files.js'
import { readVolumeTags } from './format/block-tags.js'
import { lastSlot, slotOffset } from './format/leases-layout.js'
import { isUuid } from './format/uuid.js'
import { readVolumeText, type VolumeFields, writeVolumeText } from './format/volume-fields.js'
import { parseVolumeMetadata, volumeMetadataBlock, volumeMetadataText } from './format/volume-metadata.js'

// A storage domain of oVirt's format V4 becomes one of V5, in place:
//
//   records of all volumes, in a form that V4 still reads  ►  VERSION=5 (the commit)  ►  what only V4 read goes
//
// Each part may be repeated: before the commit it is V4, after it V5, and a repeat carries on from there.

export type Conversion = {
  from: number
  /** Each change, in words. */
  changes: string[]
  /** Why it would be refused; null where nothing speaks against it. */
  obstacle: string | null
}

type Opened = BlockStorageDomain | FileStorageDomain
const old = 4

export async function convertStorageDomain(
  open: () => Promise<Opened>,
  isApplied: boolean,
  { sanlockHostId, clock, log }: Visitor & Pick<Tools, 'log'>,
  signal: AbortSignal
): Promise<Conversion> {
  const storageDomain = await open()
  try {
    const { version } = await storageDomain.identity.metadata()
    const changes = await planned(storageDomain, version)
    const obstacle = version === old ? await obstacleTo(storageDomain, clock, signal) : null
    if (!isApplied) return { from: version, changes, obstacle }
    if (obstacle !== null) throw new Fault('WRONG_STATE', obstacle)
    await using alone = await aloneOnLuns(storageDomain, sanlockHostId, signal)
    void alone
    // Whoever was quicker may have converted it, or taken it into use.
    const now = await storageDomain.identity.metadata()
    if (now.poolIds.length > 0 && version === old)
      throw new Fault('WRONG_STATE', `data center ${now.poolIds[0]} owns it`)
    await convert(storageDomain, now.version, signal)
    log.info({ storageDomain: storageDomain.identity.id, from: version }, 'storage domain converted')
    return { from: version, changes, obstacle }
  } finally {
    await storageDomain.onHost.close()
  }
}

/** Nobody uses it: no data center owns it, and no host renews its id there. */
async function obstacleTo(storageDomain: Opened, clock: Clock, signal: AbortSignal): Promise<string | null> {
  const { poolIds } = await storageDomain.identity.metadata()
  if (poolIds.length > 0) return `data center ${poolIds[0]} owns it: detach it there first`
  try {
    await throwIfAlive(storageDomain, clock, signal)
    return null
  } catch (error) {
    if (!Fault.is(error, 'WRONG_STATE')) throw error
    return error.message
  }
}

async function planned(storageDomain: Opened, version: number): Promise<string[]> {
  const records = await recordsOf(storageDomain)
  const unread = records.filter(({ text }) => fieldsIn(text) === null)
  const lines = records.map(({ name, text }) =>
    fieldsIn(text) === null ? `${name}: copied as it is, it cannot be read` : `${name}: SIZE becomes CAP`
  )
  if (version !== old) return []
  const isBlock = storageDomain instanceof BlockStorageDomain
  return [
    ...lines,
    'VERSION=4 becomes VERSION=5, with BLOCK_SIZE=512 and ALIGNMENT=1048576',
    isBlock ? 'the old records (first MiB of metadata) are zeroed' : 'SIZE and MTIME leave the records',
    ...(unread.length > 0 ? [`${unread.length} records cannot be read and stay unreadable`] : [])
  ]
}

async function convert(storageDomain: Opened, version: number, signal: AbortSignal): Promise<void> {
  const { identity } = storageDomain
  if (version === old) {
    await idempotent('storage-domain.convert/records', () => writeRecords(storageDomain, signal))
    await idempotent('storage-domain.convert/commit', () =>
      identity.change({ version: 5, sectorSize: 512, alignment: MiB(1) }, 'storage-domain.convert/commit', [
        'LOGBLKSIZE',
        'PHYBLKSIZE'
      ])
    )
  }
  await idempotent('storage-domain.convert/clean', () => clean(storageDomain, signal))
  await crashpoint('storage-domain.convert/done')
}

type OldRecord = { name: string; text: Buffer; slot: number; path: string }

/** The records of all volumes, as they stand now. */
async function recordsOf(storageDomain: Opened): Promise<OldRecord[]> {
  if (storageDomain instanceof FileStorageDomain) return fileRecords(storageDomain)
  const { group, special } = storageDomain
  const area = await readDirect(special.metadata, 0, areaSize)
  const records: OldRecord[] = []
  for (const { name, tags } of (await group.read()).volumes.values()) {
    const tagged = readVolumeTags(tags)
    if (tagged.kind !== 'volume' && tagged.kind !== 'removed') continue
    const { slot } = tagged
    if (slot < 1 || slot > lastSlot)
      throw new Fault('CORRUPT', `volume ${name} has the impossible slot ${slot}`)
    records.push({ name, slot, path: special.metadata, text: area.subarray(slot * 512, slot * 512 + 512) })
  }
  return records
}

async function fileRecords({ layout }: FileStorageDomain): Promise<OldRecord[]> {
  const records: OldRecord[] = []
  for (const imageId of (await readdir(layout.images)).filter(isUuid)) {
    for (const file of await readdir(layout.image(imageId))) {
      const name = file.replace(/\.meta$/, '')
      if (name === file || !isUuid(name)) continue
      const path = layout.meta(imageId, name)
      const text = await ifThere(readDirect(path, 0, 4096))
      if (text !== null) records.push({ name, slot: 0, path, text })
    }
  }
  return records
}

const areaSize = 2 ** 20

/** Null of what cannot be read. */
function fieldsIn(text: Buffer): VolumeFields | null {
  const { fields, errors } = readVolumeText(text)
  return errors.length === 0 ? (fields as VolumeFields) : null
}

/** On block storage into the slots of V5, which V4 never reads; on files with both sizes, so that both read them. */
async function writeRecords(storageDomain: Opened, signal: AbortSignal): Promise<void> {
  for (const { text, slot, path } of await recordsOf(storageDomain)) {
    signal.throwIfAborted()
    const fields = fieldsIn(text)
    if (storageDomain instanceof BlockStorageDomain) {
      const block = fields === null ? text : volumeMetadataBlock(parseVolumeMetadata(text))
      await writeDirect(path, slotOffset(slot), Buffer.from(block))
    } else if (fields !== null) {
      const point = 'storage-domain.convert/record'
      await replaceFile(path, writeVolumeText(fields, 'converting'), storageDomain.owner, point)
    }
  }
}

/** What only V4 read. */
async function clean(storageDomain: Opened, signal: AbortSignal): Promise<void> {
  if (storageDomain instanceof BlockStorageDomain) {
    await writeDirect(storageDomain.special.metadata, bytes(0), Buffer.alloc(areaSize))
    return
  }
  for (const { text, path } of await fileRecords(storageDomain)) {
    signal.throwIfAborted()
    if (fieldsIn(text) === null || !/^SIZE=/m.test(text.toString('latin1'))) continue
    const record = volumeMetadataText(parseVolumeMetadata(text))
    await replaceFile(path, record, storageDomain.owner, 'storage-domain.convert/record')
  }
  // A template's record is a file of several images; now each has a copy of its own, and they are one again.
  for (const imageId of await storageDomain.volumes.imageIds()) {
    for (const volumeId of (await storageDomain.volumes.volumeIds(imageId)) ?? []) {
      const metadata = await storageDomain.volumes.read({ imageId, volumeId }).catch(() => null)
      if (metadata === null || metadata.imageId === imageId || !isUuid(metadata.imageId)) continue
      await storageDomain.volumes.share({ imageId: metadata.imageId, volumeId }, imageId)
    }
  }
}
