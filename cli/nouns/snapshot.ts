import type { Command } from 'commander'
import { coordinatorServices } from '../../proto/load.js'
import { addReading, idOf } from '../resource.js'
import { snapshots, vms } from '../resources.js'
import { withSession } from '../session.js'
import { finish } from '../wait.js'

const service = coordinatorServices.snapshot

export function addSnapshot(program: Command): void {
  const noun = program.command('snapshot').description("Points in time of a VM's disks.")
  noun
    .command('create')
    .argument('<VM>', 'id or name; the VM must be down')
    .argument('<NAME>')
    .description('Take a snapshot of all disks of a VM.')
    .action(
      withSession(async (session, vm: string, name: string) => {
        const snapshot = { vmId: await idOf(session, vms, vm), name }
        const job = await session.call(service.CreateSnapshot, { requestId: session.requestId(), snapshot })
        await finish(
          session,
          job,
          ({ objects }) => `took snapshot ${name} of VM ${vm} (${objects['snapshot'] ?? ''})`
        )
      })
    )
  addReading(noun, snapshots)
  noun
    .command('delete')
    .argument('<SNAPSHOT>', 'id or name')
    .description('Fold a snapshot into what came after it. The disks keep their current content.')
    .action(
      withSession(async (session, snapshot: string) => {
        const request = {
          requestId: session.requestId(),
          snapshotId: await idOf(session, snapshots, snapshot)
        }
        await finish(
          session,
          await session.call(service.DeleteSnapshot, request),
          () => `deleted snapshot ${snapshot}`
        )
      })
    )
}
