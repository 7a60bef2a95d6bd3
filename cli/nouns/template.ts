import type { Command } from 'commander'
import { coordinatorServices } from '../../proto/load.js'
import { json } from '../print.js'
import { addReading, idOf, optionalIdOf } from '../resource.js'
import { disks, templates, vms } from '../resources.js'
import { withSession } from '../session.js'
import { each, integer, parseSize } from '../units.js'
import { changes } from '../update.js'
import { finish } from '../wait.js'

const service = coordinatorServices.template

type Shape = { name?: string; description?: string; cpus?: number; memory?: string }

export function addTemplate(program: Command): void {
  const noun = program
    .command('template')
    .description('Read-only VMs whose volumes are shared by VMs made from them.')
  type Create = Shape & { disk?: string[]; vm?: string; firmware?: 'bios' | 'uefi' }
  const create = noun.command('create')
  withShape(create)
    .argument('<NAME>')
    .option('--disk <DISK>', "disk that becomes the template's, repeatable, in boot order", each)
    .option('--vm <VM>', 'instead: copy the disks of this VM, which must be down')
    .addOption(
      create.createOption('--firmware <FIRMWARE>', 'firmware of VMs made from it').choices(['bios', 'uefi'])
    )
    .description('Create a template.')
    .addHelpText(
      'after',
      '\nExample:\n  drover template create debian-12 --disk debian-12 --cpus 1 --memory 512M'
    )
    .action(
      withSession(async (session, name: string, options: Create) => {
        const diskIds = await Promise.all((options.disk ?? []).map(disk => idOf(session, disks, disk)))
        const firmware = options.firmware === 'uefi' ? ('FIRMWARE_UEFI' as const) : ('FIRMWARE_BIOS' as const)
        const template = { ...wire(options), name, diskIds, ...(options.firmware && { firmware }) }
        const vmId = await optionalIdOf(session, vms, options.vm)
        const job = await session.call(service.CreateTemplate, {
          requestId: session.requestId(),
          template,
          vmId
        })
        await finish(session, job, ({ objects }) => `created template ${name} (${objects['template'] ?? ''})`)
      })
    )
  addReading(noun, templates)
  withShape(noun.command('update').option('--name <NAME>', 'new name'))
    .argument('<TEMPLATE>', 'id or name')
    .description('Change a template.')
    .action(
      withSession(async (session, idOrName: string, options: Shape) => {
        const before = await templates.get(session, idOrName)
        const paths = { name: 'name', description: 'description', cpus: 'vcpus', memory: 'memory_bytes' }
        const updateMask = changes(options, paths)
        const template = { ...wire(options), templateId: before.templateId, etag: before.etag }
        const updated = await session.call(service.UpdateTemplate, {
          requestId: session.requestId(),
          template,
          updateMask
        })
        session.out.print(session.options.json ? json(updated) : `changed template ${updated.name}`)
      })
    )
  noun
    .command('delete')
    .argument('<TEMPLATE>', 'id or name')
    .description('Delete a template with its disks. No VM may depend on it.')
    .action(
      withSession(async (session, template: string) => {
        const request = {
          requestId: session.requestId(),
          templateId: await idOf(session, templates, template)
        }
        await finish(
          session,
          await session.call(service.DeleteTemplate, request),
          () => `deleted template ${template}`
        )
      })
    )
}

function withShape(command: Command): Command {
  return command
    .option('--description <TEXT>', 'free text')
    .option('--cpus <N>', 'virtual CPUs of VMs made from it', integer(1, 512))
    .option('--memory <SIZE>', 'memory of VMs made from it, for example 512M', parseSize)
}

const wire = ({ name = '', description = '', cpus = 0, memory = '0' }: Shape) => {
  return { name, description, vcpus: cpus, memoryBytes: memory }
}
