// VMs that need others. PURE.

export type Dependency = { vmId: string; neededId: string }

/** The way round, if `vmId` needed `wanted`: from itself to itself; null when there is none. */
export function cycleThrough(
  all: readonly Dependency[],
  vmId: string,
  wanted: readonly string[]
): string[] | null {
  const needs = neededBy(all.filter(edge => edge.vmId !== vmId))
  needs.set(vmId, [...wanted])
  const seen = new Set<string>()
  const walk = (id: string, way: readonly string[]): string[] | null => {
    for (const next of needs.get(id) ?? []) {
      if (next === vmId) return [...way, next]
      if (seen.has(next)) continue
      seen.add(next)
      const found = walk(next, [...way, next])
      if (found) return found
    }
    return null
  }
  return walk(vmId, [vmId])
}

/** What is needed first; otherwise as given. */
export function inStartOrder(vmIds: readonly string[], all: readonly Dependency[]): string[] {
  const needs = neededBy(all)
  const wanted = new Set(vmIds)
  const order = new Set<string>()
  const add = (id: string, above: ReadonlySet<string>) => {
    if (order.has(id) || above.has(id)) return
    for (const next of needs.get(id) ?? []) add(next, new Set([...above, id]))
    if (wanted.has(id)) order.add(id)
  }
  for (const id of vmIds) add(id, new Set())
  return [...order]
}

function neededBy(all: readonly Dependency[]): Map<string, string[]> {
  const needs = new Map<string, string[]>()
  for (const { vmId, neededId } of all) needs.set(vmId, [...(needs.get(vmId) ?? []), neededId])
  return needs
}

export type Needed = { name: string; runs: boolean; isStarting: boolean }

/** Whether a VM may start, waits for what it needs, or must not be begun. */
export function mayStart(
  needed: readonly Needed[]
): { kind: 'now' } | { kind: 'wait' | 'refuse'; names: string[] } {
  const missing = needed.filter(({ runs }) => !runs)
  const hopeless = missing.filter(({ isStarting }) => !isStarting)
  const names = (all: readonly Needed[]) => all.map(({ name }) => name)
  if (hopeless.length > 0) return { kind: 'refuse', names: names(hopeless) }
  return missing.length > 0 ? { kind: 'wait', names: names(missing) } : { kind: 'now' }
}
