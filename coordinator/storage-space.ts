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
