import type { Tx } from '../store/query.js'
import { leaseOf, vm } from '../store/vms.js'
import type { AllJobs } from './kinds.js'
import type { RestartProof } from './restart-vm.js'
import { startContext } from './start-steps.js'

/**
 * Orders the restart of a highly available VM, in the transaction that records why it may be started. A VM
 * that a job works on is refused as BUSY: the caller looks again later.
 */
export function enqueueRestart(
  jobs: AllJobs,
  tx: Tx,
  {
    vmId,
    proof,
    preferredHostId = null
  }: { vmId: string; proof: RestartProof; preferredHostId?: string | null }
): string {
  const leaseStorageDomainId = leaseOf(tx, vmId)?.storageDomainId ?? null
  const context = { ...startContext(vmId), preferredHostId, proof, leaseStorageDomainId }
  const { hostId } = vm(tx, vmId)
  return jobs.create(tx, 'vm.restart', {
    context,
    objects: { vm: vmId, ...(hostId !== null && { host: hostId }) },
    claims: [{ type: 'vm', id: vmId, mode: 'change' }],
    actor: 'system'
  })
}
