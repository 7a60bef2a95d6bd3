import type { Fields } from '../../common/fields.js'
import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import type { HostServiceDefinition } from '../../proto/generated/types/drover/v1/HostService.js'
import { orderActivation, orderDeactivation, orderUpgrade } from './host-orders.js'
import { orderedJob, type Workshop } from './ordered-job.js'
import { readUpgradeOptions } from './upgrade-fields.js'

type HostJobs = Pick<Handlers<HostServiceDefinition>, 'deactivateHost' | 'activateHost' | 'upgradeHost'>

const readHostId = (fields: Fields) => ({
  requestId: fields.uuid('requestId'),
  content: { hostId: fields.uuid('hostId') }
})

/** Hosts into maintenance, out of it, and to new packages. */
export function hostJobs(workshop: Workshop): HostJobs {
  const { jobs } = workshop
  return {
    deactivateHost: unary({
      check: readHostId,
      method: async (request, context) =>
        orderedJob(workshop, 'DeactivateHost', request, context, (tx, who) =>
          orderDeactivation(jobs, tx, request.content.hostId, who)
        )
    }),
    activateHost: unary({
      check: readHostId,
      method: async (request, context) =>
        orderedJob(workshop, 'ActivateHost', request, context, (tx, who) =>
          orderActivation(jobs, tx, request.content.hostId, who)
        )
    }),
    upgradeHost: unary({
      check: fields => ({
        requestId: fields.uuid('requestId'),
        content: { hostId: fields.uuid('hostId'), ...readUpgradeOptions(fields) }
      }),
      method: async (request, context) =>
        orderedJob(workshop, 'UpgradeHost', request, context, (tx, who) =>
          orderUpgrade(jobs, tx, request.content, who)
        )
    })
  }
}
