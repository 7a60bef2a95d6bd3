import { seconds, type Seconds } from '../../common/units.js'

/** A VM of which nobody knows where it runs. */
export type UnknownVm = {
  vmId: string
  /** How long nobody has known. */
  since: Seconds
  /** Whether the host on record is in service: then it has said that it does not have the VM. */
  isHostUp: boolean
}

/** What was on its way is told by then. */
const patience = seconds(60)

/**
 * VMs that run nowhere: their host let them go, and every host of the cluster is heard and has none of them. So
 * it is after a restore from an older backup, when the host that had the VM since then has died meanwhile.
 */
export function orphansOf(vms: readonly UnknownVm[], areAllHeard: boolean, now: Seconds): string[] {
  if (!areAllHeard) return []
  return vms.filter(({ since, isHostUp }) => isHostUp && now - since >= patience).map(({ vmId }) => vmId)
}
