import type { Command } from 'commander'
import { coordinatorServices } from '../../proto/load.js'
import { details, json } from '../print.js'
import { withSession } from '../session.js'
import { formatSize } from '../units.js'

const service = coordinatorServices.coordinator

export function addCoordinator(program: Command): void {
  const noun = program.command('coordinator').description('The coordinator itself.')
  noun
    .command('show', { isDefault: true })
    .description('Version, epoch, installation.')
    .action(
      withSession(async session => {
        const coordinator = await session.call(service.GetCoordinator, {})
        session.out.print(session.options.json ? json(coordinator) : details(coordinator))
      })
    )
  noun
    .command('backup')
    .argument('<NAME>', "file in the coordinator's backup directory, NAME.db")
    .description('Write an online backup of the store. Restore it with `drover-coordinator restore FILE`.')
    .action(
      withSession(async (session, name: string) => {
        const backup = await session.call(service.Backup, { requestId: session.requestId(), name })
        const text = `wrote ${backup.path} (${formatSize(backup.size)}, sha256 ${backup.sha256})`
        session.out.print(session.options.json ? json(backup) : text)
      })
    )
  noun
    .command('dump')
    .description('The inside of the coordinator as JSON, for debugging.')
    .action(
      withSession(async session => {
        const dump = await session.call(service.Dump, {})
        session.out.print(JSON.stringify(JSON.parse(dump.json), null, 2))
      })
    )
}
