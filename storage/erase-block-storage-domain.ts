import { crashpoint, idempotent } from '../common/crashpoint.js'
import type { BlockGroup } from './block-group.js'
import { readyTag, unreadyTag } from './format/block-tags.js'

/** One change of the tags, and the VG is no storage domain any more; the rest goes after it, also after a crash. */
export async function eraseGroup(group: BlockGroup, signal: AbortSignal): Promise<void> {
  const { vg } = group
  await idempotent('storage-domain.format.block/unready', async () => {
    if (!(await group.read()).tags.includes(readyTag)) return
    await group.changeUnchecked({ kind: 'changeVgTags', vg, remove: [readyTag], add: [unreadyTag] }, signal)
  })
  await removeGroup(group, signal)
}

/** An unready VG and everything in it. The devices stay physical volumes of nothing. */
export async function removeGroup(group: BlockGroup, signal: AbortSignal): Promise<void> {
  const { vg } = group
  await group.activator.deactivate(await group.activator.active(), signal)
  await crashpoint('storage-domain.format.block/volumes')
  const lvs = [...((await group.find())?.volumes.keys() ?? [])]
  if (lvs.length > 0) await group.changeUnchecked({ kind: 'removeLvs', vg, lvs }, signal)
  await crashpoint('storage-domain.format.block/group')
  if ((await group.find()) !== null) await group.changeUnchecked({ kind: 'removeVg', vg }, signal)
  await crashpoint('storage-domain.format.block/done')
}
