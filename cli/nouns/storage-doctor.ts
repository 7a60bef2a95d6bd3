import type { Command } from 'commander'
import { Fault } from '../../common/fault.js'
import { coordinatorServices } from '../../proto/load.js'
import { json, table } from '../print.js'
import { idOf } from '../resource.js'
import { storageDomains } from '../resources.js'
import { withSession } from '../session.js'
import { finish } from '../wait.js'

const service = coordinatorServices.storageDomain

/** The doctor: a verb of the noun storage-domain. */
export function addStorageDoctor(noun: Command): void {
  noun
    .command('doctor')
    .argument('<STORAGE-DOMAIN>', 'id or name')
    .option('--apply', 'do what the plan says; without it only the plan is shown')
    .description('Find what crashes and faults left on a storage domain, and repair it.')
    .action(
      withSession(async (session, name: string, { apply = false }: { apply?: boolean }) => {
        const storageDomainId = await idOf(session, storageDomains, name)
        const { diagnoses } = await session.call(service.DiagnoseStorageDomain, { storageDomainId })
        const repairs = diagnoses.flatMap(({ kind, object }) => (kind === '' ? [] : [{ kind, object }]))
        if (!apply) {
          if (session.options.json) session.out.print(json({ diagnoses }))
          else if (diagnoses.length === 0) session.out.print(`nothing is wrong with ${name}`)
          else {
            const rows = diagnoses.map(({ kind, text, plan }) => [kind || '-', text, plan])
            session.out.print(table(['REPAIR', 'WHAT IS WRONG', 'WHAT WOULD BE DONE'], rows))
          }
          if (diagnoses.length > 0) throw new Fault('CORRUPT', `${diagnoses.length} findings on ${name}`)
          return
        }
        if (repairs.length === 0) return session.out.print(`nothing can be repaired on ${name}`)
        const request = { requestId: session.requestId(), storageDomainId, repairs }
        const job = await session.call(service.RepairStorageDomain, request)
        await finish(session, job, ({ result }) => {
          if (session.options.json) return json(result)
          const lines = (key: string, word: string) =>
            (result[key] ?? '')
              .split('\n')
              .filter(line => line !== '')
              .map(line => `${word}: ${line}`)
          return [...lines('done', 'done'), ...lines('failed', 'FAILED'), ...lines('left', 'left')].join('\n')
        })
      })
    )
}
