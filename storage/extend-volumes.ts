import type { Reason } from '../common/fault.js'
import type { Bytes } from '../common/units.js'
import type { StorageDomain } from './storage-domain.js'

// Thin volumes of a block storage domain that need more room. Only the manager's LVM metadata changes: every host
// that uses a volume reloads its own mapping afterwards (refreshVolumes), because the order in which hosts see the
// new size matters during a migration.

/** The size is absolute, so that the same request twice has one effect. */
export type ExtendVolume = { volumeId: string; to: Bytes }

export type ExtendedVolume = {
  volumeId: string
  /** What LVM's metadata says afterwards, in whole extents; 0 where there is no such volume. */
  size: Bytes
  /** Null where the volume is at least as large as asked for. */
  failure: { reason: Reason; text: string } | null
}

/**
 * Makes all these volumes at least as large as asked, alone among all hosts. One that fails takes no other with
 * it: the answers are in the order of the requests. Throws only if the manager's lease or the storage is lost.
 */
export async function extendVolumes(
  storageDomain: StorageDomain,
  requests: readonly ExtendVolume[],
  signal: AbortSignal
): Promise<ExtendedVolume[]> {
  await using manager = await storageDomain.leases.asManager(signal)
  void manager
  return storageDomain.volumes.extend(requests, signal)
}

/** Reloads the mapping of active volumes on this host; their sizes as the kernel then shows them. */
export async function refreshVolumes(
  storageDomain: StorageDomain,
  volumeIds: readonly string[],
  signal: AbortSignal
): Promise<Array<{ volumeId: string; size: Bytes }>> {
  return storageDomain.volumes.refresh(volumeIds, signal)
}
