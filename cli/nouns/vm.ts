import type { Command } from 'commander'
import { coordinatorServices } from '../../proto/load.js'
import { json } from '../print.js'
import { addReading, idOf, optionalIdOf } from '../resource.js'
import { clusters, disks, hosts, storageDomains, templates, vms } from '../resources.js'
import { withSession, type Session } from '../session.js'
import { each, integer, parseSize } from '../units.js'
import { changes } from '../update.js'
import { finish, follow, throwIfFailed } from '../wait.js'
import { addRegister } from './unregistered.js'
import { addCds, drives, withDrives, type Drives } from './vm-cd.js'
import { addLuns } from './vm-lun.js'
import { addConsole } from './vm-console.js'
import { addRunning } from './vm-power.js'
import { addWhy } from './vm-why.js'

const service = coordinatorServices.vm
const firmwares = { bios: 'FIRMWARE_BIOS', uefi: 'FIRMWARE_UEFI' } as const

type Shape = Drives & {
  name?: string
  description?: string
  cpus?: number
  memory?: string
  firmware?: keyof typeof firmwares
  ha?: boolean
  haPriority?: number
  needs?: string[] | false
}
type Create = Shape & {
  cluster: string
  template?: string
  clone?: boolean
  storageDomain?: string
  disk?: string[]
  bridge?: string[]
  pin?: string[]
  start?: boolean
}

export function addVm(program: Command): void {
  const noun = program.command('vm').description('Virtual machines.')
  addCreating(noun)
  addRegister(noun)
  addReading(noun, vms)
  addChanging(noun)
  addCds(noun)
  addLuns(noun)
  addRunning(noun)
  addWhy(noun)
  addConsole(noun)
}

function addCreating(noun: Command): void {
  withShape(noun.command('create'))
    .argument('<NAME>')
    .requiredOption('--cluster <CLUSTER>', 'its cluster, id or name')
    .option('--template <TEMPLATE>', 'template to make it from')
    .option('--clone', "copy the template's disks instead of sharing their volumes")
    .option('--storage-domain <STORAGE-DOMAIN>', "where new disks lie (default: beside the template's)")
    .option('--disk <DISK>', 'existing disk to attach, repeatable', each)
    .option('--bridge <BRIDGE>', 'a network interface on this bridge, repeatable', each)
    .option('--pin <HOST>', 'host it may run on, repeatable (default: all of the cluster)', each)
    .option('--start', 'start it when it is made')
    .description('Create a VM.')
    .addHelpText(
      'after',
      '\nExample:\n  drover vm create web --cluster main --template debian-12 --cpus 2 --memory 2G --ha --start'
    )
    .action(
      withSession(async (session, name: string, options: Create) => {
        const job = await session.call(service.CreateVm, await creation(session, name, options))
        if (!options.start)
          return finish(session, job, ({ objects }) => `created VM ${name} (${objects['vm'] ?? ''})`)
        // A start needs the disks: the creation is waited for, whatever was said of the start.
        throwIfFailed(await follow(session, job))
        const request = { requestId: session.requestId(), vmId: job.objects['vm'] ?? '' }
        await finish(
          session,
          await session.call(service.StartVm, request),
          () => `created and started VM ${name}`
        )
      })
    )
}

async function creation(session: Session, name: string, options: Create) {
  const attachments = await Promise.all([
    ...(options.disk ?? []).map(async disk => ({ diskId: await idOf(session, disks, disk) }))
  ])
  return {
    requestId: session.requestId(),
    vm: {
      ...wire(options),
      name,
      clusterId: await idOf(session, clusters, options.cluster),
      disks: attachments,
      ...(await drives(session, options)),
      nics: (options.bridge ?? []).map(bridge => ({ bridge })),
      dependsOnVmIds: await neededIds(session, options),
      pinnedHostIds: await Promise.all((options.pin ?? []).map(host => idOf(session, hosts, host)))
    },
    templateId: await optionalIdOf(session, templates, options.template),
    clone: options.clone ?? false,
    storageDomainId: await optionalIdOf(session, storageDomains, options.storageDomain)
  }
}

/** Ids of the VMs that must run before it starts. */
const neededIds = (session: Session, { needs }: Shape) =>
  Promise.all((needs || []).map(vm => idOf(session, vms, vm)))

function addChanging(noun: Command): void {
  withShape(noun.command('update').option('--name <NAME>', 'new name'))
    .argument('<VM>', 'id or name')
    .description(
      'Change a VM. While it runs only its name, description, HA priority and the VMs that it needs.'
    )
    .action(
      withSession(async (session, idOrName: string, options: Shape) => {
        const before = await vms.get(session, idOrName)
        const updateMask = changes(options, {
          name: 'name',
          description: 'description',
          cpus: 'vcpus',
          memory: 'memory_bytes',
          firmware: 'firmware',
          ha: 'ha.enabled',
          haPriority: 'ha.priority',
          needs: 'depends_on_vm_ids',
          cdrom: 'cd_drives',
          cdDrive: 'cd_drives',
          boot: 'boot_from_cd'
        })
        const dependsOnVmIds = await neededIds(session, options)
        const cds = await drives(session, options)
        const vm = { ...wire(options), ...cds, dependsOnVmIds, vmId: before.vmId, etag: before.etag }
        const updated = await session.call(service.UpdateVm, {
          requestId: session.requestId(),
          vm,
          updateMask
        })
        session.out.print(session.options.json ? json(updated) : `changed VM ${updated.name}`)
      })
    )
  noun
    .command('delete')
    .argument('<VM>', 'id or name')
    .option('--keep-disks', 'keep its disks, detached')
    .description('Delete a VM that is down, with its disks.')
    .action(
      withSession(async (session, vm: string, { keepDisks = false }: { keepDisks?: boolean }) => {
        const request = { requestId: session.requestId(), vmId: await idOf(session, vms, vm), keepDisks }
        await finish(session, await session.call(service.DeleteVm, request), () => `deleted VM ${vm}`)
      })
    )
  noun
    .command('attach-disk')
    .argument('<VM>', 'id or name')
    .argument('<DISK>', 'id or name')
    .option('--read-only', 'the guest may not write')
    .option('--cdrom', 'as CD-ROM drive')
    .description('Attach a disk to a VM that is down.')
    .action(
      withSession(
        async (session, vm: string, disk: string, options: { readOnly?: boolean; cdrom?: boolean }) => {
          const vmId = await idOf(session, vms, vm)
          const attachment = { ...options, diskId: await idOf(session, disks, disk) }
          const changed = await session.call(service.AttachDisk, {
            requestId: session.requestId(),
            vmId,
            attachment
          })
          session.out.print(session.options.json ? json(changed) : `attached disk ${disk} to VM ${vm}`)
        }
      )
    )
  noun
    .command('detach-disk')
    .argument('<VM>', 'id or name')
    .argument('<DISK>', 'id or name')
    .description('Detach a disk from a VM that is down. The disk stays.')
    .action(
      withSession(async (session, vm: string, disk: string) => {
        const [vmId, diskId] = [await idOf(session, vms, vm), await idOf(session, disks, disk)]
        const changed = await session.call(service.DetachDisk, {
          requestId: session.requestId(),
          vmId,
          diskId
        })
        session.out.print(session.options.json ? json(changed) : `detached disk ${disk} from VM ${vm}`)
      })
    )
}

function withShape(command: Command): Command {
  return withDrives(command)
    .option('--description <TEXT>', 'free text')
    .option('--cpus <N>', 'virtual CPUs', integer(1, 512))
    .option('--memory <SIZE>', 'memory, for example 2G', parseSize)
    .addOption(command.createOption('--firmware <FIRMWARE>', 'firmware').choices(Object.keys(firmwares)))
    .option('--ha', 'restart it when its host dies')
    .option('--no-ha', 'do not restart it when its host dies')
    .option('--needs <VM>', 'VM that must run before it starts, repeatable, id or name', each)
    .option('--no-needs', 'it needs no other VM')
    .option('--ha-priority <N>', 'order of restarts, 1 first (default 50)', integer(1, 100))
}

function wire({
  name = '',
  description = '',
  cpus = 0,
  memory = '0',
  firmware,
  ha = false,
  haPriority = 0
}: Shape) {
  return {
    name,
    description,
    vcpus: cpus,
    memoryBytes: memory,
    firmware: firmware ? firmwares[firmware] : ('FIRMWARE_UNSPECIFIED' as const),
    ha: { enabled: ha, priority: haPriority }
  }
}
