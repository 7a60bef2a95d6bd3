import type { Fields } from '../../common/fields.js'
import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import { seconds } from '../../common/units.js'
import type { VmServiceDefinition } from '../../proto/generated/types/drover/agent/v1/VmService.js'
import { stampOf } from '../gate.js'
import type { Incoming } from '../incoming.js'
import type { MigrationWorld } from '../migration.js'
import { page, pageOf } from '../pages.js'
import { pauseVm, rebootVm, resetVm, resumeVm } from '../power-vm.js'
import type { Requests } from '../requests.js'
import { startVm, type VmWorld } from '../start-vm.js'
import { destroyVm, shutdownVm, type Command } from '../stop-vm.js'
import { taskMessage } from '../task-message.js'
import type { TaskRun, Tasks } from '../tasks.js'
import { vmMessage } from '../vm-message.js'
import { vmSpecOf } from '../vm-spec.js'
import { cdHandlers } from './change-cd.js'
import { consoleHandlers } from './console.js'
import { limitsHandlers } from './vm-limits.js'
import { migrationHandlers } from './migration.js'

type Verb = (world: VmWorld, command: Command, run: TaskRun) => Promise<Record<string, string>>

const commandOf = (fields: Fields) => ({
  stamp: stampOf(fields),
  vmId: fields.uuid('vmId'),
  generation: generationOf(fields)
})
/** 0 means whichever runs. */
const generationOf = (fields: Fields) =>
  fields.integerOr('vmGeneration', 0, 1, Number.MAX_SAFE_INTEGER) || null

export type VmParts = { world: MigrationWorld; incoming: Incoming; tasks: Tasks; requests: Requests }

export function vmService(parts: VmParts): Handlers<VmServiceDefinition> {
  const { world, tasks, requests } = parts
  const command = (method: string, verb: Verb, interrupts = false) =>
    unary({
      check: commandOf,
      method: async ({ stamp, vmId, generation }) => {
        const kind = `VmService.${method}`
        if (interrupts) await tasks.interrupt({ vm: vmId }, stamp.requestId)
        const task = await tasks.run({
          ...{ stamp, kind, content: { vmId, generation }, objects: { vm: vmId }, locks: [] },
          work: run => verb(world, { vmId, generation }, run)
        })
        return taskMessage(task)
      }
    })
  const shutdown: Verb = (_, meant, run) =>
    shutdownVm(world, meant, seconds(world.config.shutdown_seconds), run)

  return {
    startVm: unary({
      check: fields => ({
        stamp: stampOf(fields),
        generation: fields.integer('vmGeneration', 0, Number.MAX_SAFE_INTEGER),
        spec: fields.message('spec', vmSpecOf),
        paused: fields.bool('paused')
      }),
      method: async ({ stamp, ...start }) => {
        const task = await tasks.run({
          ...{
            stamp,
            kind: 'VmService.StartVm',
            content: start,
            objects: { vm: start.spec.vmId },
            locks: []
          },
          work: run => startVm(world, { requestId: stamp.requestId, ...start }, run)
        })
        return taskMessage(task)
      }
    }),
    shutdownVm: command('ShutdownVm', shutdown),
    rebootVm: command('RebootVm', rebootVm),
    resetVm: command('ResetVm', resetVm),
    pauseVm: command('PauseVm', pauseVm),
    resumeVm: command('ResumeVm', resumeVm),
    destroyVm: command('DestroyVm', destroyVm, true),
    ...migrationHandlers(parts),
    ...consoleHandlers(world, requests),
    ...limitsHandlers(world, requests),
    ...cdHandlers(world, tasks),
    getVm: unary({
      check: fields => fields.uuid('vmId'),
      method: async vmId => vmMessage(world.vms.get(vmId))
    }),
    listVms: unary({
      check: pageOf,
      method: async request => {
        const { items, nextPageToken } = page(world.vms.list(), ({ id }) => id, request)
        return { vms: items.map(vmMessage), nextPageToken }
      }
    })
  }
}
