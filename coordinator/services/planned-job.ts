import { Fault } from '../../common/fault.js'
import type { Clock } from '../../common/clock.js'
import type { Context } from '../../common/rpc.js'
import { enumOf, wireFailure, wireTime } from '../wire.js'
import { actorOf } from './mutation.js'

export type PlannedJob = {
  kind: string
  objects: Record<string, string>
  /** Why it would not be done; null where nothing speaks against it. */
  obstacle: string | null
  result: Record<string, string>
  requestId: string
}

/** A dry run's answer: a job that never was, over already, with what it would have done as its result. */
export function plannedJob(clock: Clock, { caller }: Pick<Context, 'caller'>, planned: PlannedJob) {
  const now = clock.wall()
  const { kind, objects, obstacle, result, requestId } = planned
  return {
    jobId: clock.newId(),
    ...{ kind, objects, requestId },
    state: enumOf('JOB_STATE', obstacle === null ? 'succeeded' : 'undone'),
    progress: { percent: 100, doneBytes: 0, totalBytes: 0, phase: '' },
    steps: [],
    failure: obstacle === null ? null : wireFailure(new Fault('WRONG_STATE', obstacle), now),
    result: { ...result, obstacle: obstacle ?? '' },
    created: wireTime(now),
    ended: wireTime(now),
    actor: actorOf(caller)
  }
}
