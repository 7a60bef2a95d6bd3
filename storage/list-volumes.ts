import { Fault } from '../common/fault.js'
import type { StorageDomain } from './storage-domain.js'
import type { VolumeEntry } from './verbs.js'

/** Volumes of one image or of all, by image and volume id. Shared ones are listed in their own image only. */
export async function listVolumes(
  storageDomain: StorageDomain,
  imageId: string | null
): Promise<VolumeEntry[]> {
  const { volumes } = storageDomain
  const entries: VolumeEntry[] = []
  for (const image of imageId === null ? await volumes.imageIds() : [imageId]) {
    for (const volumeId of (await volumes.volumeIds(image)) ?? []) {
      const place = { imageId: image, volumeId }
      const entry = await readEntry(storageDomain, place)
      if (entry !== null && (entry.metadata.imageId === image || imageId !== null)) entries.push(entry)
    }
  }
  return entries
}

/** What is being removed meanwhile, or is damaged, is not listed; the audit names it. */
async function readEntry({ volumes }: StorageDomain, place: { imageId: string; volumeId: string }) {
  try {
    const [metadata, usage] = await Promise.all([volumes.read(place), volumes.usage(place)])
    return { ...place, metadata, ...usage }
  } catch (error) {
    const isGone = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    if (isGone || Fault.is(error, 'VOLUME_NOT_FOUND') || Fault.is(error, 'CORRUPT')) return null
    throw error
  }
}
