import type { Method } from '../../common/client.js'
import { Fault } from '../../common/fault.js'
import type { Act } from './job.js'
import { advanced, noProgress, type Progress } from './progress.js'

// How jobs ask hosts. Epoch and host generation are added on the way; the request id is the step's.

export type TaskOptions = {
  signal: AbortSignal
  progress?: (change: Partial<Progress>) => void
}

/** Facts about the outcome of a task, by name. */
export type TaskResult = Record<string, string>

export type Hosts = {
  /** One request, one answer; fails as the host's Fault, or HOST_UNREACHABLE. */
  call<Q, R>(hostId: string, method: Method<Q, R>, request: Q, signal: AbortSignal): Promise<R>
  /** Begins a task, or finds it, and waits for its end. Ends early with the signal, and asks the task to stop. */
  runTask<Q, T>(
    hostId: string,
    method: Method<Q, T>,
    request: Q & { requestId: string },
    options: TaskOptions
  ): Promise<TaskResult>
  /** Proven to be stopped, or deleted: nothing that it was asked for goes on. */
  isGone(hostId: string): boolean
  /** Asks a task to stop and waits for its end, whatever that is. One that is not known has ended. */
  endTask(hostId: string, taskId: string, signal: AbortSignal): Promise<void>
}

/** What an act gives to the tasks it performs. */
export type Asking = Pick<Act<unknown>, 'requestId' | 'forwardIds' | 'signal' | 'progress'>

/** A task under a request id of this attempt. */
export function performTask<Q extends { requestId?: string }, T>(
  hosts: Hosts,
  act: Asking,
  hostId: string,
  method: Method<Q, T>,
  request: Omit<Q, 'requestId'>,
  part = ''
): Promise<TaskResult> {
  const whole = { ...request, requestId: act.requestId(part) } as Q & { requestId: string }
  return hosts.runTask(hostId, method, whole, { signal: act.signal, progress: act.progress })
}

/** Before an undo: nothing of what the step began may still be at work. */
export async function endTasks(hosts: Hosts, act: Asking, hostId: string, part = ''): Promise<void> {
  if (hosts.isGone(hostId)) return
  for (const id of act.forwardIds(part)) await hosts.endTask(hostId, id, act.signal)
}

/** Undoing what is not there succeeds. */
export async function unlessAbsent<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work
  } catch (error) {
    if (error instanceof Fault && error.status === 'NOT_FOUND') return null
    throw error
  }
}

/** The progress of a step that does several things at once: bytes add up, percents are averaged. */
export function sharedProgress(act: Pick<Asking, 'progress'>, parts: number) {
  const all: Progress[] = Array.from({ length: parts }, () => noProgress)
  return (part: number) => (change: Partial<Progress>) => {
    all[part] = advanced(all[part] ?? noProgress, change)
    act.progress({
      percent: Math.floor(all.reduce((sum, { percent }) => sum + percent, 0) / parts),
      doneBytes: all.reduce((sum, { doneBytes }) => sum + doneBytes, 0),
      totalBytes: all.reduce((sum, { totalBytes }) => sum + totalBytes, 0),
      ...(change.phase !== undefined && { phase: change.phase })
    })
  }
}

/** All of them at once, but at most `most`; after a failure no new one begins, and those at work are awaited. */
export async function eachOf<T>(
  items: readonly T[],
  most: number,
  work: (item: T, index: number) => Promise<void>
): Promise<void> {
  const waiting = [...items.entries()]
  let failure: { error: unknown } | null = null
  const lane = async () => {
    for (let next = waiting.shift(); next && !failure; next = waiting.shift()) {
      const [index, item] = next
      await work(item, index).catch((error: unknown) => (failure ??= { error }))
    }
  }
  await Promise.all(Array.from({ length: Math.min(most, items.length) }, lane))
  if (failure) throw (failure as { error: unknown }).error
}
