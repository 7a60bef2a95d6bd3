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
}

export const firstPace: Pace = { atOnce: 2, best: null }
const mostAtOnce = 8
const mostFailures = 3

/** What is worth another try: the most often failed last, then by priority, then the small ones first. */
export function nextLeaving(vms: readonly Leaving[], { atOnce }: Pace): string[] {
  const moving = vms.filter(({ isMoving }) => isMoving).length
  return vms
    .filter(({ isMoving, failures }) => !isMoving && failures < mostFailures)
    .toSorted(
      (a, b) =>
        a.failures - b.failures ||
        a.priority - b.priority ||
        a.memoryBytes - b.memoryBytes ||
        (a.vmId < b.vmId ? -1 : 1)
    )
    .slice(0, Math.max(0, atOnce - moving))
    .map(({ vmId }) => vmId)
}

/** VMs that cannot leave: they are named, and the host goes back into service. */
export const stuckOf = (vms: readonly Leaving[]): string[] =>
  vms.filter(({ isMoving, failures }) => !isMoving && failures >= mostFailures).map(({ vmId }) => vmId)

/**
 * More at once while that moves more: the links are not full yet. One less when it does not, or when a
 * migration failed; never below one.
 */
export function nextPace({ atOnce, best }: Pace, { rate, failed }: { rate: number; failed: boolean }): Pace {
  if (failed) return { atOnce: Math.max(1, atOnce - 1), best }
  if (best === null || rate > best * 1.1) return { atOnce: Math.min(mostAtOnce, atOnce + 1), best: rate }
  return rate < best * 0.9 ? { atOnce: Math.max(1, atOnce - 1), best } : { atOnce, best }
}
