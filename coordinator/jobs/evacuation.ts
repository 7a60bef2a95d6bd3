import { GiB } from '../../common/units.js'

// Which VMs leave a host next, and how many at once. PURE.

export type Leaving = {
  vmId: string
  memoryBytes: number
  /** 1 (first) to 100, as for restarts. */
  priority: number
  /** How often its migration away has failed. */
  failures: number
  isMoving: boolean
}

export type Pace = {
  /** How many may leave at the same time. */
  atOnce: number
  /** Bytes a second that left while that many did; null before the first has left. */
  best: number | null
  /** Up to so many, more may leave as long as their memory is little: small VMs mean fixed work, not a full link. */
  lightAtOnce: number
}

const mostAtOnce = 8
const lightBytes = GiB(4)

/** A host's first pace. The memory of each VM that leaves is encrypted by one thread, so small ones get a CPU each. */
export const firstPace = (cpus: number): Pace => ({
  ...{ atOnce: 2, best: null, lightAtOnce: Math.min(mostAtOnce, cpus) }
})
const mostFailures = 3

/** What is worth another try: the most often failed last, then by priority, then the small ones first. */
export function nextLeaving(vms: readonly Leaving[], { atOnce, lightAtOnce }: Pace): string[] {
  const moving = vms.filter(({ isMoving }) => isMoving)
  let bytes = moving.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0)
  const next: string[] = []
  for (const { vmId, memoryBytes } of worthATry(vms)) {
    const count = moving.length + next.length
    bytes += memoryBytes
    if (count >= atOnce && (count >= lightAtOnce || bytes > lightBytes)) break
    next.push(vmId)
  }
  return next
}

const worthATry = (vms: readonly Leaving[]) =>
  vms
    .filter(({ isMoving, failures }) => !isMoving && failures < mostFailures)
    .toSorted(
      (a, b) =>
        a.failures - b.failures ||
        a.priority - b.priority ||
        a.memoryBytes - b.memoryBytes ||
        (a.vmId < b.vmId ? -1 : 1)
    )

/** VMs that cannot leave: they are named, and the host goes back into service. */
export const stuckOf = (vms: readonly Leaving[]): string[] =>
  vms.filter(({ isMoving, failures }) => !isMoving && failures >= mostFailures).map(({ vmId }) => vmId)

/**
 * More at once while that moves more: the links are not full yet. One less when it does not, or when a
 * migration failed; never below one. After a failure small VMs are no exception any more.
 */
export function nextPace(pace: Pace, { rate, failed }: { rate: number; failed: boolean }): Pace {
  const { atOnce, best } = pace
  if (failed) return { atOnce: Math.max(1, atOnce - 1), best, lightAtOnce: 0 }
  if (best === null || rate > best * 1.1)
    return { ...pace, atOnce: Math.min(mostAtOnce, atOnce + 1), best: rate }
  return rate < best * 0.9 ? { ...pace, atOnce: Math.max(1, atOnce - 1) } : pace
}
