import type { Command } from 'commander'
import { coordinatorServices } from '../../proto/load.js'
import type { PlannedMove__Output as Move } from '../../proto/generated/types/drover/v1/PlannedMove.js'
import type { RebalancePlan__Output as Plan } from '../../proto/generated/types/drover/v1/RebalancePlan.js'
import { json, table } from '../print.js'
import { pairsOf } from '../resource.js'
import { withSession, type Session } from '../session.js'
import { each, formatSize, formatTime, integer } from '../units.js'

const service = coordinatorServices.cluster

/** What would happen in a cluster, and what was decided about it. */
export function addPlans(noun: Command): void {
  noun
    .command('plan')
    .argument('<CLUSTER>', 'id or name')
    .option('--start <VM>', 'if this VM started, repeatable, id or name', each)
    .option('--evacuate <HOST>', 'if this host were emptied, repeatable, id or name', each)
    .option('--lose <HOST>', 'if this host were lost, repeatable, id or name', each)
    .description('Where VMs would go; nothing is done.')
    .addHelpText('after', '\nExample:\n  drover cluster plan main --lose alpha')
    .action(
      withSession(
        async (
          session,
          clusterId: string,
          options: { start?: string[]; evacuate?: string[]; lose?: string[] }
        ) => {
          const { start = [], evacuate = [], lose = [] } = options
          const request = { clusterId, startVmIds: start, evacuateHostIds: evacuate, loseHostIds: lose }
          const plan = await session.call(service.PlanCluster, request)
          if (session.options.json) return session.out.print(json(plan))
          await printMoves(session, plan.moves)
          session.out.print(plan.summary)
        }
      )
    )
  noun
    .command('rebalance')
    .argument('<CLUSTER>', 'id or name')
    .option('--dry-run', 'only show the whole plan')
    .option('--most <N>', 'at most so many moves (default 16; a dry run shows all)', integer(1, 20_000))
    .description('Move VMs so that the hosts are evenly used.')
    .action(
      withSession(async (session, clusterId: string, options: { dryRun?: boolean; most?: number }) => {
        const maxMoves = options.most ?? 0
        const plan = options.dryRun
          ? await session.call(service.PlanRebalance, { clusterId, maxMoves })
          : await session.call(service.RebalanceCluster, {
              requestId: session.requestId(),
              clusterId,
              maxMoves
            })
        if (session.options.json) return session.out.print(json(plan))
        await printPlan(session, plan)
      })
    )
  noun
    .command('why')
    .argument('<CLUSTER>', 'id or name')
    .description('What the coordinator decided about the cluster by itself, and why.')
    .action(
      withSession(async (session, clusterId: string) => {
        const { decisions } = await session.call(service.ExplainCluster, { clusterId })
        if (session.options.json) return session.out.print(json(decisions))
        const rows = decisions.map(({ time, kind, summary }) => [formatTime(time), kind, summary])
        session.out.print(
          rows.length === 0 ? 'nothing was decided yet' : table(['TIME', 'KIND', 'WHAT'], rows)
        )
      })
    )
  noun
    .command('forecast')
    .argument('<CLUSTER>', 'id or name')
    .description('When memory, CPU and storage will be used up.')
    .action(
      withSession(async (session, clusterId: string) => {
        const { forecasts } = await session.call(service.ForecastCluster, { clusterId })
        if (session.options.json) return session.out.print(json(forecasts))
        session.out.print(forecasts.map(({ summary }) => summary).join('\n') || 'there is no history yet')
      })
    )
}

async function printPlan(session: Session, plan: Plan): Promise<void> {
  await printMoves(session, plan.moves)
  const moved = plan.bytesMoved === '0' ? '' : `; ${formatSize(plan.bytesMoved)} of memory travel`
  session.out.print(`${plan.summary}${moved}`)
}

async function printMoves(session: Session, moves: readonly Move[]): Promise<void> {
  if (moves.length === 0) return
  const names = new Map(await pairsOf(session, 'host'))
  const rows = moves.map(({ vmName, fromHostId, toHostId, reason, jobId }) => [
    ...[
      vmName,
      names.get(fromHostId) ?? fromHostId,
      names.get(toHostId) ?? (toHostId || '(none)'),
      reason,
      jobId
    ]
  ])
  session.out.print(table(['VM', 'FROM', 'TO', 'WHY', 'JOB'], rows))
}
