import { upgradeContext } from '../../../../coordinator/jobs/upgrade-host.js'
import { updateHost } from '../../../../coordinator/store/hosts.js'
import { deleteHostView } from '../../../../coordinator/store/storage-domains.js'
import { furnish, ids } from '../fixture.js'

import { type Scenario, usualUpgrade } from './furniture.js'
export const hostScenarios: Scenario[] = [
  {
    name: 'a host goes into maintenance and its VM moves away',
    vm: 'running',
    isAnywhere: true,
    order: () => ({
      kind: 'host.deactivate',
      context: { hostId: ids.hostA, storageDomainIds: [] },
      reserve: tx => updateHost(tx, ids.hostA, { mode: 'preparing' })
    })
  },
  {
    name: 'a host is upgraded: its VM moves away, and it is in service again',
    vm: 'running',
    isAnywhere: true,
    halfway: ['touch', 'install', 'reboot', 'comeBack', 'check', 'enter'],
    furnish: ({ world }) => void world.host(ids.hostA).upgrades.push('drover-agent 1.0 2.0'),
    order: () => ({
      kind: 'host.upgrade',
      context: upgradeContext({ ...usualUpgrade, hostId: ids.hostA }, true)
    })
  },
  {
    name: 'the hosts of a cluster are upgraded one after the other',
    vm: 'running',
    isAnywhere: true,
    halfway: ['hosts'],
    furnish: ({ world }) => {
      for (const id of [ids.hostA, ids.hostB]) world.host(id).upgrades.push('drover-agent 1.0 2.0')
    },
    order: () => ({
      kind: 'cluster.upgrade',
      context: {
        ...{ ...usualUpgrade, clusterId: ids.cluster, hostIds: [ids.hostA, ids.hostB] },
        ...{ atOnce: 1, actor: 'local', upgraded: 0 }
      }
    })
  },
  {
    name: 'a host comes back from maintenance',
    vm: 'none',
    furnish: house => {
      house.store.transaction(tx => {
        updateHost(tx, ids.hostA, { mode: 'maintenance' })
        deleteHostView(tx, ids.domain, ids.hostA)
      })
      house.world.hosts.get(ids.hostA)?.active.delete(ids.domain)
      house.world.hosts.get(ids.hostA)?.connected.delete(ids.domain)
    },
    order: () => ({ kind: 'host.activate', context: { hostId: ids.hostA } })
  },
  {
    name: 'a host is switched off by order of a person',
    vm: 'none',
    leavesNothing: true,
    order: () => ({ kind: 'host.fence', context: { hostId: ids.hostB, action: 'off', states: [] } })
  },
  {
    name: 'a person confirms that a silent host is off',
    vm: 'none',
    furnish: ({ store }) => store.transaction(tx => updateHost(tx, ids.hostB, { health: 'non_responsive' })),
    order: () => ({
      kind: 'host.confirm_stopped',
      context: { hostId: ids.hostB, reason: 'I pulled the plug', actor: 'local' }
    })
  },
  {
    name: 'a host that joins gets the storage that all have',
    vm: 'none',
    furnish: house => {
      house.store.transaction(tx => deleteHostView(tx, ids.domain, ids.hostB))
      house.world.hosts.get(ids.hostB)?.active.delete(ids.domain)
    },
    lasting: ['join'],
    order: () => ({
      kind: 'host.join_storage',
      context: { hostId: ids.hostB, storageDomainIds: [ids.domain] }
    })
  }
]
