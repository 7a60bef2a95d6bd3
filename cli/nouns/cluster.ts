import type { Command } from 'commander'
import { coordinatorServices } from '../../proto/load.js'
import { json } from '../print.js'
import { addReading, idOf, optionalIdOf } from '../resource.js'
import { clusters, policies } from '../resources.js'
import { scheduleOf } from '../schedules.js'
import { withSession, type Session } from '../session.js'
import { integer } from '../units.js'
import { changes } from '../update.js'
import { addPlans } from './cluster-plans.js'
import { addClusterUpgrade } from './upgrade.js'

const service = coordinatorServices.cluster

type Options = {
  name?: string
  description?: string
  cpuModel?: string
  silence?: number
  fencing?: boolean
  startGrace?: number
  policy?: string
  haReserve?: number
  schedule?: string[] | false
}

export function addCluster(program: Command): void {
  const noun = program.command('cluster').description('Hosts among which VMs may move.')
  withOptions(noun.command('create'))
    .argument('<NAME>')
    .description('Create a cluster.')
    .addHelpText('after', '\nExample:\n  drover cluster create main --silence 60 --fencing')
    .action(
      withSession(async (session, name: string, options: Options) => {
        const cluster = { ...(await wire(session, options)), name }
        const created = await session.call(service.CreateCluster, { requestId: session.requestId(), cluster })
        session.out.print(
          session.options.json ? json(created) : `created cluster ${created.name} (${created.clusterId})`
        )
      })
    )
  addReading(noun, clusters)
  withOptions(noun.command('update').option('--name <NAME>', 'new name'))
    .argument('<CLUSTER>', 'id or name')
    .description('Change a cluster.')
    .action(
      withSession(async (session, cluster: string, options: Options) => {
        const before = await clusters.get(session, cluster)
        const updateMask = changes(options, {
          name: 'name',
          description: 'description',
          cpuModel: 'cpu_model',
          silence: 'ha.silence_seconds',
          fencing: 'ha.fencing_enabled',
          startGrace: 'ha.start_grace_seconds',
          policy: 'policy_id',
          haReserve: 'ha_reserved_hosts',
          schedule: 'schedules'
        })
        const after = { ...(await wire(session, options)), clusterId: before.clusterId, etag: before.etag }
        const updated = await session.call(service.UpdateCluster, {
          requestId: session.requestId(),
          cluster: after,
          updateMask
        })
        session.out.print(session.options.json ? json(updated) : `changed cluster ${updated.name}`)
      })
    )
  addPlans(noun)
  addClusterUpgrade(noun)
  noun
    .command('delete')
    .argument('<CLUSTER>', 'id or name')
    .description('Delete a cluster without hosts and VMs.')
    .action(
      withSession(async (session, cluster: string) => {
        const clusterId = await idOf(session, clusters, cluster)
        await session.call(service.DeleteCluster, { requestId: session.requestId(), clusterId })
        session.out.print(session.options.json ? json({ clusterId }) : `deleted cluster ${cluster}`)
      })
    )
}

function withOptions(command: Command): Command {
  return command
    .option('--description <TEXT>', 'free text')
    .option('--cpu-model <MODEL>', 'CPU model that all VMs get')
    .option(
      '--silence <SECONDS>',
      'silence after which a host is non-responsive (default 60)',
      integer(3, 600)
    )
    .option(
      '--start-grace <SECONDS>',
      'time after the start of the coordinator without fencing (default 300)',
      integer(0, 3600)
    )
    .option('--policy <POLICY>', 'by which VMs are placed and moved, id or name; see `drover policy list`')
    .option('--ha-reserve <N>', 'hosts that may be lost with all HA VMs restarted (0 is off)', integer(0, 8))
    .option(
      '--schedule <SCHEDULE>',
      'other numbers of the policy for a part of the week in UTC, repeatable, the first that fits counts: "mon-fri 20:00-06:00 reserve=1 power=on"',
      (schedule: string, before: string[] = []) => [...before, schedule]
    )
    .option('--no-schedule', 'the policy holds all week')
    .option('--fencing', 'use power fencing')
    .option('--no-fencing', 'do not use power fencing')
}

async function wire(
  session: Session,
  {
    name = '',
    description = '',
    cpuModel = '',
    silence = 0,
    fencing = false,
    startGrace = 0,
    policy,
    haReserve = 0,
    schedule
  }: Options
) {
  return {
    name,
    description,
    cpuModel,
    policyId: await optionalIdOf(session, policies, policy),
    haReservedHosts: haReserve,
    schedules: (schedule || []).map(scheduleOf),
    ha: { silenceSeconds: silence, fencingEnabled: fencing, startGraceSeconds: startGrace }
  }
}
