import { seconds, type Seconds } from '../../common/units.js'

/** A VM of which nobody knows where it runs. */
export type UnknownVm = {
  vmId: string
  /** How long nobody has known. */
  since: Seconds
}

/** What was on its way is told by then. */
const patience = seconds(60)

/**
 * VMs that run nowhere: their host let them go or is proven to be stopped, and every other host is heard, or stopped
 * too, and has none of them. So it is after a restore from an older backup, when the host that had the VM since then
 * has died meanwhile.
 */
export function orphansOf(vms: readonly UnknownVm[], areAllHeard: boolean, now: Seconds): string[] {
  if (!areAllHeard) return []
  return vms.filter(({ since }) => now - since >= patience).map(({ vmId }) => vmId)
}
