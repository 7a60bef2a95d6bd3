import { crashpoint } from '../common/crashpoint.js'
import { Fault } from '../common/fault.js'
import { type Bytes, bytes } from '../common/units.js'
import type { BlockGroup, Group } from './block-group.js'
import type { ExtendedVolume, ExtendVolume } from './extend-volumes.js'
import { readVolumeTags } from './format/block-tags.js'
import { isSpecialVolume } from './format/leases-layout.js'
import { mebibytes } from './format/volume-sizes.js'

type Failure = NonNullable<ExtendedVolume['failure']>

/**
 * One look at LVM's metadata before and one after, and between them one LVM for all volumes that are too small:
 * `lvextend` takes one volume, and its start costs more than its work. Sizes are compared in extents, since a command
 * that changes nothing fails. What was done is what the metadata says. This host's kernel does not see the new size:
 * it may be the source of a migration.
 */
export async function extendOnBlock(
  group: BlockGroup,
  requests: readonly ExtendVolume[],
  signal: AbortSignal
): Promise<ExtendedVolume[]> {
  const wanted = new Map<string, number>()
  for (const { volumeId, to } of requests) wanted.set(volumeId, Math.max(to, wanted.get(volumeId) ?? 0))
  const { short, failures } = sorted(await group.read(), wanted)
  if (short.length > 0) {
    await crashpoint('volume.extend.block/lv')
    for (const [volumeId, failure] of await extend(group, short, signal)) failures.set(volumeId, failure)
    await crashpoint('volume.extend.block/done')
  }
  const after = await group.read()
  return requests.map(({ volumeId }) => {
    const size = sizeOf(after, volumeId)
    if (size === null) {
      const failure: Failure = { reason: 'VOLUME_NOT_FOUND', text: `no volume ${volumeId}` }
      return { volumeId, size: bytes(0), failure }
    }
    // Another attempt may have won.
    const isThere = size >= (wanted.get(volumeId) ?? 0)
    return { volumeId, size, failure: isThere ? null : (failures.get(volumeId) ?? unexplained) }
  })
}

const unexplained: Failure = { reason: 'COMMAND_FAILED', text: 'LVM did not extend the volume' }

/** Which volumes need a command, and for which of them there is no room, in the order of the requests. */
function sorted(group: Group, wanted: ReadonlyMap<string, number>) {
  const short: Array<{ volumeId: string; to: Bytes }> = []
  const failures = new Map<string, Failure>()
  let free = group.freeExtents
  for (const [volumeId, to] of wanted) {
    const size = sizeOf(group, volumeId)
    if (size === null || size >= to) continue
    const extents = Math.ceil(to / group.extentSize) - size / group.extentSize
    if (extents > free) {
      const text = `volume ${volumeId} needs ${extents} extents and ${free} are free`
      failures.set(volumeId, { reason: 'STORAGE_DOMAIN_FULL', text })
      continue
    }
    free -= extents
    short.push({ volumeId, to: bytes(to) })
  }
  return { short, failures }
}

/** Those that one LVM for all did not extend, for whatever reason, get one each, which says why. */
async function extend(
  group: BlockGroup,
  volumes: ReadonlyArray<{ volumeId: string; to: Bytes }>,
  signal: AbortSignal
): Promise<Map<string, Failure>> {
  const command = ({ volumeId: lv, to }: { volumeId: string; to: Bytes }) => {
    return { kind: 'extendLv' as const, vg: group.vg, lv, mebibytes: mebibytes(to), refresh: false }
  }
  if (volumes.length > 1) {
    await group.changeAll(volumes.map(command), signal).catch((error: unknown) => {
      if (signal.aborted || !Fault.is(error, 'COMMAND_FAILED')) throw error
    })
  }
  const failures = new Map<string, Failure>()
  const now = await group.read()
  for (const volume of volumes) {
    if ((sizeOf(now, volume.volumeId) ?? 0) >= volume.to) continue
    try {
      await group.change(command(volume), signal)
    } catch (error) {
      if (!(error instanceof Fault) || signal.aborted) throw error
      failures.set(volume.volumeId, { reason: error.reason, text: error.message })
    }
  }
  return failures
}

/** Null of what is no volume: special ones and half-made ones have a size of their own. */
function sizeOf(group: Group, volumeId: string): Bytes | null {
  const volume = group.volumes.get(volumeId)
  if (volume === undefined || isSpecialVolume(volumeId)) return null
  return readVolumeTags(volume.tags).kind === 'volume' ? volume.size : null
}
