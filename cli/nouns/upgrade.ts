import type { Command } from 'commander'
import { Fault } from '../../common/fault.js'
import { coordinatorServices } from '../../proto/load.js'
import type { PlanUpgradeResponse__Output as Plan } from '../../proto/generated/types/drover/v1/PlanUpgradeResponse.js'
import { json } from '../print.js'
import { idOf } from '../resource.js'
import { hosts } from '../resources.js'
import { withSession, type Session } from '../session.js'
import { each, integer } from '../units.js'
import { finish } from '../wait.js'

type Options = { package?: string[]; refresh: boolean; reboot: string; dryRun?: boolean }
type ClusterOptions = Options & { host?: string[]; atOnce?: number }

const wishes = {
  'if-needed': 'UPGRADE_REBOOT_IF_NEEDED',
  always: 'UPGRADE_REBOOT_ALWAYS',
  never: 'UPGRADE_REBOOT_NEVER'
} as const

const isWish = (text: string): text is keyof typeof wishes => Object.hasOwn(wishes, text)

function optionsOf({ package: packages = [], refresh, reboot }: Options) {
  if (!isWish(reboot))
    throw new Fault('INVALID_REQUEST', '--reboot must be one of ' + Object.keys(wishes).join(', '))
  return { packages, keepLists: !refresh, reboot: wishes[reboot] }
}

const withOptions = (command: Command): Command =>
  command
    .option('--package <NAME>', 'only this Debian package, repeatable (default: all)', each)
    .option('--reboot <WHEN>', 'if-needed, always or never', 'if-needed')
    .option('--no-refresh', 'take the lists of packages as they are on the hosts')
    .option('--dry-run', 'say only what would be done')

/** `drover cluster upgrade`: hosts one after the other. */
export function addClusterUpgrade(noun: Command): void {
  withOptions(noun.command('upgrade'))
    .argument('<CLUSTER>', 'id or name')
    .option('--host <HOST>', 'only this host, repeatable, id or name', each)
    .option('--at-once <N>', 'hosts out of service at the same time (default 1)', integer(1, 16))
    .description('Empty, upgrade, reboot if needed, check and activate the hosts of a cluster, one by one.')
    .addHelpText('after', '\nExample:\n  drover cluster upgrade main --dry-run')
    .action(
      withSession(async (session, clusterId: string, given: ClusterOptions) => {
        const { host: hostIds = [], atOnce = 0, dryRun } = given
        const { cluster } = coordinatorServices
        const options = optionsOf(given)
        if (dryRun)
          return printPlan(session, await session.call(cluster.PlanUpgrade, { clusterId, hostIds, options }))
        const requestId = session.requestId()
        const job = await session.call(cluster.UpgradeCluster, {
          requestId,
          clusterId,
          hostIds,
          atOnce,
          options
        })
        await finish(
          session,
          job,
          ({ result }) => `${result['hosts'] ?? '0'} hosts of cluster ${clusterId} are upgraded`
        )
      })
    )
}

/** `drover host upgrade`. */
export function addHostUpgrade(noun: Command): void {
  withOptions(noun.command('upgrade'))
    .argument('<HOST>', 'id or name')
    .description('Empty, upgrade, reboot if needed, check and activate a host.')
    .action(
      withSession(async (session, idOrName: string, given: Options) => {
        const options = optionsOf(given)
        const { hostId, clusterId, name } = await hosts.get(session, idOrName)
        if (given.dryRun) {
          const request = { clusterId, hostIds: [await idOf(session, hosts, idOrName)], options }
          return printPlan(session, await session.call(coordinatorServices.cluster.PlanUpgrade, request))
        }
        const request = { requestId: session.requestId(), hostId, options }
        const job = await session.call(coordinatorServices.host.UpgradeHost, request)
        await finish(session, job, ({ result }) => {
          const packages = (result['packages'] ?? '').split('\n').filter(line => line !== '')
          return `host ${name}: ${result['note'] ?? `${packages.length} packages upgraded${result['reboot'] ? `, rebooted (${result['reboot']})` : ''}`}`
        })
      })
    )
}

function printPlan({ out, options }: Session, plan: Plan): void {
  if (options.json) return out.print(json(plan))
  for (const { hostName, packages, reboot, problem, vms } of plan.hosts) {
    const what = problem
      ? `cannot be upgraded: ${problem}`
      : packages.length === 0 && reboot === ''
        ? 'nothing to upgrade'
        : `${packages.length} packages, ${vms} VMs move away${reboot ? `, reboot: ${reboot}` : ''}`
    out.print(`${hostName}: ${what}`)
    for (const line of packages) out.print(`  ${line}`)
  }
  out.print(plan.summary)
}
