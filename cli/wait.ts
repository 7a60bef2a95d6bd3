import { sleep, systemClock } from '../common/clock.js'
import { Fault, isReason } from '../common/fault.js'
import { seconds } from '../common/units.js'
import { coordinatorServices } from '../proto/load.js'
import type { Job__Output as Job } from '../proto/generated/types/drover/v1/Job.js'
import type { Failure__Output as Failure } from '../proto/generated/types/drover/common/v1/Failure.js'
import { formatEnum, formatSize } from './units.js'
import { json, type Out } from './print.js'
import type { Session } from './session.js'

const width = 24

/** One line about a job: bar, percent, bytes, step. PURE. */
export function progressLine({ kind, state, progress, steps }: Job, columns = 100): string {
  const percent = progress?.percent ?? 0
  const filled = Math.round((percent / 100) * width)
  const bar = '#'.repeat(filled) + '.'.repeat(width - filled)
  const [done, total] = [Number(progress?.doneBytes ?? 0), Number(progress?.totalBytes ?? 0)]
  const bytes = total > 0 ? `  ${formatSize(done)} of ${formatSize(total)}` : ''
  const at = steps.findIndex(step => step.state === 'STEP_STATE_RUNNING')
  const step = at < 0 ? '' : `  step ${at + 1}/${steps.length} ${steps[at]?.name ?? ''}`
  const phase = progress?.phase ? `  ${progress.phase}` : ''
  const undoing = state === 'JOB_STATE_UNDOING' || state === 'JOB_STATE_STUCK' ? '  UNDOING' : ''
  return `${kind}  [${bar}] ${String(percent).padStart(3)} %${bytes}${undoing}${step}${phase}`.slice(
    0,
    columns
  )
}

export const isOver = ({ state }: Job) => state === 'JOB_STATE_SUCCEEDED' || state === 'JOB_STATE_UNDONE'

/** Ends a command that began a job: waits for it with a progress bar, or tells how to follow it. */
export async function finish(session: Session, job: Job, done: (job: Job) => string): Promise<void> {
  const { out, options } = session
  const last = session.waits && !isOver(job) ? await follow(session, job) : job
  if (options.json) out.print(json(last))
  throwIfFailed(last)
  if (options.json) return
  if (isOver(last)) out.print(done(last))
  else
    out.print(
      `job ${last.jobId} (${last.kind}) ${formatEnum(last.state, 'JOB_STATE')}: follow it with \`drover job wait ${last.jobId}\``
    )
}

/** Shows a job until it is over; a broken connection is taken up again. */
export async function follow(session: Session, job: Job): Promise<Job> {
  const { out, options } = session
  let last = job
  let said = ''
  const quiet = options.quiet === true
  for (let failures = 0; !isOver(last);) {
    try {
      for await (const seen of session.stream(coordinatorServices.job.WatchJob, { jobId: job.jobId })) {
        failures = 0
        last = seen
        if (!quiet) said = show(out, last, said)
        if (isOver(last)) break
      }
    } catch (error) {
      const mayReturn = error instanceof Fault && error.status === 'UNAVAILABLE' && ++failures < 60
      if (!mayReturn) {
        if (out.interactive && !quiet) out.complain('')
        throw error
      }
      await sleep(systemClock, seconds(1), session.signal)
    }
  }
  if (out.interactive && !quiet) out.redraw('')
  return last
}

/** A job that was undone is the failure of the command that began it. */
export function throwIfFailed(job: Job): void {
  if (job.state === 'JOB_STATE_UNDONE') throw faultOfFailure(job.failure, `job ${job.jobId} failed`)
}

export function faultOfFailure(failure: Failure | null, otherwise: string): Fault {
  const reason = failure?.reason ?? ''
  return new Fault(isReason(reason) ? reason : 'INTERNAL', failure?.message || otherwise, {
    facts: { ...failure?.facts }
  })
}

/** On a terminal one line that changes; elsewhere a line whenever another step begins. */
function show(out: Out, job: Job, said: string): string {
  if (out.interactive) {
    out.redraw(progressLine(job, (process.stderr.columns || 100) - 1))
    return said
  }
  const step =
    job.steps.find(each => each.state === 'STEP_STATE_RUNNING')?.name ?? formatEnum(job.state, 'JOB_STATE')
  if (step !== said) out.complain(progressLine(job, 200))
  return step
}
