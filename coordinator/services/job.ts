import { unary, serverStream } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import type { JobServiceDefinition } from '../../proto/generated/types/drover/v1/JobService.js'
import type { AllJobs } from '../jobs/kinds.js'
import { job, jobsFrom, type Job } from '../store/jobs.js'
import { sql } from '../store/query.js'
import type { Store } from '../store/store.js'
import type { Lists, ListSpec } from './list.js'
import { jobMessage } from './messages.js'
import type { Mutations } from './mutation.js'

const spec: ListSpec = {
  filters: {
    state: {
      ...{ column: 'state', kind: 'enum' },
      values: ['queued', 'running', 'succeeded', 'undoing', 'undone', 'stuck']
    },
    kind: { column: 'kind', kind: 'text' },
    vm_id: { column: 'vmId', kind: 'id' }
  },
  orders: { created: 'created', state: 'state' },
  standardOrder: 'created desc',
  id: 'id'
}

export function jobService(
  lists: Lists,
  mutations: Mutations,
  jobs: AllJobs
): Handlers<JobServiceDefinition> {
  const { store } = mutations
  const message = (id: string) => jobMessage(store.read, job(store.read, id))
  return {
    getJob: unary({
      check: fields => fields.uuid('jobId'),
      method: async id => message(id)
    }),
    listJobs: unary({
      check: fields => lists.read(fields, spec),
      method: async request => {
        const { rows, nextPageToken } = lists.page(
          store.read,
          sql.selectFrom('job').selectAll(),
          request,
          spec
        )
        return { jobs: jobsFrom(rows).map(row => jobMessage(store.read, row)), nextPageToken }
      }
    }),
    watchJob: serverStream({
      check: fields => fields.uuid('jobId'),
      method: async function* (id, { signal }) {
        for await (const row of changesOf(store, id, signal)) yield jobMessage(store.read, row)
      }
    }),
    cancelJob: unary({
      check: fields => ({ requestId: fields.uuid('requestId'), content: { id: fields.uuid('jobId') } }),
      method: async (request, context) => {
        const { id } = request.content
        mutations.perform('CancelJob', request, context, tx => {
          jobs.cancel(tx, id)
          return {}
        })
        return message(id)
      }
    })
  }
}

/** A job now and after each change, the last time when it is over. Changes that come faster than they are read fall together. */
async function* changesOf(store: Store, id: string, signal: AbortSignal): AsyncGenerator<Job> {
  let hasChanged = true
  let wake = () => {}
  const unlisten = store.listen(changes => {
    if (!changes.some(change => change.kind === 'job' && change.id === id)) return
    hasChanged = true
    wake()
  })
  signal.addEventListener('abort', () => wake(), { once: true })
  try {
    for (;;) {
      signal.throwIfAborted()
      if (hasChanged) {
        hasChanged = false
        const now = job(store.read, id)
        yield now
        if (now.ended !== null) return
      } else {
        await new Promise<void>(resolve => (wake = resolve))
      }
    }
  } finally {
    unlisten()
  }
}
