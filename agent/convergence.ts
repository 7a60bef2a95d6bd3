/*
 * When a guest writes faster than its memory can be sent, the allowed downtime is raised step by step, so that
 * the migration comes to an end. Pure; what it has done so far is kept in the VM's metadata.
 */

export type Convergence = {
  /** Passes over memory when the schedule began; libvirt may begin above 0. */
  firstIteration: number
  /** Passes when it last acted. */
  lastIteration: number
  /** Least that was ever left to send. */
  leastRemaining: number
  downtimeMs: number
  raises: number
}

export const longestDowntimeMs = 60_000
const factor = 1.5
const most = 20

export const beginConvergence = (iteration: number, downtimeMs: number): Convergence => ({
  ...{ firstIteration: iteration, lastIteration: iteration },
  ...{ leastRemaining: Number.POSITIVE_INFINITY, downtimeMs, raises: 0 }
})

/**
 * What a look at the running job leads to: at most one raise for each new pass over memory, and only while less
 * and less being left to send is not what happens.
 */
export function converge(
  state: Convergence,
  seen: { iteration: number; remaining: number }
): { state: Convergence; downtimeMs: number | null } {
  const isNewPass = seen.iteration > state.lastIteration
  const isStalling = seen.remaining >= state.leastRemaining
  const leastRemaining = Math.min(state.leastRemaining, seen.remaining)
  const after = { ...state, leastRemaining, lastIteration: Math.max(state.lastIteration, seen.iteration) }
  const isFirstPass = seen.iteration <= state.firstIteration + 1
  if (!isNewPass || !isStalling || isFirstPass || state.raises >= most)
    return { state: after, downtimeMs: null }
  const downtimeMs = Math.min(longestDowntimeMs, Math.ceil(state.downtimeMs * factor))
  if (downtimeMs === state.downtimeMs) return { state: after, downtimeMs: null }
  return { state: { ...after, downtimeMs, raises: state.raises + 1 }, downtimeMs }
}
