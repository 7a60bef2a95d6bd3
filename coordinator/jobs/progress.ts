// How far a job is, from how far its steps are. PURE.

export type Progress = { percent: number; doneBytes: number; totalBytes: number; phase: string }

export const noProgress: Progress = { percent: 0, doneBytes: 0, totalBytes: 0, phase: '' }

export type StepProgress = {
  weight: number
  isDone: boolean
  isRunning: boolean
  progress: Progress
}

/** A step's progress with a change applied: percent and bytes never go back. */
export function advanced(before: Progress, change: Partial<Progress>): Progress {
  const totalBytes = Math.max(before.totalBytes, whole(change.totalBytes))
  const doneBytes = Math.max(before.doneBytes, whole(change.doneBytes))
  const byBytes = totalBytes > 0 ? Math.floor((100 * Math.min(doneBytes, totalBytes)) / totalBytes) : 0
  const percent = Math.min(100, Math.max(before.percent, whole(change.percent), byBytes))
  return { percent, doneBytes, totalBytes, phase: change.phase ?? before.phase }
}

/** The job's progress: steps by weight, bytes added up. `before` keeps it from going back after a new attempt. */
export function overall(steps: readonly StepProgress[], before: Progress): Progress {
  const all = steps.reduce((sum, { weight }) => sum + weight, 0)
  const done = steps.reduce(
    (sum, { weight, isDone, progress }) => sum + weight * (isDone ? 100 : progress.percent),
    0
  )
  const running = steps.find(({ isRunning }) => isRunning)
  return advanced(before, {
    percent: all === 0 ? 0 : Math.floor(done / all),
    doneBytes: steps.reduce((sum, { progress }) => sum + progress.doneBytes, 0),
    totalBytes: steps.reduce((sum, { progress }) => sum + progress.totalBytes, 0),
    phase: running?.progress.phase ?? ''
  })
}

const whole = (value = 0) => (Number.isSafeInteger(value) && value > 0 ? value : 0)
