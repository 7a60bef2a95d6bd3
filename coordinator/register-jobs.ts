import type { Clock } from '../common/clock.js'
import type { Logger } from '../common/log.js'
import { orderActivation, orderDeactivation, orderUpgrade } from './services/host-orders.js'
import { orderMigration } from './services/vm-orders.js'
import type { Store } from './store/store.js'
import type { ChildJobs } from './jobs/child-jobs.js'
import type { Evacuate } from './jobs/host-maintenance.js'
import { HostStorage } from './jobs/host-storage.js'
import type { Power } from './jobs/host-power.js'
import type { Hosts } from './jobs/hosts.js'
import { kindsOf, type AllJobs } from './jobs/kinds.js'
import { Jobs } from './jobs/runner.js'
import type { StaleStore } from './stale-store.js'
import type { Loads } from './jobs/world.js'

export type RegisterOptions = {
  store: Store
  hosts: Hosts
  power: Power
  loads: Loads
  stale: StaleStore
  clock: Clock
  log: Logger
  epoch: number
}

/** Everything that carries jobs on: to be started when hosts can be talked to, and stopped before the store. */
export function registerJobs(options: RegisterOptions): { jobs: AllJobs; hostStorage: HostStorage } {
  const { store, hosts, power, loads, stale, clock, log, epoch } = options
  const evacuate: Evacuate = {
    order: (vmId, id, actor, preferredHostId) => {
      store.transaction(tx =>
        orderMigration(
          { jobs },
          tx,
          loads,
          { vmId, hostId: null, bandwidth: 0, preferredHostId, mayRelax: true },
          { id, actor, requestId: '' }
        )
      )
    },
    untilOver: (id, signal) => jobs.untilOver(id, signal)
  }
  const part = (id: string, actor = 'system') => ({ id, actor, isPart: true as const })
  const children: ChildJobs = {
    deactivate: (tx, hostId, id) => orderDeactivation(jobs, tx, hostId, part(id)),
    activate: (tx, hostId, id) => orderActivation(jobs, tx, hostId, part(id)),
    upgrade: (tx, wanted, id, actor) => orderUpgrade(jobs, tx, wanted, part(id, actor)),
    untilOver: (id, signal) => jobs.untilOver(id, signal)
  }
  const kinds = kindsOf({ store, hosts, power, loads, stale, clock }, evacuate, children)
  const jobs: AllJobs = new Jobs({ store, kinds, clock, log, epoch })
  return { jobs, hostStorage: new HostStorage({ store, jobs, clock, log }) }
}
