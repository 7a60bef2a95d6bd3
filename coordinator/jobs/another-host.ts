import type { Fault, Reason } from '../../common/fault.js'

// Whether a start that failed on one host is worth a try on another. PURE.

export const mostHosts = 3

export type Tried = { hostId: string | null; onlyHostId: string | null; excluded: Record<string, string> }

// What would be the same everywhere, or must not be tried a second time before somebody has looked.
const sameEverywhere: ReadonlySet<Reason> = new Set([
  'CANCELLED',
  'CORRUPT',
  'IMAGE_REFUSED',
  'INVALID_REQUEST',
  'LEASE_HELD',
  'NO_HOST',
  'STALE_COORDINATOR',
  'STALE_GENERATION',
  'VOLUME_NOT_FOUND'
])

/** The hosts to leave out from now on, or null when there is no other way. */
export function anotherHost(
  { hostId, onlyHostId, excluded }: Tried,
  fault: Fault
): Record<string, string> | null {
  if (hostId === null || onlyHostId !== null || sameEverywhere.has(fault.reason)) return null
  const next = { ...excluded, [hostId]: `failed here: ${fault.message}` }
  return Object.keys(next).length < mostHosts ? next : null
}
