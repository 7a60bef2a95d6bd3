import type { Context } from '../../common/rpc.js'
import type { AllJobs } from '../jobs/kinds.js'
import { job } from '../store/jobs.js'
import type { Tx } from '../store/query.js'
import { jobMessage } from './messages.js'
import type { Asked, Mutations } from './mutation.js'

/** What services need in order to order jobs. */
export type Workshop = { mutations: Mutations; jobs: AllJobs }

/** The job that a request orders, made in its transaction; the same request finds it again. */
export function orderedJob(
  { mutations }: Workshop,
  method: string,
  asked: Asked,
  context: Context,
  order: (tx: Tx, who: { actor: string; requestId: string }) => string
) {
  const { jobId } = mutations.perform(method, asked, context, (tx, actor) => {
    return { jobId: order(tx, { actor, requestId: asked.requestId }) }
  })
  const { read } = mutations.store
  return jobMessage(read, job(read, jobId))
}
