import { Fault } from '../../common/fault.js'
import { agentServices } from '../../proto/load.js'
import type { Tx } from '../store/query.js'
import { endTasks, performTask } from './hosts.js'
import type { JobTable, Step } from './job.js'
import type { Vm } from '../store/vms.js'
import { choose, confirm, nextLife, start, type StartContext } from './start-steps.js'
import { untilVm } from './until.js'
import type { JobWorld } from './world.js'

/** Why a VM may be started again although nobody saw it stop. */
export type RestartProof =
  'power_off' | 'kdump' | 'operator' | 'returned' | 'lease_free' | 'storage_fence' | 'down'

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
    atOnce: 64,
    steps: [choose(world, 'restart'), awaitLease(world), nextLife(world), start(world), confirm(world)]
  }
}

/** Ends early when the VM's host is heard again, and the VM never stopped. */
function awaitLease({ hosts, store }: JobWorld): Step<RestartVm, Tx> {
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
      const over = new AbortController()
      const either = AbortSignal.any([act.signal, over.signal])
      const back = untilVm(store, vmId, row => row === null || isRunningAgain(row), either).then(
        () => over.abort(new Fault('WRONG_STATE', 'the VM runs again on its host: it never stopped')),
        () => {}
      )
      try {
        const asking = { ...act, signal: either }
        await performTask(hosts, asking, hostId, agentServices.storage.AwaitLease, request)
      } catch (error) {
        throw over.signal.aborted ? over.signal.reason : error
      } finally {
        over.abort()
        await back
      }
    },
    undo: async act => {
      const { hostId } = act.context
      if (hostId !== null) await endTasks(hosts, act, hostId)
    }
  }
}

const isRunningAgain = ({ status }: Vm) => status !== 'unknown' && status !== 'down'
