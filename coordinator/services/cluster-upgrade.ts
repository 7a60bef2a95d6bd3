import { Fault } from '../../common/fault.js'
import { nameRule } from '../../common/rules.js'
import { unary } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import { agentServices } from '../../proto/load.js'
import type { ClusterServiceDefinition } from '../../proto/generated/types/drover/v1/ClusterService.js'
import type { Agents } from '../agents.js'
import { eachOf } from '../jobs/hosts.js'
import { standingOf } from '../jobs/upgrade-cluster.js'
import type { UpgradeSettings } from '../jobs/upgrade-host.js'
import { rebootOf, upgradeOrder } from '../jobs/upgrade-plan.js'
import { host, hostsOfCluster, vmsOn } from '../store/hosts.js'
import { resolveId } from '../store/names.js'
import type { Reader } from '../store/query.js'
import { orderedJob, type Workshop } from './ordered-job.js'
import { readUpgradeOptions } from './upgrade-fields.js'
import { hostOfCluster } from './vm-checks.js'

type Upgrades = Pick<Handlers<ClusterServiceDefinition>, 'upgradeCluster' | 'planUpgrade'>
type Asked = { hosts: string[] } & UpgradeSettings

const mostAsked = 16

/** The hosts of a cluster, upgraded one after the other. */
export function clusterUpgrades(workshop: Workshop, agents: Pick<Agents, 'runTask' | 'isReady'>): Upgrades {
  const { jobs, mutations } = workshop
  const { store, clock } = mutations
  return {
    upgradeCluster: unary({
      check: fields => ({
        requestId: fields.uuid('requestId'),
        content: {
          ...{ cluster: fields.name('clusterId', 64), hosts: fields.each('hostIds', 250, nameRule(64)) },
          ...{ atOnce: fields.integerOr('atOnce', 1, 1, 16), ...readUpgradeOptions(fields) }
        }
      }),
      method: async (request, context) =>
        orderedJob(workshop, 'UpgradeCluster', request, context, (tx, who) => {
          const { cluster, hosts: names, ...rest } = request.content
          const clusterId = resolveId(tx, 'cluster', cluster)
          const hostIds = hostsToUpgrade(tx, clusterId, names, id => agents.isReady(id))
          if (hostIds.length === 0) throw new Fault('NO_HOST', 'no host of the cluster is heard')
          return jobs.create(tx, 'cluster.upgrade', {
            context: { ...rest, clusterId, hostIds, actor: who.actor, upgraded: 0 },
            objects: { cluster: clusterId },
            claims: [{ type: 'cluster', id: clusterId, mode: 'change' }],
            ...who
          })
        })
    }),
    planUpgrade: unary({
      check: fields => ({
        ...{ cluster: fields.name('clusterId', 64), hosts: fields.each('hostIds', 250, nameRule(64)) },
        ...readUpgradeOptions(fields)
      }),
      method: async ({ cluster, ...asked }, { signal }) => {
        const clusterId = resolveId(store.read, 'cluster', cluster)
        return planOf(store.read, agents, clusterId, asked, () => clock.newId(), signal)
      }
    })
  }
}

/** Named ones in the order of their names; else all that are heard. */
function hostsToUpgrade(
  reader: Reader,
  clusterId: string,
  names: readonly string[],
  isReady: (hostId: string) => boolean
): string[] {
  const ids = names.map(name => resolveId(reader, 'host', name))
  for (const id of ids) hostOfCluster(reader, id, clusterId)
  const wanted = hostsOfCluster(reader, clusterId).filter(({ id }) => ids.length === 0 || ids.includes(id))
  return upgradeOrder(wanted.filter(({ id }) => isReady(id)).map(standingOf))
}

async function planOf(
  reader: Reader,
  agents: Pick<Agents, 'runTask' | 'isReady'>,
  clusterId: string,
  asked: Asked,
  newId: () => string,
  signal: AbortSignal
) {
  const order = hostsToUpgrade(reader, clusterId, asked.hosts, id => agents.isReady(id))
  const found = new Map<string, Awaited<ReturnType<typeof askHost>>>()
  await eachOf(order, mostAsked, async hostId => {
    found.set(hostId, await askHost(agents, hostId, newId(), asked, signal))
  })
  const hosts = order.map(hostId => {
    const { packages = [], reboot = '', problem = '' } = found.get(hostId) ?? {}
    const { name, mode } = host(reader, hostId)
    const isLeft = packages.length === 0 && reboot === ''
    const vms = isLeft || mode === 'maintenance' ? 0 : vmsOn(reader, hostId)
    return { hostId, hostName: name, packages, reboot, problem, vms }
  })
  const due = hosts.filter(({ packages, reboot }) => packages.length > 0 || reboot !== '')
  const wrong = hosts.filter(({ problem }) => problem !== '')
  const others = hostsOfCluster(reader, clusterId).length - hosts.length
  const summary = [
    `${due.length} of ${hosts.length} hosts would be upgraded, ${due.filter(({ reboot }) => reboot !== '').length} of them rebooted`,
    ...(wrong.length > 0 ? [`${wrong.length} cannot be`] : []),
    ...(others > 0 && asked.hosts.length === 0 ? [`${others} are not heard and left out`] : [])
  ].join('; ')
  return { hosts, summary }
}

async function askHost(
  agents: Pick<Agents, 'runTask'>,
  hostId: string,
  requestId: string,
  { packages, isRefreshed, reboot }: UpgradeSettings,
  signal: AbortSignal
): Promise<{ packages: string[]; reboot: string; problem: string }> {
  const request = { requestId, packages, refresh: isRefreshed, dryRun: true }
  try {
    const found = await agents.runTask(hostId, agentServices.host.UpgradePackages, request, { signal })
    const lines = (found['packages'] ?? '').split('\n').filter(line => line !== '')
    return { packages: lines, reboot: rebootOf(reboot, found['reboot'] ?? ''), problem: '' }
  } catch (error) {
    if (signal.aborted || !(error instanceof Fault)) throw error
    return { packages: [], reboot: '', problem: error.message }
  }
}
