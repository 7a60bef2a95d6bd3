import { Argument, InvalidArgumentError, type Command } from 'commander'
import { coordinatorServices } from '../../proto/load.js'
import { json } from '../print.js'
import { addReading, idOf } from '../resource.js'
import { clusters, quotas, storageDomains } from '../resources.js'
import { withSession, type Session } from '../session.js'
import { each, formatEnum, integer, parseSize } from '../units.js'
import { changes } from '../update.js'

const service = coordinatorServices.quota

type Options = {
  name?: string
  description?: string
  threshold?: number
  grace?: number
  limitCluster?: string[]
  limitStorage?: string[]
  consumer?: string[]
}

export function addQuota(program: Command): void {
  const noun = program.command('quota').description('How much users may use.')
  withOptions(noun.command('create'))
    .argument('<NAME>')
    .description('Create a quota.')
    .addHelpText(
      'after',
      "\nExample:\n  drover quota create dev --consumer admin/alice --limit-cluster 'main vcpus=16 memory=64G' --limit-storage '* 500G'"
    )
    .action(
      withSession(async (session, name: string, options: Options) => {
        const quota = { ...(await wire(session, options)), name }
        const made = await session.call(service.CreateQuota, { requestId: session.requestId(), quota })
        session.out.print(session.options.json ? json(made) : `created quota ${made.name} (${made.quotaId})`)
      })
    )
  addReading(noun, quotas)
  withOptions(noun.command('update').option('--name <NAME>', 'new name'))
    .argument('<QUOTA>', 'id or name')
    .description('Change a quota; limits and consumers that are given replace what was there.')
    .action(
      withSession(async (session, idOrName: string, options: Options) => {
        const before = await quotas.get(session, idOrName)
        const mask = changes(options, {
          ...{
            name: 'name',
            description: 'description',
            threshold: 'threshold_percent',
            grace: 'grace_percent'
          },
          ...{ limitCluster: 'limits', limitStorage: 'limits', consumer: 'consumers' }
        })
        const updateMask = { paths: [...new Set(mask.paths)] }
        const quota = { ...(await wire(session, options)), quotaId: before.quotaId, etag: before.etag }
        const after = await session.call(service.UpdateQuota, {
          requestId: session.requestId(),
          quota,
          updateMask
        })
        session.out.print(session.options.json ? json(after) : `changed quota ${after.name}`)
      })
    )
  noun
    .command('delete')
    .argument('<QUOTA>', 'id or name')
    .description('Delete a quota that nothing is under.')
    .action(
      withSession(async (session, quotaId: string) => {
        await session.call(service.DeleteQuota, { requestId: session.requestId(), quotaId })
        session.out.print(session.options.json ? json({ quotaId }) : `deleted quota ${quotaId}`)
      })
    )
  noun
    .command('assign')
    .argument('[QUOTA]', 'id or name; none takes the object out of its quota')
    .option('--vm <VM>', 'this VM and its disks, id or name')
    .option('--disk <DISK>', 'this disk, id or name')
    .description('Put a VM or disk under a quota.')
    .action(
      withSession(
        async (
          session,
          quota: string | undefined,
          { vm = '', disk = '' }: { vm?: string; disk?: string }
        ) => {
          const request = { requestId: session.requestId(), quotaId: quota ?? '', vmId: vm, diskId: disk }
          await session.call(service.AssignQuota, request)
          session.out.print(session.options.json ? json({}) : `${vm || disk} is under ${quota ?? 'no quota'}`)
        }
      )
    )
  noun
    .command('mode')
    .addArgument(new Argument('[MODE]', 'new mode').choices(Object.keys(modes)))
    .description('Show or set what happens at the end of quotas: nothing, a warning, or a refusal.')
    .action(
      withSession(async (session, mode: keyof typeof modes | undefined) => {
        const settings =
          mode === undefined
            ? await session.call(service.GetQuotaMode, {})
            : await session.call(service.SetQuotaMode, { requestId: session.requestId(), mode: modes[mode] })
        session.out.print(session.options.json ? json(settings) : formatEnum(settings.mode, 'QUOTA_MODE'))
      })
    )
}

const modes = {
  disabled: 'QUOTA_MODE_DISABLED',
  audit: 'QUOTA_MODE_AUDIT',
  enforced: 'QUOTA_MODE_ENFORCED'
} as const

function withOptions(command: Command): Command {
  return command
    .option('--description <TEXT>', 'free text')
    .option(
      '--threshold <PERCENT>',
      'percent of a limit from which on there is a warning (default 80)',
      integer(1, 100)
    )
    .option('--grace <PERCENT>', 'percent beyond a limit that are still given', integer(0, 100))
    .option(
      '--limit-cluster <LIMIT>',
      "'CLUSTER [vcpus=N] [memory=SIZE]', repeatable; * is all clusters",
      each
    )
    .option('--limit-storage <LIMIT>', "'STORAGE-DOMAIN SIZE', repeatable; * is all of them", each)
    .option('--consumer <ACTOR>', 'who may use it: admin/NAME, admin/* or local; repeatable', each)
}

async function wire(session: Session, options: Options) {
  return {
    ...{
      name: options.name ?? '',
      description: options.description ?? '',
      consumers: options.consumer ?? []
    },
    ...{ thresholdPercent: options.threshold ?? 0, gracePercent: options.grace ?? 0 },
    limits: [
      ...(await Promise.all((options.limitCluster ?? []).map(text => clusterLimit(session, text)))),
      ...(await Promise.all((options.limitStorage ?? []).map(text => storageLimit(session, text))))
    ]
  }
}

async function clusterLimit(session: Session, text: string) {
  const [name = '', ...parts] = text.trim().split(/\s+/)
  const clusterId = name === '*' ? '*' : await idOf(session, clusters, name)
  const limit: { clusterId: string; vcpus?: number; memoryBytes?: string } = { clusterId }
  for (const part of parts) {
    const [key, value = ''] = part.split('=')
    if (key === 'vcpus') limit.vcpus = integer(0, 1_000_000)(value)
    else if (key === 'memory') limit.memoryBytes = parseSize(value)
    else throw new InvalidArgumentError("Give 'CLUSTER vcpus=N memory=SIZE'.")
  }
  return limit
}

async function storageLimit(session: Session, text: string) {
  const [name = '', size = '', ...rest] = text.trim().split(/\s+/)
  if (size === '' || rest.length > 0) throw new InvalidArgumentError("Give 'STORAGE-DOMAIN SIZE'.")
  const storageDomainId = name === '*' ? '*' : await idOf(session, storageDomains, name)
  return { storageDomainId, storageBytes: parseSize(size) }
}
