import { Option, type Command } from 'commander'
import { coordinatorServices } from '../../proto/load.js'
import { json } from '../print.js'
import { addReading, idOf } from '../resource.js'
import { affinityGroups, clusters, hosts, vms } from '../resources.js'
import { withSession, type Session } from '../session.js'
import { each, integer } from '../units.js'
import { changes } from '../update.js'

const service = coordinatorServices.affinityGroup

type Options = {
  name?: string
  description?: string
  priority?: number
  vms?: keyof typeof rules
  hosts?: keyof typeof rules
  vmEnforcing?: boolean
  hostEnforcing?: boolean
  vm?: string[]
  host?: string[]
  vmLabel?: string[]
  hostLabel?: string[]
}

const rules = {
  none: 'AFFINITY_RULE_NONE',
  positive: 'AFFINITY_RULE_POSITIVE',
  negative: 'AFFINITY_RULE_NEGATIVE'
} as const

export function addAffinityGroup(program: Command): void {
  const noun = program
    .command('affinity-group')
    .description('VMs that belong together or apart, and the hosts that they belong on or off.')
  withOptions(noun.command('create'))
    .argument('<NAME>')
    .requiredOption('--cluster <CLUSTER>', 'its cluster, id or name')
    .description('Create an affinity group.')
    .addHelpText(
      'after',
      '\nExample:\n  drover affinity-group create db --cluster main --vms negative --vm-enforcing --vm db1 --vm db2'
    )
    .action(
      withSession(async (session, name: string, options: Options & { cluster: string }) => {
        const clusterId = await idOf(session, clusters, options.cluster)
        const affinityGroup = { ...(await wire(session, options)), name, clusterId }
        const made = await session.call(service.CreateAffinityGroup, {
          requestId: session.requestId(),
          affinityGroup
        })
        session.out.print(
          session.options.json ? json(made) : `created affinity group ${made.name} (${made.affinityGroupId})`
        )
      })
    )
  addReading(noun, affinityGroups)
  withOptions(noun.command('update').option('--name <NAME>', 'new name'))
    .argument('<AFFINITY-GROUP>', 'id or name')
    .description('Change an affinity group; lists that are given replace what was there.')
    .action(
      withSession(async (session, idOrName: string, options: Options) => {
        const before = await affinityGroups.get(session, idOrName)
        const updateMask = changes(options, {
          ...{
            name: 'name',
            description: 'description',
            priority: 'priority',
            vms: 'vm_rule',
            hosts: 'host_rule'
          },
          ...{ vmEnforcing: 'vm_enforcing', hostEnforcing: 'host_enforcing', vm: 'vm_ids', host: 'host_ids' },
          ...{ vmLabel: 'vm_labels', hostLabel: 'host_labels' }
        })
        const wanted = await wire(session, options)
        const affinityGroup = { ...wanted, affinityGroupId: before.affinityGroupId, etag: before.etag }
        const after = await session.call(service.UpdateAffinityGroup, {
          requestId: session.requestId(),
          affinityGroup,
          updateMask
        })
        session.out.print(session.options.json ? json(after) : `changed affinity group ${after.name}`)
      })
    )
  noun
    .command('delete')
    .argument('<AFFINITY-GROUP>', 'id or name')
    .description('Delete an affinity group; nothing moves because of that.')
    .action(
      withSession(async (session, affinityGroupId: string) => {
        await session.call(service.DeleteAffinityGroup, { requestId: session.requestId(), affinityGroupId })
        session.out.print(
          session.options.json ? json({ affinityGroupId }) : `deleted affinity group ${affinityGroupId}`
        )
      })
    )
  noun
    .command('label')
    .argument('[LABELS...]', 'all labels from now on; none shows those that are there')
    .option('--vm <VM>', 'of this VM, id or name')
    .option('--host <HOST>', 'of this host, id or name')
    .option('--clear', 'take all labels away')
    .description('Show or set the labels of a VM or host.')
    .action(
      withSession(
        async (
          session,
          labels: string[],
          { vm, host, clear = false }: { vm?: string; host?: string; clear?: boolean }
        ) => {
          const object = { vmId: vm ?? '', hostId: host ?? '' }
          const shown =
            labels.length === 0 && !clear
              ? await session.call(service.GetLabels, object)
              : await session.call(service.SetLabels, { requestId: session.requestId(), ...object, labels })
          session.out.print(session.options.json ? json(shown) : shown.labels.join(' ') || 'no labels')
        }
      )
    )
}

function withOptions(command: Command): Command {
  const ruleOption = (flags: string, text: string) => new Option(flags, text).choices(Object.keys(rules))
  return command
    .option('--description <TEXT>', 'free text')
    .option('--priority <N>', 'a wish of a higher priority weighs more than all lower ones', integer(0, 1000))
    .addOption(ruleOption('--vms <RULE>', 'its VMs together (positive) or apart (negative)'))
    .addOption(ruleOption('--hosts <RULE>', 'its VMs on its hosts (positive) or off them (negative)'))
    .option('--vm-enforcing', 'never break the rule between VMs')
    .option('--no-vm-enforcing', 'the rule between VMs is a wish')
    .option('--host-enforcing', 'never break the rule between VMs and hosts')
    .option('--no-host-enforcing', 'the rule between VMs and hosts is a wish')
    .option('--vm <VM>', 'member, repeatable, id or name', each)
    .option('--host <HOST>', 'host, repeatable, id or name', each)
    .option('--vm-label <LABEL>', 'VMs with this label too, repeatable', each)
    .option('--host-label <LABEL>', 'hosts with this label too, repeatable', each)
}

async function wire(session: Session, options: Options) {
  return {
    ...{ name: options.name ?? '', description: options.description ?? '', priority: options.priority ?? 0 },
    ...{ vmRule: rules[options.vms ?? 'none'], hostRule: rules[options.hosts ?? 'none'] },
    ...{ vmEnforcing: options.vmEnforcing ?? false, hostEnforcing: options.hostEnforcing ?? false },
    vmIds: await Promise.all((options.vm ?? []).map(vm => idOf(session, vms, vm))),
    hostIds: await Promise.all((options.host ?? []).map(host => idOf(session, hosts, host))),
    ...{ vmLabels: options.vmLabel ?? [], hostLabels: options.hostLabel ?? [] }
  }
}
