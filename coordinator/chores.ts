import type { Clock } from '../common/clock.js'
import type { Logger } from '../common/log.js'
import { betweenLooks, type UseWatch } from '../common/own-use.js'
import { seconds } from '../common/units.js'
import type { Agents } from './agents.js'
import type { ClusterLoop } from './cluster-loop.js'
import type { CoordinatorConfig } from './config.js'
import { watchLuns } from './lun-watch.js'
import type { Leadership } from './leadership.js'
import type { ManagerLoop } from './managers/loop.js'
import type { Observer } from './observe.js'
import { applyLimits } from './qos/apply.js'
import { Renewals } from './renewal.js'
import { forgetOld } from './retention.js'
import { putSetting } from './store/settings.js'
import type { Store } from './store/store.js'
import type { CertificateAuthority } from './trust/ca.js'
import type { Denied } from './trust/denied.js'
import type { Enrolment } from './trust/enrolment.js'
import { takeNotes } from './trust/notes.js'
import type { OwnIdentity } from './trust/own-identity.js'
import type { Chore } from './upkeep.js'

export type ChoresOptions = {
  config: CoordinatorConfig
  store: Store
  leadership: Leadership
  agents: Agents
  observer: Observer
  enrolment: Enrolment
  denied: Denied
  ca: CertificateAuthority
  own: OwnIdentity
  clusterLoop: ClusterLoop
  managerLoop: ManagerLoop
  use: UseWatch
  clock: Clock
  log: Logger
  /** The doors use the new certificates. */
  reload(): void
}

/** What the coordinator does all the time, beside what it is asked for. */
export function chores(options: ChoresOptions): Chore[] {
  const { config, store, leadership, agents, observer, enrolment, denied, ca, own, clock, log } = options
  const renewals = new Renewals({ store, agents, enrolment, trust: ca.trust, clock, log })
  const notes = `${config.state_directory}/trust/notes`
  return [
    { name: 'tend hosts', every: seconds(0.5), work: () => observer.tend() },
    { name: 'renew certificates of hosts', every: seconds(2), work: signal => renewals.run(signal) },
    {
      name: 'renew own certificates',
      every: seconds(2),
      work: async () => {
        await ca.renewIssuing()
        if (!(await own.renewIfDue())) return
        options.reload()
        agents.useFreshCertificates()
      }
    },
    {
      name: 'take notes',
      every: seconds(1),
      work: async () => {
        const { isRevoked, adoptedEpoch } = await takeNotes(notes, store, clock)
        if (isRevoked) denied.refresh(store.read)
        if (adoptedEpoch !== null) leadership.reignAgain(adoptedEpoch)
      }
    },
    {
      name: 'look after clusters',
      every: seconds(config.cluster_seconds),
      work: () => options.clusterLoop.run()
    },
    {
      name: 'place managers of storage domains',
      every: seconds(1),
      work: signal => options.managerLoop.run(signal)
    },
    {
      name: 'apply limits',
      every: seconds(2),
      work: signal => applyLimits({ store, hosts: agents, clock, log }, signal)
    },
    {
      name: 'see LUNs that VMs want',
      every: seconds(10),
      work: signal => watchLuns({ store, hosts: agents }, signal)
    },
    { name: 'own use', every: betweenLooks, work: () => options.use.look() },
    { name: 'forget what is old', every: seconds(3600), work: () => forgetOld(store, config, clock) },
    {
      // Space that is back is noticed by itself.
      name: 'probe a full store',
      every: seconds(2),
      work: () => {
        if (store.isFull) store.transaction(tx => putSetting(tx, 'probe', String(clock.wall())))
      }
    }
  ]
}
