import type { Agents } from './agents.js'
import { consoleOn, uploadTo } from './host-streams.js'
import type { AllJobs } from './jobs/kinds.js'
import type { Loads } from './jobs/world.js'
import { affinityGroupService } from './services/affinity-group.js'
import { clusterService } from './services/cluster.js'
import { diskService } from './services/disk.js'
import { hostJobs } from './services/host-jobs.js'
import { placementPolicyService } from './services/placement-policy.js'
import { qosProfileService } from './services/qos-profile.js'
import { quotaService } from './services/quota.js'
import { jobService } from './services/job.js'
import type { Lists } from './services/list.js'
import type { VmStatsOf } from './services/messages.js'
import type { Mutations } from './services/mutation.js'
import { snapshotService } from './services/snapshot.js'
import { storageDomainService } from './services/storage-domain.js'
import { templateService } from './services/template.js'
import { thinOn } from './services/thin-disks.js'
import { vmService } from './services/vm.js'

export type JobServicesOptions = {
  mutations: Mutations
  lists: Lists
  jobs: AllJobs
  agents: Agents
  loads: Loads
  statsOf: VmStatsOf
  /** Makes console passwords; at least 32 bytes that nobody else knows. */
  ticketKey: Buffer
}

/** The services whose work is done by jobs. `host` goes into the service of hosts. */
export function jobServices({ mutations, lists, jobs, agents, ...rest }: JobServicesOptions) {
  const workshop = { mutations, jobs }
  return {
    vm: vmService({ ...rest, workshop, lists, hosts: agents, console: consoleOn(agents) }),
    disk: diskService(workshop, lists, uploadTo(agents), thinOn(agents, mutations.store.read)),
    template: templateService(workshop, lists),
    snapshot: snapshotService(workshop, lists),
    storageDomain: storageDomainService(workshop, lists, agents),
    job: jobService(lists, mutations, jobs),
    cluster: clusterService(lists, workshop, rest.loads, agents),
    placementPolicy: placementPolicyService(lists, mutations),
    affinityGroup: affinityGroupService(lists, mutations),
    quota: quotaService(lists, mutations),
    qosProfile: qosProfileService(lists, mutations),
    host: hostJobs(workshop)
  }
}
