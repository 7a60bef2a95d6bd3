import { lstat, readdir, rename, truncate } from 'node:fs/promises'
import { idempotent, crashpoint } from '../common/crashpoint.js'
import { syncDirectory } from '../common/durable-file.js'
import { Fault } from '../common/fault.js'
import type { Run } from '../common/run.js'
import { type Bytes, bytes } from '../common/units.js'
import { readDirect } from './direct-io.js'
import { type FileLayout, removedPrefix, wipedPrefix } from './file-layout.js'
import {
  createDirectory,
  createFile,
  exists,
  ifThere,
  type Owner,
  relink,
  removeFile,
  removeFlatDirectory,
  replaceFile,
  syncFile
} from './files.js'
import { openImageFile } from './image-file.js'
import type { ImageFile } from './image-inspector/image-file.js'
import type { ExtendedVolume, ExtendVolume } from './extend-volumes.js'
import { isUuid } from './format/uuid.js'
import { readVolumeMetadata, volumeMetadataText, type VolumeMetadata } from './format/volume-metadata.js'
import type { NewVolume, Place, Removed, Usage, Volumes } from './storage-domain.js'

// Volumes as files. A volume exists if its `.meta` does; a rename makes it appear, an unlink makes it vanish.
// A template's three files are hard-linked into the directories of the images made from it. The `.meta` in
// the template's own directory is the truth: rewriting it breaks the links, so they are made again.

const largestMeta = 4096

export class FileVolumes implements Volumes {
  readonly onBlock = false
  readonly #layout: FileLayout
  readonly #owner: Owner
  readonly #hasLeases: boolean
  readonly #run: Run

  constructor(layout: FileLayout, owner: Owner, hasLeases: boolean, run: Run) {
    this.#layout = layout
    this.#owner = owner
    this.#hasLeases = hasLeases
    this.#run = run
  }

  async imageIds(): Promise<string[]> {
    return (await readdir(this.#layout.images)).filter(isUuid).toSorted()
  }

  async volumeIds(imageId: string): Promise<string[] | null> {
    const names = await ifThere(readdir(this.#layout.image(imageId)))
    if (names === null) return null
    return names.filter(name => isUuid(name) && names.includes(`${name}.meta`)).toSorted()
  }

  async read({ imageId, volumeId }: Place): Promise<VolumeMetadata> {
    const here = await this.#readMeta({ imageId, volumeId })
    if (here === null) {
      throw new Fault('VOLUME_NOT_FOUND', `no volume ${volumeId} in image ${imageId}`)
    }
    if (here.imageId === imageId || !isUuid(here.imageId)) return here
    return (await this.#readMeta({ imageId: here.imageId, volumeId })) ?? here
  }

  async #readMeta({ imageId, volumeId }: Place): Promise<VolumeMetadata | null> {
    const text = await ifThere(readDirect(this.#layout.meta(imageId, volumeId), 0, largestMeta))
    if (text === null) return null
    const reading = readVolumeMetadata(text)
    if (reading.kind === 'valid') return reading.metadata
    throw new Fault('CORRUPT', `metadata of volume ${volumeId} is damaged: ${reading.problems.join('; ')}`, {
      facts: { imageId, volumeId }
    })
  }

  async write(place: Place, metadata: VolumeMetadata, point: string): Promise<void> {
    const content = volumeMetadataText(metadata)
    await replaceFile(this.#layout.meta(place.imageId, place.volumeId), content, this.#owner, point)
    if (metadata.role !== 'shared') return
    for (const imageId of await this.sharers(place)) await this.share(place, imageId)
  }

  /** Files are there as long as their mount is. */
  async reach(): Promise<void> {}
  async letGo(): Promise<void> {}

  async openData(place: Place): Promise<ImageFile> {
    return openImageFile(this.path(place))
  }

  capacityFor(capacity: Bytes): Bytes {
    return capacity
  }

  /** A file that belongs to no volume lies in an image, and goes with its leftovers. */
  async removeOrphan(name: string): Promise<void> {
    throw new Fault('UNSUPPORTED', `there is no orphan ${name} among files`)
  }

  async tidy(): Promise<string[]> {
    return []
  }

  path({ imageId, volumeId }: Place): string {
    return this.#layout.volume(imageId, volumeId)
  }

  async usage(place: Place): Promise<Usage> {
    const { size, blocks } = await lstat(this.path(place))
    return { physical: bytes(size), allocated: bytes(blocks * 512) }
  }

  async reserve({ imageId, volumeId }: NewVolume): Promise<void> {
    await createDirectory(this.#layout.image(imageId), this.#owner)
    await crashpoint('volume.create.file/image-directory')
    // Whoever reserves is alone: the rest of an attempt that a crash ended may go.
    await this.release({ imageId, volumeId })
    await createFile(this.#layout.volume(imageId, volumeId), this.#owner)
    if (this.#hasLeases) await createFile(this.#layout.lease(imageId, volumeId), this.#owner)
  }

  async allocate({ imageId, volumeId, metadata }: NewVolume, signal: AbortSignal): Promise<void> {
    const path = this.#layout.volume(imageId, volumeId)
    const from = metadata.format === 'raw' ? 4096 : Math.ceil((await lstat(path)).size / 4096) * 4096
    const length = metadata.capacity - from
    if (length <= 0) return
    await this.#run('fallocate', ['-o', String(from), '-l', String(length), path], signal).catch(
      (cause: unknown) => {
        if (Fault.is(cause, 'COMMAND_FAILED') && /No space left/.test(cause.message)) {
          throw new Fault('STORAGE_DOMAIN_FULL', `no room for ${length} bytes of volume ${volumeId}`, {
            cause
          })
        }
        throw cause
      }
    )
  }

  async flush(place: Place): Promise<void> {
    await syncFile(this.path(place))
  }

  async publish({ imageId, volumeId, metadata }: NewVolume, point: string): Promise<void> {
    const content = volumeMetadataText(metadata)
    await replaceFile(this.#layout.meta(imageId, volumeId), content, this.#owner, point)
    await syncDirectory(this.#layout.images)
  }

  async release({ imageId, volumeId }: Place): Promise<void> {
    const { lease, meta, volume } = this.#layout
    if (await exists(meta(imageId, volumeId))) return
    for (const path of [
      `${meta(imageId, volumeId)}.new`,
      lease(imageId, volumeId),
      volume(imageId, volumeId)
    ]) {
      await removeFile(path)
    }
  }

  async share({ imageId: from, volumeId }: Place, to: string): Promise<void> {
    await createDirectory(this.#layout.image(to), this.#owner)
    await relink(this.#layout.volume(from, volumeId), this.#layout.volume(to, volumeId))
    if (this.#hasLeases) {
      await crashpoint('volume.share.file/lease')
      await relink(this.#layout.lease(from, volumeId), this.#layout.lease(to, volumeId))
    }
    await crashpoint('volume.share.file/meta')
    await relink(this.#layout.meta(from, volumeId), this.#layout.meta(to, volumeId))
    await crashpoint('volume.share.file/sync')
    await syncDirectory(this.#layout.image(to))
  }

  async sharers(template: Place): Promise<string[]> {
    // One link means one image. More may also be images marked as removed, so look where they are.
    const file = await ifThere(lstat(this.path(template)))
    if (file === null || file.nlink === 1) return []
    const sharers: string[] = []
    for (const imageId of await this.imageIds()) {
      if (imageId === template.imageId) continue
      if (await exists(this.#layout.volume(imageId, template.volumeId))) sharers.push(imageId)
    }
    return sharers
  }

  async grow(place: Place, to: Bytes, metadata: VolumeMetadata, signal: AbortSignal): Promise<void> {
    const path = this.path(place)
    const { size } = await lstat(path)
    if (size < to && metadata.allocation === 'preallocated') {
      await this.#run('fallocate', ['-o', String(size), '-l', String(to - size), path], signal)
    } else if (size < to) {
      await truncate(path, to)
    }
    await syncFile(path)
  }

  /** The `.meta` goes first: from then on nobody sees the rest. */
  async remove({ imageId, volumeId }: Place, point: string): Promise<void> {
    const { image, lease, meta, volume } = this.#layout
    await removeFile(meta(imageId, volumeId))
    await syncDirectory(image(imageId))
    await crashpoint(`${point}/data`)
    await removeFile(volume(imageId, volumeId))
    await crashpoint(`${point}/lease`)
    await removeFile(lease(imageId, volumeId))
  }

  async markRemoved(imageId: string, wipe: boolean, point: string): Promise<void> {
    await ifThere(rename(this.#layout.image(imageId), this.#layout.removed(imageId, wipe)))
    await crashpoint(`${point}/sync`)
    await syncDirectory(this.#layout.images)
  }

  async removed(): Promise<Removed[]> {
    const found: Removed[] = []
    for (const name of await readdir(this.#layout.images)) {
      const wipe = name.startsWith(wipedPrefix)
      const imageId = name.slice((wipe ? wipedPrefix : removedPrefix).length)
      if (name.startsWith(removedPrefix) && isUuid(imageId)) found.push({ imageId, wipe })
    }
    return found
  }

  async purge({ imageId, wipe }: Removed, signal: AbortSignal): Promise<void> {
    const directory = this.#layout.removed(imageId, wipe)
    if (wipe) await idempotent('image.remove.file/wipe', () => this.#wipe(directory, signal))
    await idempotent('image.remove.file/purge', () => removeFlatDirectory(directory))
    await crashpoint('image.remove.file/purged')
    await syncDirectory(this.#layout.images)
  }

  /** Zeroes over everything that only this image has; a template's data belongs to others too. */
  async #wipe(directory: string, signal: AbortSignal): Promise<void> {
    for (const name of (await ifThere(readdir(directory))) ?? []) {
      const path = `${directory}/${name}`
      const { nlink, size } = await lstat(path)
      if (!isUuid(name) || nlink > 1 || size === 0) continue
      const count = `count=${size}`
      await this.#run(
        'dd',
        ['if=/dev/zero', `of=${path}`, 'bs=1M', count, 'iflag=count_bytes', 'conv=notrunc,fsync'],
        signal
      )
    }
  }

  async leftovers(imageId: string): Promise<string[]> {
    const names = (await ifThere(readdir(this.#layout.image(imageId)))) ?? []
    return names.filter(name => {
      const volumeId = name.replace(/\.(meta\.new|meta|lease)$/, '')
      if (!isUuid(volumeId)) return false
      return !names.includes(`${volumeId}.meta`) || name.endsWith('.meta.new') || !names.includes(volumeId)
    })
  }

  async removeLeftovers(imageId: string): Promise<string[]> {
    const removed: string[] = []
    for (const name of await this.leftovers(imageId)) {
      // A record whose data is missing is for people to look at, not for a sweep to hide.
      if (name.endsWith('.meta')) continue
      await removeFile(`${this.#layout.image(imageId)}/${name}`)
      removed.push(name)
    }
    if (removed.length > 0) await syncDirectory(this.#layout.image(imageId))
    if (await this.#holdsNothingOfItsOwn(imageId)) {
      await removeFlatDirectory(this.#layout.image(imageId))
      removed.push('.')
    }
    return removed
  }

  /** A file grows by itself while it is written. */
  async extend(requests: readonly ExtendVolume[]): Promise<ExtendedVolume[]> {
    return requests.map(({ volumeId, to }) => ({ volumeId, size: to, failure: null }))
  }

  async refresh(): Promise<Array<{ volumeId: string; size: Bytes }>> {
    return []
  }

  /** An empty directory, or one with nothing but links to a template: the beginning of an image that never was. */
  async #holdsNothingOfItsOwn(imageId: string): Promise<boolean> {
    const names = (await ifThere(readdir(this.#layout.image(imageId)))) ?? ['?']
    if (names.length === 0) return true
    const metas = names.filter(name => name.endsWith('.meta')).map(name => name.slice(0, -'.meta'.length))
    if (metas.length === 0 || names.some(name => !isUuid(name.slice(0, 36)))) return false
    for (const volumeId of metas) {
      const metadata = await this.#readMeta({ imageId, volumeId }).catch(() => null)
      if (metadata === null || metadata.imageId === imageId) return false
      if (!(await exists(this.#layout.meta(metadata.imageId, volumeId)))) return false
    }
    return true
  }
}
