import type { Command } from 'commander'
import { coordinatorServices } from '../../proto/load.js'
import { json } from '../print.js'
import { idOf } from '../resource.js'
import { vms } from '../resources.js'
import { withSession } from '../session.js'

// LUNs that VMs use as they are.

const service = coordinatorServices.vm
const buses = { scsi: 'DISK_BUS_SCSI', virtio: 'DISK_BUS_VIRTIO' } as const

type Attach = {
  bus?: keyof typeof buses
  readOnly?: boolean
  shareable?: boolean
  passthrough?: boolean
  reservations?: boolean
  withData?: boolean
}

export function addLuns(noun: Command): void {
  const attach = noun.command('attach-lun')
  attach
    .argument('<VM>', 'id or name')
    .argument('<WWID>', 'the LUN, as `drover host luns` shows it')
    .addOption(
      attach.createOption('--bus <BUS>', 'bus in the guest (default: scsi)').choices(Object.keys(buses))
    )
    .option('--read-only', 'the guest may not write')
    .option('--shareable', 'other VMs may have it at the same time')
    .option('--passthrough', "the guest's SCSI commands go to the LUN itself")
    .option('--reservations', 'those about persistent reservations too (with --passthrough)')
    .option('--with-data', 'take a LUN with a file system or partition table on it')
    .description('Give a LUN to a VM that is down, as it is.')
    .addHelpText(
      'after',
      '\nExample:\n  drover vm attach-lun db1 3600a098038303053453f463045727a51 --shareable'
    )
    .action(
      withSession(
        async (session, vm: string, wwid: string, { bus = 'scsi', withData = false, ...lun }: Attach) => {
          const vmId = await idOf(session, vms, vm)
          const request = {
            requestId: session.requestId(),
            vmId,
            lun: { ...lun, wwid, bus: buses[bus] },
            withData
          }
          const changed = await session.call(service.AttachLun, request)
          session.out.print(session.options.json ? json(changed) : `attached LUN ${wwid} to VM ${vm}`)
        }
      )
    )
  noun
    .command('detach-lun')
    .argument('<VM>', 'id or name')
    .argument('<WWID>', 'the LUN')
    .description('Take a LUN from a VM that is down. What is on it stays.')
    .action(
      withSession(async (session, vm: string, wwid: string) => {
        const request = { requestId: session.requestId(), vmId: await idOf(session, vms, vm), wwid }
        const changed = await session.call(service.DetachLun, request)
        session.out.print(session.options.json ? json(changed) : `detached LUN ${wwid} from VM ${vm}`)
      })
    )
}
