import type { StorageDomain } from './storage-domain.js'

/**
 * Alone among all hosts of all installations, where nobody uses the storage domain: as a host of its lockspace that
 * holds the manager's lease. Who comes at the same time waits for the lease, and has to look again at what it then
 * finds. This host leaves the lockspace afterwards, if it joined only for this.
 */
export async function aloneAmongHosts(
  { leases, onHost }: StorageDomain,
  sanlockHostId: number,
  signal: AbortSignal
): Promise<AsyncDisposable> {
  const isInUse = await onHost.isLinked()
  if (!(await leases.isJoined(signal))) {
    // Of a visit that was cut off: its device may have had another name.
    if (!isInUse) await leases.leave(signal)
    await leases.join(sanlockHostId, signal)
  }
  const leave = async () => {
    if (!isInUse) await leases.leave(AbortSignal.timeout(60_000))
  }
  try {
    const manager = await leases.asManager(signal)
    return {
      [Symbol.asyncDispose]: async () => {
        await manager[Symbol.asyncDispose]()
        await leave()
      }
    }
  } catch (error) {
    await leave()
    throw error
  }
}

/** After a visit that was cut off when it had done its work. */
export async function endVisit({ leases, onHost }: StorageDomain, signal: AbortSignal): Promise<void> {
  if (!(await onHost.isLinked())) await leases.leave(signal)
}
