import type { Look } from '../scheduler/look.js'
import type { AffinityGroup } from '../scheduler/cluster.js'

// What an affinity group says about one VM on one host. PURE.

/** Why the rule between VM and hosts would be broken there, or null. */
export function brokenHostRule(group: AffinityGroup, hostId: string): string | null {
  if (group.hostRule === 'none' || group.hostIds.length === 0) return null
  const isNamed = group.hostIds.includes(hostId)
  if (group.hostRule === 'positive' && !isNamed) return `affinity group ${group.name} keeps it on other hosts`
  if (group.hostRule === 'negative' && isNamed) return `affinity group ${group.name} keeps it off this host`
  return null
}

/** Why the rule between VMs would be broken with the VM there, or null. */
export function brokenVmRule(look: Look, group: AffinityGroup, vmId: string, hostId: string): string | null {
  if (group.vmRule === 'none') return null
  const own = look.hostOfVm.get(vmId)
  const counts = look.membersOn.get(group.groupId)
  const here = (counts?.get(hostId) ?? 0) - (own === hostId ? 1 : 0)
  if (group.vmRule === 'negative') {
    return here === 0 ? null : `affinity group ${group.name} keeps it apart from a VM on this host`
  }
  if (here > 0 || !hasOthers(counts, own)) return null
  return `affinity group ${group.name} keeps it together with VMs of another host`
}

/** Whether any other member is anywhere. */
function hasOthers(counts: ReadonlyMap<string, number> | undefined, own: string | undefined): boolean {
  if (!counts || counts.size === 0) return false
  return own === undefined || counts.size > 1 || (counts.get(own) ?? 0) > 1
}

/**
 * How much softness is lost with the VM there, 0 to 1: one rule of a higher priority weighs more than all
 * rules of lower ones together.
 */
export function softScore(
  groups: readonly AffinityGroup[],
  isBroken: (group: AffinityGroup) => boolean
): number {
  if (!groups.some(isBroken)) return 0
  const levels = [...new Set(groups.map(({ priority }) => priority))].toSorted((a, b) => b - a)
  const base = groups.length + 1
  let score = 0
  for (const group of groups) {
    if (isBroken(group)) score += base ** -(levels.indexOf(group.priority) + 1)
  }
  return score
}
