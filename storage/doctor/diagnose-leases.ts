import { Fault } from '../../common/fault.js'
import { asFault } from '../faults.js'
import { leaseName } from '../audit-storage-domain.js'
import { readDirect } from '../direct-io.js'
import type { StorageDomain } from '../storage-domain.js'
import { type Diagnosis, unrepaired } from './diagnosis.js'

/** Leases of VMs that nobody has any more, and an index that does not fit its resources. */
export async function diagnoseVmLeases(
  { identity, leases, special }: StorageDomain,
  vmIds: readonly string[] | null,
  signal: AbortSignal
): Promise<Diagnosis[]> {
  if (!identity.shared) return []
  const rebuild = (text: string): Diagnosis => ({
    ...{ kind: 'rebuildVmLeases', object: identity.id, imageId: '', text },
    plan: 'the index is rebuilt from the resources'
  })
  const known = await leases.vmLeases(signal).catch((error: unknown) => {
    const fault = asFault(error)
    if (!(fault instanceof Fault)) throw error
    return fault
  })
  if (known instanceof Fault) return [rebuild(`the index of VM leases cannot be read: ${known.message}`)]
  const found: Diagnosis[] = []
  for (const { leaseId, offset, owner } of known) {
    signal.throwIfAborted()
    const name = leaseName(await readDirect(special.xleases, offset, identity.geometry.sectorSize))
    if (name !== leaseId) {
      found.push(rebuild(`record and resource of lease ${leaseId} differ: ${name ?? 'none'}`))
    } else if (vmIds !== null && !vmIds.includes(leaseId)) {
      const text = `the lease ${leaseId} belongs to no VM`
      found.push(
        owner === null
          ? { kind: 'removeVmLease', object: leaseId, imageId: '', text, plan: 'it is removed' }
          : unrepaired(leaseId, '', `${text}, and host id ${owner.sanlockHostId} holds it`)
      )
    }
  }
  return found
}
