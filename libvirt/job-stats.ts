import * as c from './constants.js'
import { nameOf, type NameIn } from './constants.js'
import type { TypedParam } from './structs.js'
import { numberIn, paramsOf, textIn, type Params } from './typed-params.js'

/** How far a job on a domain is. Sizes in bytes, times in milliseconds; null is what libvirt did not say. */
export type JobStats = {
  state: NameIn<typeof c.domainJobType>
  operation: NameIn<typeof c.domainJobOperation>
  elapsedMs: number | null
  remainingMs: number | null
  downtimeMs: number | null
  setupMs: number | null
  data: Progress
  memory: Progress
  disk: Progress
  memoryBytesPerSecond: number | null
  dirtyPagesPerSecond: number | null
  pageSize: number | null
  iteration: number | null
  postCopyRequests: number | null
  autoConvergeThrottle: number | null
  success: boolean | null
  errorText: string | null
}
export type Progress = { total: number; processed: number; remaining: number }

export const jobStatsOf = (type: number, list: readonly TypedParam[]): JobStats =>
  jobStatsFrom(nameOf(c.domainJobType, type), paramsOf(list))

/** The same out of a jobCompleted event. */
export function jobStatsFrom(state: JobStats['state'], params: Params): JobStats {
  const number = (field: string) => numberIn(params, field)
  const progress = (part: string): Progress => ({
    total: number(`${part}_total`) ?? 0,
    processed: number(`${part}_processed`) ?? 0,
    remaining: number(`${part}_remaining`) ?? 0
  })
  const success = params['success']
  return {
    state,
    operation: nameOf(c.domainJobOperation, number('operation') ?? -1),
    elapsedMs: number('time_elapsed'),
    remainingMs: number('time_remaining'),
    downtimeMs: number('downtime'),
    setupMs: number('setup_time'),
    data: progress('data'),
    memory: progress('memory'),
    disk: progress('disk'),
    memoryBytesPerSecond: number('memory_bps'),
    dirtyPagesPerSecond: number('memory_dirty_rate'),
    pageSize: number('memory_page_size'),
    iteration: number('memory_iteration'),
    postCopyRequests: number('memory_postcopy_requests'),
    autoConvergeThrottle: number('auto_converge_throttle'),
    success: typeof success === 'boolean' ? success : null,
    errorText: textIn(params, 'errmsg')
  }
}
