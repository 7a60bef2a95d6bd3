import type { Command } from 'commander'
import { coordinatorServices } from '../../proto/load.js'
import { addConnectionOptions, connectionOf, type ConnectionOptions } from '../connection.js'
import { json } from '../print.js'
import { addReading, idOf, optionalIdOf } from '../resource.js'
import { hosts, storageDomains } from '../resources.js'
import { withSession } from '../session.js'
import { integer, parseSize } from '../units.js'
import { changes } from '../update.js'
import { finish } from '../wait.js'
import { addStorageDevice } from './storage-device.js'
import { addStorageDoctor } from './storage-doctor.js'
import { addUnregistered } from './unregistered.js'
import { runAudit } from './audit.js'

const service = coordinatorServices.storageDomain

export function addStorageDomain(program: Command): void {
  const noun = program.command('storage-domain').alias('sd').description('Places where volumes live.')
  addCreating(noun)
  addReading(noun, storageDomains)
  addCommands(noun)
  addStorageDevice(noun)
  addStorageDoctor(noun)
  addUnregistered(noun)
}

function addCreating(noun: Command): void {
  type Create = ConnectionOptions & { host?: string; ioTimeout?: number; blockSize?: number }
  addConnectionOptions(noun.command('create'))
    .argument('<NAME>')
    .option('--host <HOST>', 'host that formats it')
    .option('--io-timeout <SECONDS>', 'I/O timeout of sanlock (default 10)', integer(1, 40))
    .option('--block-size <BYTES>', '512 or 4096 (default: what the storage has)', integer(512, 4096))
    .description('Create a storage domain, attach it and activate it on all hosts.')
    .addHelpText(
      'after',
      '\nExamples:\n  drover storage-domain create fast --nfs filer:/export/fast\n  drover storage-domain create shared --posix /srv/shared'
    )
    .action(
      withSession(async (session, name: string, options: Create) => {
        const request = {
          requestId: session.requestId(),
          storageDomain: {
            name,
            connection: connectionOf(options),
            ioTimeoutSeconds: options.ioTimeout ?? 0,
            blockSize: options.blockSize ?? 0
          },
          hostId: await optionalIdOf(session, hosts, options.host)
        }
        const job = await session.call(service.CreateStorageDomain, request)
        await finish(session, job, () => `created storage domain ${name}`)
      })
    )
  type Adopt = ConnectionOptions & {
    host?: string
    name?: string
    id?: string
    dryRun?: boolean
    convert?: boolean
  }
  addConnectionOptions(noun.command('adopt'))
    .option('--name <NAME>', 'its name (default: that of its metadata)')
    .option('--host <HOST>', 'host that looks')
    .option('--id <UUID>', 'which one, if there are several at that place')
    .option('--dry-run', 'only say what would happen')
    .option('--convert', 'bring one of format V4 to V5 first, in place')
    .description('Take an existing storage domain (oVirt V5) into service where it lies. Nothing is copied.')
    .action(
      withSession(async (session, options: Adopt) => {
        const request = {
          requestId: session.requestId(),
          storageDomain: { name: options.name ?? '', connection: connectionOf(options) },
          hostId: await optionalIdOf(session, hosts, options.host),
          storageDomainId: options.id ?? '',
          dryRun: options.dryRun ?? false,
          convert: options.convert ?? false
        }
        const job = await session.call(service.AdoptStorageDomain, request)
        await finish(session, job, ({ result }) =>
          options.dryRun ? json(result) : `adopted storage domain ${result['name'] ?? options.name ?? ''}`
        )
      })
    )
}

function addCommands(noun: Command): void {
  for (const [verb, method, done, description] of [
    ['activate', service.ActivateStorageDomain, 'active', 'Take it into use on all hosts.'],
    ['maintenance', service.DeactivateStorageDomain, 'in maintenance', 'Put it into maintenance.']
  ] as const) {
    noun
      .command(verb)
      .argument('<STORAGE-DOMAIN>', 'id or name')
      .description(description)
      .action(
        withSession(async (session, name: string) => {
          const storageDomainId = await idOf(session, storageDomains, name)
          const job = await session.call(method, { requestId: session.requestId(), storageDomainId })
          await finish(session, job, () => `storage domain ${name} is ${done}`)
        })
      )
  }
  noun
    .command('update')
    .argument('<STORAGE-DOMAIN>', 'id or name')
    .option('--name <NAME>', 'new name')
    .option('--critical <SIZE>', 'space below which it is called low', parseSize)
    .description('Change a storage domain.')
    .action(
      withSession(async (session, idOrName: string, options: { name?: string; critical?: string }) => {
        const before = await storageDomains.get(session, idOrName)
        const updateMask = changes(options, { name: 'name', critical: 'critical_bytes' })
        const storageDomain = {
          storageDomainId: before.storageDomainId,
          name: options.name ?? before.name,
          criticalBytes: options.critical ?? '0',
          etag: before.etag
        }
        const request = { requestId: session.requestId(), storageDomain, updateMask }
        const updated = await session.call(service.UpdateStorageDomain, request)
        session.out.print(session.options.json ? json(updated) : `changed storage domain ${updated.name}`)
      })
    )
  noun
    .command('delete')
    .argument('<STORAGE-DOMAIN>', 'id or name')
    .option('--format', 'destroy its data as well')
    .description('Detach a storage domain so that it can be adopted again, or destroy it.')
    .action(
      withSession(async (session, name: string, { format = false }: { format?: boolean }) => {
        const storageDomainId = await idOf(session, storageDomains, name)
        const job = await session.call(service.DeleteStorageDomain, {
          requestId: session.requestId(),
          storageDomainId,
          format
        })
        await finish(session, job, () => `${format ? 'destroyed' : 'detached'} storage domain ${name}`)
      })
    )
  noun
    .command('audit')
    .argument('[STORAGE-DOMAIN]', 'id or name; all without one')
    .description('Look for broken invariants on it, without changing anything.')
    .action(withSession(runAudit))
}
