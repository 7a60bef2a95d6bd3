import type { Fields } from '../../common/fields.js'
import { unary } from '../../common/rpc.js'
import { stampOf } from '../gate.js'
import type { Incoming } from '../incoming.js'
import { migrateVm, type MigrationWorld } from '../migration.js'
import type { Requests } from '../requests.js'
import { throwIfNoBridge } from '../start-vm.js'
import { taskMessage } from '../task-message.js'
import type { Tasks } from '../tasks.js'
import { vmSpecOf } from '../vm-spec.js'

type Parts = { world: MigrationWorld; incoming: Incoming; tasks: Tasks; requests: Requests }

const generationOf = (fields: Fields) => fields.integer('vmGeneration', 0, Number.MAX_SAFE_INTEGER)

export function migrationHandlers({ world, incoming, tasks, requests }: Parts) {
  return {
    prepareIncoming: unary({
      check: fields => ({
        stamp: stampOf(fields),
        generation: generationOf(fields),
        spec: fields.message('spec', vmSpecOf),
        sourceHostId: fields.uuid('sourceHostId')
      }),
      method: async ({ stamp, ...arrival }, { signal }) => {
        const objects = { vm: arrival.spec.vmId }
        const request = { stamp, kind: 'VmService.PrepareIncoming', content: arrival, objects }
        return requests.once(request, async () => {
          await throwIfNoBridge(arrival.spec)
          return { migrationAddress: await incoming.prepare(arrival, signal) }
        })
      }
    }),
    cancelIncoming: unary({
      check: fields => ({
        stamp: stampOf(fields),
        vmId: fields.uuid('vmId'),
        generation: generationOf(fields)
      }),
      method: async ({ stamp, vmId, generation }) => {
        const request = {
          stamp,
          kind: 'VmService.CancelIncoming',
          content: { vmId, generation },
          objects: { vm: vmId }
        }
        return requests.once(request, async () => {
          await incoming.cancel(vmId, generation)
          return {}
        })
      }
    }),
    migrateVm: unary({
      check: fields => ({
        stamp: stampOf(fields),
        vmId: fields.uuid('vmId'),
        generation: generationOf(fields),
        destinationHostId: fields.uuid('destinationHostId'),
        migrationAddress: fields.matching(
          'migrationAddress',
          /^[^\s/]{1,250}:\d{1,5}$/,
          'must be ADDRESS:PORT'
        ),
        bandwidth: fields.integerOr('bandwidth', 0, 1, Number.MAX_SAFE_INTEGER) || null,
        downtimeMs: fields.integerOr('downtimeMs', 300, 10, 60_000)
      }),
      method: async ({ stamp, ...migration }) => {
        const { vmId: vm } = migration
        const task = await tasks.run({
          ...{ stamp, kind: 'VmService.MigrateVm', content: migration, objects: { vm }, locks: [] },
          work: run => migrateVm(world, { taskId: stamp.requestId, ...migration }, run)
        })
        return taskMessage(task)
      }
    })
  }
}
