import type { Command } from 'commander'
import { coordinatorServices } from '../../proto/load.js'
import { json } from '../print.js'
import { addReading, idOf, optionalIdOf } from '../resource.js'
import { disks, storageDomains } from '../resources.js'
import { withSession } from '../session.js'
import { parseSize } from '../units.js'
import { changes } from '../update.js'
import { finish } from '../wait.js'

const service = coordinatorServices.disk
export const formats = { raw: 'DISK_FORMAT_RAW', qcow2: 'DISK_FORMAT_QCOW2' } as const

export type Shape = { format?: keyof typeof formats; preallocated?: boolean }

export function addDisk(program: Command): void {
  const noun = program.command('disk').description('What is attached to VMs.')
  type Create = Shape & { size: string; storageDomain: string; shareable?: boolean }
  withFormat(noun.command('create'))
    .argument('<NAME>')
    .requiredOption('--size <SIZE>', 'size that the guest sees, for example 20G', parseSize)
    .requiredOption('--storage-domain <STORAGE-DOMAIN>', 'where it lies, id or name')
    .option('--shareable', 'several VMs may write it at once (raw and preallocated only)')
    .description('Create an empty disk.')
    .addHelpText('after', '\nExample:\n  drover disk create data --size 20G --storage-domain fast')
    .action(
      withSession(async (session, name: string, options: Create) => {
        const storageDomainId = await idOf(session, storageDomains, options.storageDomain)
        const { size: capacity, shareable = false } = options
        const disk = { name, storageDomainId, capacity, shareable, ...wireFormat(options) }
        const job = await session.call(service.CreateDisk, { requestId: session.requestId(), disk })
        await finish(session, job, ({ objects }) => `created disk ${name} (${objects['disk'] ?? ''})`)
      })
    )
  addReading(noun, disks)
  noun
    .command('update')
    .argument('<DISK>', 'id or name')
    .option('--name <NAME>', 'new name')
    .option('--shareable', 'several VMs may write it at once')
    .option('--no-shareable', 'one VM writes it')
    .description('Change a disk.')
    .action(
      withSession(async (session, idOrName: string, options: { name?: string; shareable?: boolean }) => {
        const updateMask = changes(options, { name: 'name', shareable: 'shareable' })
        const before = await disks.get(session, idOrName)
        const disk = { ...options, diskId: before.diskId, etag: before.etag }
        const request = { requestId: session.requestId(), disk, updateMask }
        const updated = await session.call(service.UpdateDisk, request)
        session.out.print(session.options.json ? json(updated) : `changed disk ${updated.name}`)
      })
    )
  noun
    .command('resize')
    .argument('<DISK>', 'id or name')
    .argument('<SIZE>', 'new size, for example 40G', parseSize)
    .description('Make a disk larger while its VM is down.')
    .action(
      withSession(async (session, disk: string, capacity: string) => {
        const request = { requestId: session.requestId(), diskId: await idOf(session, disks, disk), capacity }
        await finish(session, await session.call(service.ResizeDisk, request), () => `resized disk ${disk}`)
      })
    )
  type Copy = Shape & { name: string; storageDomain?: string }
  withFormat(noun.command('copy'))
    .argument('<DISK>', 'id or name')
    .requiredOption('--name <NAME>', 'name of the copy')
    .option('--storage-domain <STORAGE-DOMAIN>', 'where the copy lies (default: beside the original)')
    .description('Copy a disk.')
    .action(
      withSession(async (session, disk: string, options: Copy) => {
        const request = {
          requestId: session.requestId(),
          diskId: await idOf(session, disks, disk),
          name: options.name,
          storageDomainId: await optionalIdOf(session, storageDomains, options.storageDomain),
          ...wireFormat(options)
        }
        await finish(
          session,
          await session.call(service.CopyDisk, request),
          () => `copied disk ${disk} to ${options.name}`
        )
      })
    )
  noun
    .command('delete')
    .argument('<DISK>', 'id or name')
    .option('--wipe', 'overwrite it with zeros first')
    .description('Delete a disk.')
    .action(
      withSession(async (session, disk: string, { wipe = false }: { wipe?: boolean }) => {
        const request = { requestId: session.requestId(), diskId: await idOf(session, disks, disk), wipe }
        await finish(session, await session.call(service.DeleteDisk, request), () => `deleted disk ${disk}`)
      })
    )
}

export function withFormat(command: Command): Command {
  return command
    .addOption(
      command.createOption('--format <FORMAT>', 'format (default: qcow2)').choices(Object.keys(formats))
    )
    .option('--preallocated', 'take all space at once')
}

export function wireFormat({ format, preallocated = false }: Shape) {
  return {
    format: format ? formats[format] : ('DISK_FORMAT_UNSPECIFIED' as const),
    allocation: preallocated
      ? ('ALLOCATION_POLICY_PREALLOCATED' as const)
      : ('ALLOCATION_POLICY_UNSPECIFIED' as const)
  }
}
