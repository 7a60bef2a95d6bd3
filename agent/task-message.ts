import type { Task as WireTask } from '../proto/generated/types/drover/agent/v1/Task.js'
import type { TaskState as WireState } from '../proto/generated/types/drover/agent/v1/TaskState.js'
import type { Task, TaskState } from './tasks.js'
import { wireFailure, wireTime, wireTimeOrNull } from './wire.js'

const states: Record<TaskState, WireState> = {
  queued: 'TASK_STATE_QUEUED',
  running: 'TASK_STATE_RUNNING',
  succeeded: 'TASK_STATE_SUCCEEDED',
  failed: 'TASK_STATE_FAILED',
  cancelled: 'TASK_STATE_CANCELLED',
  lost: 'TASK_STATE_LOST'
}

export function taskMessage(task: Task): WireTask {
  const { id, kind, state, objects, progress, created, ended, fault, result, epoch } = task
  return {
    taskId: id,
    kind,
    state: states[state],
    objects,
    progress: { ...progress, doneBytes: String(progress.doneBytes), totalBytes: String(progress.totalBytes) },
    created: wireTime(created),
    ended: wireTimeOrNull(ended),
    failure: fault ? wireFailure(fault, ended ?? created) : null,
    result,
    coordinatorEpoch: String(epoch)
  }
}
