import { crashpoint } from '../common/crashpoint.js'
import { Fault } from '../common/fault.js'
import { bytes } from '../common/units.js'
import type { BlockGroup } from './block-group.js'
import type { ExtendedVolume, ExtendVolume } from './extend-volumes.js'
import { readVolumeTags } from './format/block-tags.js'
import { isSpecialVolume } from './format/leases-layout.js'
import { mebibytes } from './format/volume-sizes.js'

/**
 * One look at LVM's metadata for all, then a command for each that is too small: `lvextend` takes one volume at a
 * time. Sizes are compared in extents, since a command that changes nothing fails. This host's kernel does not see
 * the new size: it may be the source of a migration.
 */
export async function extendOnBlock(
  group: BlockGroup,
  requests: readonly ExtendVolume[],
  signal: AbortSignal
): Promise<ExtendedVolume[]> {
  const wanted = new Map<string, number>()
  for (const { volumeId, to } of requests) wanted.set(volumeId, Math.max(to, wanted.get(volumeId) ?? 0))
  const outcomes = new Map<string, ExtendedVolume>()
  for (const [volumeId, to] of wanted) outcomes.set(volumeId, await extendOne(group, volumeId, to, signal))
  return requests.flatMap(({ volumeId }) => outcomes.get(volumeId) ?? [])
}

async function extendOne(
  group: BlockGroup,
  volumeId: string,
  to: number,
  signal: AbortSignal
): Promise<ExtendedVolume> {
  const before = await sizeOf(group, volumeId)
  if (before === null) {
    const failure = { reason: 'VOLUME_NOT_FOUND' as const, text: `no volume ${volumeId}` }
    return { volumeId, size: bytes(0), failure }
  }
  if (before >= to) return { volumeId, size: before, failure: null }
  try {
    const { extentSize, freeExtents } = await group.read()
    const extents = Math.ceil(to / extentSize) - before / extentSize
    if (extents > freeExtents) {
      throw new Fault(
        'STORAGE_DOMAIN_FULL',
        `volume ${volumeId} needs ${extents} extents and ${freeExtents} are free`
      )
    }
    const size = mebibytes(bytes(to))
    await crashpoint('volume.extend.block/lv')
    await group.change(
      { kind: 'extendLv', vg: group.vg, lv: volumeId, mebibytes: size, refresh: false },
      signal
    )
  } catch (error) {
    if (!(error instanceof Fault) || signal.aborted) throw error
    // Another attempt may have won.
    const after = (await sizeOf(group, volumeId)) ?? bytes(0)
    const failure = after >= to ? null : { reason: error.reason, text: error.message }
    return { volumeId, size: after, failure }
  }
  await crashpoint('volume.extend.block/done')
  return { volumeId, size: (await sizeOf(group, volumeId)) ?? bytes(0), failure: null }
}

/** Null of what is no volume: special ones and half-made ones have a size of their own. */
async function sizeOf(group: BlockGroup, volumeId: string) {
  const volume = await group.volume(volumeId)
  if (volume === null || isSpecialVolume(volumeId)) return null
  return readVolumeTags(volume.tags).kind === 'volume' ? volume.size : null
}
