import type { Command } from 'commander'
import { Fault } from '../../common/fault.js'
import { coordinatorServices } from '../../proto/load.js'
import type { ListAuditRecordsResponse__Output as Page } from '../../proto/generated/types/drover/v1/ListAuditRecordsResponse.js'
import { json, table } from '../print.js'
import { all, optionalIdOf } from '../resource.js'
import { storageDomains } from '../resources.js'
import { withSession, type Session } from '../session.js'
import { formatTime, integer } from '../units.js'

const service = coordinatorServices.event

export function addAudit(program: Command): void {
  const noun = program.command('audit').description('Broken invariants, and who did what.')
  noun
    .command('run', { isDefault: true })
    .argument('[STORAGE-DOMAIN]', 'only this one, id or name')
    .description(
      'Check the invariants of the store, all hosts and storage domains, without changing anything.'
    )
    .action(withSession(runAudit))
  noun
    .command('list')
    .option('--filter <CONDITIONS>', 'fields: actor, action, object')
    .option('--limit <N>', 'at most so many (default 100)', integer(1, 1_000_000))
    .description('Who tried to change what, newest first.')
    .action(
      withSession(async (session, options: { filter?: string; limit?: number }) => {
        const source = { list: service.ListAuditRecords, items: (page: Page) => page.records }
        const records = await all(session, source, options, options.limit ?? 100)
        if (session.options.json) return session.out.print(json(records))
        const rows = records.map(record => [
          formatTime(record.time),
          record.actor,
          record.action,
          record.object,
          record.outcome,
          record.address
        ])
        session.out.print(table(['TIME', 'ACTOR', 'ACTION', 'OBJECT', 'OUTCOME', 'FROM'], rows))
      })
    )
  noun
    .command('verify')
    .description('Recompute the chain of audit records.')
    .action(
      withSession(async session => {
        const answer = await session.call(service.VerifyAuditTrail, {})
        if (session.options.json) session.out.print(json(answer))
        else
          session.out.print(
            `${answer.records} records, ${answer.firstBadSequence === '0' ? 'all fit' : 'BROKEN'}`
          )
        if (answer.firstBadSequence === '0') return
        throw new Fault('CORRUPT', `the audit trail is broken at record ${answer.firstBadSequence}`)
      })
    )
}

/** Prints every finding; any finding makes the command fail. */
export async function runAudit(session: Session, storageDomain?: string): Promise<void> {
  const storageDomainId = await optionalIdOf(session, storageDomains, storageDomain)
  const { findings, scope } = await session.call(service.RunAudit, { storageDomainId })
  if (session.options.json) session.out.print(json({ findings, scope }))
  else if (findings.length === 0) session.out.print(`no violation found${scope ? ` in ${scope}` : ''}`)
  else {
    const rows = findings.map(({ invariant, object, text, hostId }) => [invariant, object, text, hostId])
    session.out.print(table(['INVARIANT', 'OBJECT', 'WHAT IS WRONG', 'FOUND BY'], rows))
  }
  if (findings.length > 0) throw new Fault('CORRUPT', `${findings.length} violations in ${scope}`)
}
