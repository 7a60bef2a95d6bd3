import { constants, open } from 'node:fs/promises'
import { crashpoint, idempotent } from '../common/crashpoint.js'
import { Fault } from '../common/fault.js'
import type { Run } from '../common/run.js'
import type { Tools } from './file-storage-domain.js'
import { type Bytes, bytes, roundUp } from '../common/units.js'
import type { BlockGroup, Group, LogicalVolume } from './block-group.js'
import { discardVolumes, wipeVolume } from './block-purge.js'
import type { BlockLinks } from './block-links.js'
import { readDirect, writeDirect } from './direct-io.js'
import { extendOnBlock } from './block-extend.js'
import type { ExtendedVolume, ExtendVolume } from './extend-volumes.js'
import {
  commitVolumeTags,
  imageTag,
  initializingTag,
  parentTag,
  readVolumeTags,
  removedImageTag,
  type VolumeTags
} from './format/block-tags.js'
import { freeSlot, isSpecialVolume, slotOffset } from './format/leases-layout.js'
import { readVolumeMetadata, volumeMetadataBlock, type VolumeMetadata } from './format/volume-metadata.js'
import { extent, initialAllocation, mebibytes } from './format/volume-sizes.js'
import { openDevice } from './image-file.js'
import type { ImageFile } from './image-inspector/image-file.js'
import type { NewVolume, Place, Removed, Usage, Volumes } from './storage-domain.js'

// Volumes as LVs. A volume exists if its LV has the tags of a slot, an image and a parent; one `lvchange` puts them
// in place of the tag that says "being made", one takes the image's tag away. The slot in the special volume
// `metadata` is the truth about everything else; the tag of the parent is a hint that may lag behind.

type Volume = LogicalVolume & { tagged: VolumeTags }
type Seen = { group: Group; volumes: Volume[]; byName: Map<string, Volume> }
type Published = Volume & { tagged: Extract<VolumeTags, { kind: 'volume' }> }

export class BlockVolumes implements Volumes {
  readonly onBlock = true
  readonly #group: BlockGroup
  readonly #links: BlockLinks
  readonly #run: Run
  readonly #tidyToo: () => Promise<string[]>
  readonly #thinInitial: Bytes | undefined
  /** Slots of volumes that this process makes: chosen, and until they are seen in a tag. */
  readonly #reserved = new Map<string, number>()
  #seen: Seen | null = null

  /** `tidyToo`: what else a sweep finishes. */
  constructor(
    group: BlockGroup,
    links: BlockLinks,
    { run, thinInitial }: Pick<Tools, 'run' | 'thinInitial'>,
    tidyToo: () => Promise<string[]>
  ) {
    this.#thinInitial = thinInitial
    this.#group = group
    this.#links = links
    this.#run = run
    this.#tidyToo = tidyToo
  }

  async imageIds(): Promise<string[]> {
    const images = published(await this.#all()).map(({ tagged }) => tagged.imageId)
    return [...new Set(images)].toSorted()
  }

  async volumeIds(imageId: string): Promise<string[] | null> {
    const all = published(await this.#all())
    const own = all.filter(({ tagged }) => tagged.imageId === imageId)
    if (own.length === 0) return null
    const ids = new Set(own.map(({ name }) => name))
    for (const volume of own) {
      const parentId = await this.#parentOf(volume)
      if (parentId !== null && isPublished(await this.#named(parentId))) ids.add(parentId)
    }
    return [...ids].toSorted()
  }

  /** The slot's word; the tag's where the slot cannot be read. */
  async #parentOf({ tagged }: Published): Promise<string | null> {
    const reading = readVolumeMetadata(await this.#slot(tagged.slot))
    return reading.kind === 'valid' ? reading.metadata.parentId : tagged.parentId
  }

  async read({ imageId, volumeId }: Place): Promise<VolumeMetadata> {
    const volume = await this.#named(volumeId)
    if (volume?.tagged.kind !== 'volume') {
      throw new Fault('VOLUME_NOT_FOUND', `no volume ${volumeId} in image ${imageId}`)
    }
    const reading = readVolumeMetadata(await this.#slot(volume.tagged.slot))
    if (reading.kind === 'invalid') {
      const problems = reading.problems.join('; ')
      throw new Fault('CORRUPT', `metadata of volume ${volumeId} is damaged: ${problems}`, {
        facts: { imageId, volumeId }
      })
    }
    const { metadata } = reading
    if (volume.tagged.imageId === imageId || metadata.role === 'shared') return metadata
    throw new Fault('VOLUME_NOT_FOUND', `volume ${volumeId} belongs to image ${volume.tagged.imageId}`)
  }

  async write(place: Place, metadata: VolumeMetadata, point: string): Promise<void> {
    const volume = await this.#published(place)
    await crashpoint(`${point}/slot`)
    await this.#writeSlot(volume.tagged.slot, metadata)
    if (volume.tagged.parentId === metadata.parentId) return
    await crashpoint(`${point}/tag`)
    await this.#retag([volume.name], [parentTag(volume.tagged.parentId)], [parentTag(metadata.parentId)])
  }

  path({ imageId, volumeId }: Place): string {
    return this.#links.work(imageId, volumeId)
  }

  async usage(place: Place): Promise<Usage> {
    const { size } = await this.#published(place)
    return { physical: size, allocated: size }
  }

  capacityFor(capacity: Bytes, format: 'raw' | 'qcow2'): Bytes {
    return format === 'raw' ? roundUp(capacity, extent) : capacity
  }

  async reserve(volume: NewVolume, signal: AbortSignal): Promise<void> {
    const { imageId, volumeId, metadata } = volume
    // Whoever reserves is alone: the rest of an attempt that a crash ended may go.
    await this.release(volume)
    const all = await this.#all()
    if (all.some(({ name }) => name === volumeId)) {
      throw new Fault('ALREADY_EXISTS', `there is a logical volume ${volumeId}`)
    }
    const size = initialAllocation(metadata, volume.initialSize ?? null, this.#thinInitial)
    await this.#throwIfFull(size, volumeId)
    this.#reserved.set(volumeId, await this.#freeSlot())
    const tags = [initializingTag]
    const command = { vg: this.#group.vg, lv: volumeId, mebibytes: mebibytes(size), tags, pv: null }
    await this.#group.change({ kind: 'createLv', ...command }, signal)
    await crashpoint('volume.create.block/activate')
    await this.reach([{ imageId, volumeId }], signal)
  }

  /** Nothing may come between the look at the tags and the choice, or a slot could be chosen twice. */
  async #freeSlot(): Promise<number> {
    const all = await this.#all()
    const slot = freeSlot([...this.#reserved.values(), ...all.flatMap(slotsOf)])
    for (const { name } of published(all)) this.#reserved.delete(name)
    return slot
  }

  async #throwIfFull(size: Bytes, volumeId: string): Promise<void> {
    const { freeExtents } = await this.#group.read()
    const wanted = Math.ceil(size / extent)
    if (wanted <= freeExtents) return
    throw new Fault('STORAGE_DOMAIN_FULL', `no room for volume ${volumeId}`, {
      facts: { wantedBytes: String(wanted * extent), freeBytes: String(freeExtents * extent) }
    })
  }

  /** All of a logical volume's space is its own from the beginning. */
  async allocate(): Promise<void> {}

  async flush(place: Place): Promise<void> {
    const file = await open(await this.#group.device(place.volumeId), constants.O_RDONLY)
    try {
      await file.sync()
    } finally {
      await file.close()
    }
  }

  async publish({ imageId, volumeId, metadata }: NewVolume, point: string): Promise<void> {
    const slot = this.#reserved.get(volumeId)
    const volume = await this.#named(volumeId)
    if (volume?.tagged.kind === 'volume') return
    if (slot === undefined || volume === undefined) {
      throw new Fault('WRONG_STATE', `volume ${volumeId} was not reserved`)
    }
    await crashpoint(`${point}/slot`)
    await this.#writeSlot(slot, metadata)
    await crashpoint(`${point}/tags`)
    const { remove, add } = commitVolumeTags({ slot, imageId, parentId: metadata.parentId })
    await this.#retag([volumeId], remove, add)
    await this.#links.prepareToo(imageId, volumeId)
  }

  async release({ imageId, volumeId }: Place): Promise<void> {
    const volume = await this.#named(volumeId)
    if (volume?.tagged.kind === 'initializing') await this.#removeLvs([volumeId])
    if (volume?.tagged.kind !== 'volume') await this.#links.forget(imageId, volumeId)
    this.#reserved.delete(volumeId)
  }

  /** A template's LV is reachable from everywhere. */
  async share(): Promise<void> {}

  async sharers({ imageId, volumeId }: Place): Promise<string[]> {
    const users = published(await this.#all()).filter(
      ({ tagged }) => tagged.parentId === volumeId && tagged.imageId !== imageId
    )
    return [...new Set(users.map(({ tagged }) => tagged.imageId))].toSorted()
  }

  async grow(place: Place, to: Bytes, _metadata: VolumeMetadata, signal: AbortSignal): Promise<void> {
    const [grown] = await this.extend([{ volumeId: place.volumeId, to }], signal)
    if (grown?.failure) throw new Fault(grown.failure.reason, grown.failure.text)
    await this.#group.refresh([place.volumeId], signal)
  }

  async extend(requests: readonly ExtendVolume[], signal: AbortSignal): Promise<ExtendedVolume[]> {
    return extendOnBlock(this.#group, requests, signal)
  }

  async refresh(volumeIds: readonly string[], signal: AbortSignal) {
    const sizes = await this.#links.alone(() => this.#group.refresh(volumeIds, signal))
    return [...sizes].map(([volumeId, size]) => ({ volumeId, size }))
  }

  /** The image's tag goes first: from then on nobody sees the rest. */
  async remove(place: Place, point: string): Promise<void> {
    const volume = await this.#named(place.volumeId)
    if (volume === undefined) return
    if (volume.tagged.kind === 'volume') {
      const { imageId } = volume.tagged
      await this.#retag([volume.name], [imageTag(imageId)], [removedImageTag(imageId, false)])
    }
    await crashpoint(`${point}/data`)
    await this.#links.forget(place.imageId, place.volumeId)
    await discardVolumes(this.#group, this.#run, [place.volumeId], never)
    await this.#removeLvs([place.volumeId])
  }

  async markRemoved(imageId: string, wipe: boolean, point: string): Promise<void> {
    const own = published(await this.#all()).filter(({ tagged }) => tagged.imageId === imageId)
    await crashpoint(`${point}/tags`)
    if (own.length === 0) return
    const names = own.map(({ name }) => name)
    await this.#retag(names, [imageTag(imageId)], [removedImageTag(imageId, wipe)])
  }

  async removed(): Promise<Removed[]> {
    const found = new Map<string, Removed>()
    for (const { tagged } of await this.#all()) {
      if (tagged.kind !== 'removed') continue
      const { imageId, wipe } = tagged
      found.set(`${imageId} ${wipe}`, { imageId, wipe })
    }
    return [...found.values()]
  }

  async purge({ imageId, wipe }: Removed, signal: AbortSignal): Promise<void> {
    const marked = (await this.#all()).filter(
      ({ tagged }) => tagged.kind === 'removed' && tagged.imageId === imageId && tagged.wipe === wipe
    )
    if (marked.length === 0) return
    const names = marked.map(({ name }) => name)
    for (const volume of wipe ? marked : []) {
      await idempotent('image.remove.block/wipe', () => wipeVolume(this.#group, this.#run, volume, signal))
    }
    if (!wipe) {
      await idempotent('image.remove.block/discard', () =>
        discardVolumes(this.#group, this.#run, names, signal)
      )
    }
    for (const name of names) await this.#links.forget(imageId, name)
    await idempotent('image.remove.block/purge', () => this.#removeLvs(names))
    await crashpoint('image.remove.block/purged')
  }

  /** What is half made belongs to no image yet; see tidy. */
  async leftovers(): Promise<string[]> {
    return []
  }

  /** What is left of a volume whose removal from a living image was cut off. */
  async removeLeftovers(imageId: string): Promise<string[]> {
    const names = (await this.#all())
      .filter(({ tagged }) => tagged.kind === 'removed' && tagged.imageId === imageId && !tagged.wipe)
      .map(({ name }) => name)
    for (const name of names) await this.#links.forget(imageId, name)
    if (names.length > 0) await this.#removeLvs(names)
    return names
  }

  async reach(places: readonly Place[], signal: AbortSignal): Promise<void> {
    await this.#links.reach(places, signal)
  }

  async letGo(imageId: string): Promise<void> {
    await this.#links.letGo(imageId)
  }

  async openData({ volumeId }: Place): Promise<ImageFile> {
    return openDevice(await this.#group.device(volumeId))
  }

  async removeOrphan(name: string): Promise<void> {
    const volume = await this.#named(name)
    if (volume === undefined) return
    const isNobodys = volume.tagged.kind === 'unknown' && !volume.tags.some(tag => /^(MD|IU)_/.test(tag))
    if (!isNobodys) throw new Fault('WRONG_STATE', `the logical volume ${name} is somebody's`)
    await this.#removeLvs([name])
  }

  /** As manager: half-made volumes go, the hint of a parent follows its slot, what nobody uses is deactivated. */
  async tidy(signal: AbortSignal): Promise<string[]> {
    const done = await this.#tidyToo()
    for (const { name, tagged } of await this.#all()) {
      if (tagged.kind !== 'initializing' || this.#reserved.has(name)) continue
      await idempotent('storage-domain.sweep.block/half-made', () => this.#removeLvs([name]))
      done.push(`volume ${name}: rest of an unfinished creation removed`)
    }
    for (const volume of published(await this.#all())) {
      const { name, tagged } = volume
      const parentId = await this.#parentOf(volume)
      if (parentId === tagged.parentId) continue
      await idempotent('storage-domain.sweep.block/parent-tag', () =>
        this.#retag([name], [parentTag(tagged.parentId)], [parentTag(parentId)])
      )
      done.push(`volume ${name}: the tag of its parent follows its metadata`)
    }
    await this.#links.deactivateStrays(signal)
    return done
  }

  /** Slot of a volume that is published, or is being made here. From what was read last. */
  slotOf(volumeId: string, group: Group): number {
    const tagged = readVolumeTags(group.volumes.get(volumeId)?.tags ?? [])
    if (tagged.kind === 'volume' || tagged.kind === 'removed') return tagged.slot
    const reserved = this.#reserved.get(volumeId)
    if (reserved !== undefined) return reserved
    throw new Fault('VOLUME_NOT_FOUND', `no volume ${volumeId} in storage domain ${this.#group.vg}`)
  }

  /** Of a group that has not changed since, what was read from it is still right. */
  async #look(): Promise<Seen> {
    const group = await this.#group.read()
    if (this.#seen?.group === group) return this.#seen
    const volumes = [...group.volumes.values()]
      .filter(({ name }) => !isSpecialVolume(name))
      .map(volume => ({ ...volume, tagged: readVolumeTags(volume.tags) }))
    return (this.#seen = { group, volumes, byName: new Map(volumes.map(volume => [volume.name, volume])) })
  }

  async #all(): Promise<Volume[]> {
    return (await this.#look()).volumes
  }

  async #named(name: string): Promise<Volume | undefined> {
    return (await this.#look()).byName.get(name)
  }

  async #published({ imageId, volumeId }: Place): Promise<Published> {
    const volume = await this.#named(volumeId)
    if (isPublished(volume)) return volume
    throw new Fault('VOLUME_NOT_FOUND', `no volume ${volumeId} in image ${imageId}`)
  }

  async #slot(slot: number): Promise<Buffer> {
    return readDirect(await this.#group.device('metadata'), slotOffset(slot), 512)
  }

  async #writeSlot(slot: number, metadata: VolumeMetadata): Promise<void> {
    const block = volumeMetadataBlock(metadata)
    await writeDirect(await this.#group.device('metadata'), slotOffset(slot), block)
  }

  async #retag(lvs: string[], remove: string[], add: string[]): Promise<void> {
    const { vg } = this.#group
    await this.#group.change({ kind: 'changeLvTags', vg, lvs, remove, add }, never)
  }

  async #removeLvs(names: string[]): Promise<void> {
    const { volumes } = await this.#group.read()
    const lvs = names.filter(name => volumes.has(name))
    if (lvs.length === 0) return
    const busy = await this.#group.activator.deactivate(lvs, never)
    if (busy.length > 0) {
      throw new Fault('BUSY', `volume ${busy[0]} is in use on this host`, {
        facts: { volumeId: busy[0] ?? '' }
      })
    }
    await this.#group.change({ kind: 'removeLvs', vg: this.#group.vg, lvs }, never)
    for (const name of lvs) this.#reserved.delete(name)
  }
}

const never = new AbortController().signal

const isPublished = (volume: Volume | undefined): volume is Published => volume?.tagged.kind === 'volume'

const published = (volumes: Volume[]): Published[] => volumes.filter(isPublished)

function slotsOf({ tagged }: Volume): number[] {
  return tagged.kind === 'volume' || tagged.kind === 'removed' ? [tagged.slot] : []
}
