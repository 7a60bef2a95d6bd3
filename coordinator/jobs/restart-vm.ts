import { Fault } from '../../common/fault.js'
import { agentServices } from '../../proto/load.js'
import type { Tx } from '../store/query.js'
import { endTasks, performTask } from './hosts.js'
import type { JobTable, Step } from './job.js'
import { choose, confirm, nextLife, start, type StartContext } from './start-steps.js'
import type { JobWorld } from './world.js'

/** Why a VM may be started again although nobody saw it stop. */
export type RestartProof = 'power_off' | 'kdump' | 'operator' | 'returned' | 'lease_free' | 'down'

export type RestartVm = StartContext & {
  proof: RestartProof
  /** Where its lease lies; null for a VM without one. */
  leaseStorageDomainId: string | null
}

/**
 * A highly available VM starts again. Whatever the proof, a VM with a lease waits until the chosen host has
 * acquired it once: that is the last guard against two copies. Only then does its new life get a number.
 */
export function restartVm(world: JobWorld): JobTable<RestartVm, Tx> {
  return {
    kind: 'vm.restart',
    steps: [choose(world, 'restart'), awaitLease(world), nextLife(), start(world), confirm(world)]
  }
}

function awaitLease({ hosts }: JobWorld): Step<RestartVm, Tx> {
  return {
    name: 'awaitLease',
    limit: null,
    host: ({ hostId }) => hostId,
    run: async act => {
      const { vmId, hostId, summary, proof, leaseStorageDomainId } = act.context
      if (hostId === null) throw new Fault('NO_HOST', summary)
      if (leaseStorageDomainId === null) {
        if (proof !== 'lease_free') return
        throw new Fault('WRONG_STATE', 'a VM without a lease cannot be restarted by the proof of its lease')
      }
      const request = { storageDomainId: leaseStorageDomainId, leaseId: vmId }
      await performTask(hosts, act, hostId, agentServices.storage.AwaitLease, request)
    },
    undo: async act => {
      const { hostId } = act.context
      if (hostId !== null) await endTasks(hosts, act, hostId)
    }
  }
}
