import type { Command } from 'commander'
import { coordinatorServices } from '../../proto/load.js'
import { idOf } from '../resource.js'
import { disks, vms } from '../resources.js'
import { withSession, type Session } from '../session.js'
import { each, integer } from '../units.js'
import { finish } from '../wait.js'

// CD-ROM drives of VMs, and what is in them.

const service = coordinatorServices.vm
const boots = ['disk', 'cdrom']

export type Drives = { cdrom?: string[] | false; cdDrive?: boolean; boot?: string }

/** Options of a VM's drives, for creating and changing it. */
export const withDrives = (command: Command): Command =>
  command
    .option('--cdrom <DISK>', 'a CD-ROM drive with this ISO image in it, repeatable', each)
    .option('--cd-drive', 'a CD-ROM drive with nothing in it')
    .option('--no-cdrom', 'no CD-ROM drives')
    .addOption(
      command.createOption('--boot <FROM>', 'what is tried first at boot (default: disk)').choices(boots)
    )

/** All drives as they shall be. */
export async function drives(session: Session, { cdrom, cdDrive = false, boot }: Drives) {
  const filled = await Promise.all((cdrom || []).map(disk => idOf(session, disks, disk)))
  return {
    cdDrives: [...filled.map(diskId => ({ diskId })), ...(cdDrive ? [{ diskId: '' }] : [])],
    bootFromCd: boot === 'cdrom'
  }
}

type Change = { drive?: number; force?: boolean }

export function addCds(noun: Command): void {
  withPlace(noun.command('insert-cd'))
    .argument('<VM>', 'id or name')
    .argument('<DISK>', 'ISO image, id or name')
    .description('Put an ISO image into a CD-ROM drive of a VM, in place of what is there.')
    .addHelpText('after', '\nExample:\n  drover vm insert-cd web debian-12.iso')
    .action(
      withSession(async (session, vm: string, disk: string, options: Change) => {
        const diskId = await idOf(session, disks, disk)
        await change(session, vm, diskId, options, `inserted ${disk} into VM ${vm}`)
      })
    )
  withPlace(noun.command('eject-cd'))
    .argument('<VM>', 'id or name')
    .description('Take out what is in a CD-ROM drive of a VM.')
    .action(
      withSession(async (session, vm: string, options: Change) =>
        change(session, vm, '', options, `ejected the CD of VM ${vm}`)
      )
    )
}

const withPlace = (command: Command): Command =>
  command
    .option('--drive <N>', 'which drive (default: 1)', integer(1, 4))
    .option('--force', 'even if the guest keeps the tray locked')

async function change(
  session: Session,
  vm: string,
  diskId: string,
  { drive = 0, force = false }: Change,
  done: string
): Promise<void> {
  const vmId = await idOf(session, vms, vm)
  const request = { requestId: session.requestId(), vmId, drive, diskId, force }
  await finish(session, await session.call(service.ChangeCd, request), () => done)
}
