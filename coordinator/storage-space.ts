import type { NewEvent } from './store/events.js'

// When the space of a storage domain is worth an alert. PURE.

type Space = { totalBytes: number; freeBytes: number }
export type SpaceNews = Pick<NewEvent, 'severity' | 'kind' | 'text'>

const GiB = 2 ** 30

/** What is kept free: new disks are refused below it, so that the disks there are can grow. */
export const keptFree = ({
  criticalBytes,
  totalBytes
}: {
  criticalBytes: number
  totalBytes: number
}): number => criticalBytes || Math.min(5 * GiB, Math.floor(totalBytes / 20))

const metadataFull = 80
const metadataRoomy = 70

/** Said once on the way up: LVM changes nothing any more, and no disk grows, once its metadata has no room. */
export function metadataNews(name: string, before: number, now: number): SpaceNews | null {
  if (before < metadataFull && now >= metadataFull) {
    const text =
      `storage domain ${name}: LVM's metadata takes ${now} % of its room; at 100 % no disk can be made or grow. ` +
      'Delete disks and snapshots, or move some to another storage domain'
    return { severity: 'alert', kind: 'storage_domain.metadata_full', text }
  }
  if (before >= metadataRoomy && now < metadataRoomy) {
    const text = `storage domain ${name}: LVM's metadata takes ${now} % of its room`
    return { severity: 'info', kind: 'storage_domain.metadata_enough', text }
  }
  return null
}

/** Said once on the way down, and once on the way up when a tenth more than that is free. */
export function spaceNews(name: string, before: Space, now: Space, least: number): SpaceNews | null {
  if (before.totalBytes === 0 || now.totalBytes === 0) return null
  const said = `storage domain ${name} has ${now.freeBytes} of ${now.totalBytes} bytes free`
  if (before.freeBytes >= least && now.freeBytes < least) {
    const text = `${said}, fewer than the ${least} it keeps: no new disks; thin disks will run full`
    return { severity: 'alert', kind: 'storage_domain.space_low', text }
  }
  const enough = least * 1.1
  if (before.freeBytes < enough && now.freeBytes >= enough) {
    return { severity: 'info', kind: 'storage_domain.space_enough', text: said }
  }
  return null
}
