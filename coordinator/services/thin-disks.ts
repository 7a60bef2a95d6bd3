import { seconds } from '../../common/units.js'
import type { ThinState__Output as ThinState } from '../../proto/generated/types/drover/common/v1/ThinState.js'
import { agentServices } from '../../proto/load.js'
import type { Agents } from '../agents.js'
import type { Disk } from '../store/disks.js'
import type { Reader } from '../store/query.js'
import { vmOrNull } from '../store/vms.js'

/** How far a disk is ahead of its guest; null where nobody can say. */
export type ThinOf = (disk: Disk, signal: AbortSignal) => Promise<ThinState | null>

const patience = seconds(2)

/** Asks the host on which the disk's VM is. A disk is shown without it when that does not answer. */
export const thinOn =
  (agents: Agents, reader: Reader): ThinOf =>
  async ({ id, vmId, format, allocation }, signal) => {
    const hostId = vmId ? (vmOrNull(reader, vmId)?.hostId ?? null) : null
    if (hostId === null || format !== 'qcow2' || allocation !== 'thin') return null
    const { GetThinDisk } = agentServices.thin
    return agents.call(hostId, GetThinDisk, { diskId: id }, signal, patience).catch(() => null)
  }
