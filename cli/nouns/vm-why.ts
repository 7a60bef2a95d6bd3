import type { Command } from 'commander'
import { coordinatorServices } from '../../proto/load.js'
import type { Decision__Output as Decision } from '../../proto/generated/types/drover/v1/Decision.js'
import { json, table } from '../print.js'
import { idOf } from '../resource.js'
import { vms } from '../resources.js'
import { withSession } from '../session.js'
import { formatTime, integer } from '../units.js'

/** Explains the last decisions of the scheduler about a VM. */
export function addWhy(noun: Command): void {
  noun
    .command('why')
    .alias('explain')
    .argument('<VM>', 'id or name')
    .option('--last <N>', 'so many decisions (default 1)', integer(1, 20))
    .description('Why the VM is where it is, or why it cannot start.')
    .action(
      withSession(async (session, vm: string, { last = 1 }: { last?: number }) => {
        const vmId = await idOf(session, vms, vm)
        const { decisions } = await session.call(coordinatorServices.vm.ExplainVm, { vmId })
        const shown = decisions.slice(0, last)
        if (session.options.json) session.out.print(json(shown))
        else
          session.out.print(shown.map(decisionText).join('\n\n') || `nothing was decided about VM ${vm} yet`)
      })
    )
}

/** One decision: the sentence, then each host with its verdict. */
function decisionText({ time, purpose, summary, verdicts, hostId }: Decision): string {
  const rows = verdicts.map(verdict => [
    verdict.hostId === hostId ? '*' : '',
    verdict.hostName || verdict.hostId,
    verdict.filter === '' ? 'could' : `refused (${verdict.filter})`,
    verdict.filter === '' ? verdict.score.toFixed(3) : '',
    verdict.reason ||
      Object.entries(verdict.scores)
        .map(([name, score]) => `${name} ${score.toFixed(3)}`)
        .join(', ')
  ])
  return `${formatTime(time)}  ${purpose}: ${summary}\n${table(['', 'HOST', 'VERDICT', 'SCORE', 'WHY'], rows)}`
}
