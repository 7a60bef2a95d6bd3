import type { VmSpec } from '../../proto/generated/types/drover/agent/v1/VmSpec.js'
import { readVmLimits } from '../qos/vm-limits.js'
import { cluster } from '../store/clusters.js'
import { disk } from '../store/disks.js'
import { vmLuns } from '../store/luns.js'
import type { Reader } from '../store/query.js'
import { leaseOf, vm, vmCdDrives, vmDisks, vmNics } from '../store/vms.js'
import { vmSpec } from '../vm-spec.js'
import { mediumOf } from './change-cd.js'

/** What a host needs to run a VM, as the store has it now; `machineType` counts where the VM has none yet. */
export function readVmSpec(reader: Reader, vmId: string, machineType: string): VmSpec {
  const row = vm(reader, vmId)
  return vmSpec({
    vm: row,
    disks: vmDisks(reader, vmId).map(attachment => ({ attachment, disk: disk(reader, attachment.diskId) })),
    cdDrives: vmCdDrives(reader, vmId).map(({ diskId }) => ({ medium: mediumOf(reader, diskId) })),
    luns: vmLuns(reader, vmId),
    nics: vmNics(reader, vmId),
    lease: leaseOf(reader, vmId),
    cpuModel: row.cpuModel || cluster(reader, row.clusterId).cpuModel,
    machineType: row.machineType || machineType,
    limits: readVmLimits(reader, vmId)
  })
}
