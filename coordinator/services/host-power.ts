import { Fault } from '../../common/fault.js'
import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import type { HostServiceDefinition } from '../../proto/generated/types/drover/v1/HostService.js'
import { host } from '../store/hosts.js'
import { resolveId } from '../store/names.js'
import { orderedJob, type Workshop } from './ordered-job.js'

type PowerJobs = Pick<Handlers<HostServiceDefinition>, 'fenceHost' | 'confirmHostStopped'>

const actions = {
  FENCE_ACTION_STATUS: 'status',
  FENCE_ACTION_OFF: 'off',
  FENCE_ACTION_ON: 'on'
} as const

/** A person switches a host's power, or gives the word that it is off. */
export function hostPower(workshop: Workshop): PowerJobs {
  const { jobs } = workshop
  return {
    fenceHost: unary({
      check: fields => ({
        requestId: fields.uuid('requestId'),
        content: {
          name: fields.idOrName('hostId', 64),
          action: fields.choice('action', ['FENCE_ACTION_STATUS', 'FENCE_ACTION_OFF', 'FENCE_ACTION_ON'])
        }
      }),
      method: async (request, context) =>
        orderedJob(workshop, 'FenceHost', request, context, (tx, who) => {
          const hostId = resolveId(tx, 'host', request.content.name)
          const { name, power } = host(tx, hostId)
          if (!power.isEnabled || power.devices.length === 0) {
            throw new Fault('WRONG_STATE', `host ${name} has no power device`, { facts: { host: hostId } })
          }
          return jobs.create(tx, 'host.fence', {
            context: { hostId, action: actions[request.content.action], states: [] },
            objects: { host: hostId },
            claims: [{ type: 'host', id: hostId, mode: 'copy' }],
            ...who
          })
        })
    }),
    confirmHostStopped: unary({
      check: fields => ({
        requestId: fields.uuid('requestId'),
        content: {
          name: fields.idOrName('hostId', 64),
          confirmName: fields.name('confirmName', 64),
          reason: fields.name('reason', 1024)
        }
      }),
      method: async (request, context) =>
        orderedJob(workshop, 'ConfirmHostStopped', request, context, (tx, who) => {
          const { confirmName, reason } = request.content
          const hostId = resolveId(tx, 'host', request.content.name)
          const { name, health } = host(tx, hostId)
          if (confirmName !== name) {
            throw new Fault('INVALID_REQUEST', `confirm_name must be the host's name, ${name}`, {
              violations: [{ field: 'confirm_name', description: "must be the host's name" }]
            })
          }
          if (health === 'up') {
            throw new Fault('WRONG_STATE', `host ${name} is heard: it is not off`, {
              facts: { host: hostId }
            })
          }
          return jobs.create(tx, 'host.confirm_stopped', {
            context: { hostId, reason, actor: who.actor },
            objects: { host: hostId },
            claims: [{ type: 'host', id: hostId, mode: 'copy' }],
            ...who
          })
        })
    })
  }
}
