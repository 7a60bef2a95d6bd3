/** Taking a host's storage away where its power cannot be switched: SCSI-3 reservations on its LUNs. */
export type StorageFencing = {
  /** Whether the storage of this host can be taken away at all. */
  isPossible(hostId: string): boolean
  /** Preempts the host's key on every LUN and reads back that it is gone; rejects where one is left. */
  shutOut(hostId: string, signal: AbortSignal): Promise<void>
  /** Of these VMs, those all of whose disks lie on storage that the host was shut out of. */
  covers(hostId: string, vmIds: readonly string[]): string[]
}

/** An installation without such storage. */
export const noStorageFencing: StorageFencing = {
  isPossible: () => false,
  shutOut: () => Promise.reject(new Error('there is no storage with reservations')),
  covers: () => []
}
