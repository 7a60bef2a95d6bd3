import type { Command } from 'commander'
import { coordinatorServices } from '../../proto/load.js'
import { json } from '../print.js'
import { addReading } from '../resource.js'
import { jobs } from '../resources.js'
import { withSession } from '../session.js'
import { formatEnum } from '../units.js'
import { follow, throwIfFailed } from '../wait.js'

const service = coordinatorServices.job

export function addJob(program: Command): void {
  const noun = program
    .command('job')
    .description('Long work, in steps that survive a crash of the coordinator.')
  addReading(noun, jobs)
  noun
    .command('wait')
    .alias('watch')
    .argument('<JOB>', 'id')
    .description('Follow a job to its end; fails when the job does.')
    .action(
      withSession(async (session, jobId: string) => {
        const last = await follow(session, await session.call(service.GetJob, { jobId }))
        if (session.options.json) session.out.print(json(last))
        throwIfFailed(last)
        if (!session.options.json) session.out.print(`job ${jobId} (${last.kind}) succeeded`)
      })
    )
  noun
    .command('cancel')
    .argument('<JOB>', 'id')
    .description('Ask a job to stop and undo what it did.')
    .action(
      withSession(async (session, jobId: string) => {
        const job = await session.call(service.CancelJob, { requestId: session.requestId(), jobId })
        session.out.print(
          session.options.json ? json(job) : `job ${jobId} ${formatEnum(job.state, 'JOB_STATE')}`
        )
      })
    )
}
