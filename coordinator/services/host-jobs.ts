import { Fault } from '../../common/fault.js'
import type { Fields } from '../../common/fields.js'
import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import type { HostServiceDefinition } from '../../proto/generated/types/drover/v1/HostService.js'
import { host, noteHost, updateHost } from '../store/hosts.js'
import type { Claim } from '../store/claims.js'
import { orderedJob, type Workshop } from './ordered-job.js'

type HostJobs = Pick<Handlers<HostServiceDefinition>, 'deactivateHost' | 'activateHost'>

const readHostId = (fields: Fields) => ({
  requestId: fields.uuid('requestId'),
  content: { hostId: fields.uuid('hostId') }
})

/** Hosts into maintenance and out of it. */
export function hostJobs(workshop: Workshop): HostJobs {
  const { jobs } = workshop
  const claimOn = (id: string): Claim => ({ type: 'host', id, mode: 'change' })
  return {
    deactivateHost: unary({
      check: readHostId,
      method: async (request, context) =>
        orderedJob(workshop, 'DeactivateHost', request, context, (tx, who) => {
          const { hostId } = request.content
          const { name, mode, status } = host(tx, hostId)
          const objects = { host: hostId }
          if (mode === 'maintenance') {
            return jobs.createOver(tx, 'host.deactivate', { objects, ...who }, { note: 'is so already' })
          }
          if (status !== 'up' && status !== 'non_operational') {
            throw new Fault(
              'WRONG_STATE',
              `host ${name} is ${status}; it must be up for its VMs to move away`
            )
          }
          const order = {
            context: { hostId, storageDomainIds: [] },
            objects,
            claims: [claimOn(hostId)],
            ...who
          }
          const id = jobs.create(tx, 'host.deactivate', order)
          updateHost(tx, hostId, { mode: 'preparing' })
          return id
        })
    }),
    activateHost: unary({
      check: readHostId,
      method: async (request, context) =>
        orderedJob(workshop, 'ActivateHost', request, context, (tx, who) => {
          const { hostId } = request.content
          const { name, mode } = host(tx, hostId)
          const objects = { host: hostId }
          if (mode === 'active') {
            return jobs.createOver(tx, 'host.activate', { objects, ...who }, { note: 'is so already' })
          }
          if (mode === 'pending') {
            throw new Fault('NOT_ENROLLED', `host ${name} has no agent yet`, { facts: { host: hostId } })
          }
          // A person wants it: power saving has no say about it any more.
          noteHost(tx, hostId, { rested: 0 })
          return jobs.create(tx, 'host.activate', {
            ...{ context: { hostId }, objects, claims: [claimOn(hostId)], ...who }
          })
        })
    })
  }
}
