import { createInterface } from 'node:readline/promises'
import type { Command } from 'commander'
import { Fault } from '../../common/fault.js'
import { coordinatorServices } from '../../proto/load.js'
import type { CreateHostResponse__Output as Enrolment } from '../../proto/generated/types/drover/v1/CreateHostResponse.js'
import { powerOf, withPower, type PowerOptions } from '../power-devices.js'
import { json } from '../print.js'
import { addReading, idOf } from '../resource.js'
import { clusters, hosts } from '../resources.js'
import { withSession, type Session } from '../session.js'
import { changes } from '../update.js'
import { finish } from '../wait.js'
import { addSan } from './san.js'
import { addHostUpgrade } from './upgrade.js'

const service = coordinatorServices.host

export function addHost(program: Command): void {
  const noun = program.command('host').description('Machines with an agent.')
  addCreating(noun)
  addReading(noun, hosts)
  addChanging(noun)
  addCommands(noun)
  addHostUpgrade(noun)
  addSan(noun)
}

function addCreating(noun: Command): void {
  withPower(noun.command('create'))
    .argument('<NAME>')
    .requiredOption('--cluster <CLUSTER>', 'its cluster, id or name')
    .description('Create a host record, and print how its agent enrols.')
    .addHelpText('after', '\nExample:\n  drover host create alpha --cluster main')
    .action(
      withSession(async (session, name: string, options: PowerOptions & { cluster: string }) => {
        const clusterId = await idOf(session, clusters, options.cluster)
        const host = { name, clusterId, powerManagement: powerOf(options) }
        printEnrolment(
          session,
          await session.call(service.CreateHost, { requestId: session.requestId(), host })
        )
      })
    )
  noun
    .command('token')
    .aliases(['re-enrol'])
    .argument('<HOST>', 'id or name')
    .description(
      'A new enrolment token: after an expired certificate or a new installation. The host keeps its id.'
    )
    .action(
      withSession(async (session, host: string) => {
        const request = { requestId: session.requestId(), hostId: await idOf(session, hosts, host) }
        printEnrolment(session, await session.call(service.CreateEnrolmentToken, request))
      })
    )
  noun
    .command('reinstall')
    .argument('<HOST>', 'id or name')
    .description(
      'For a host that is installed anew: its old certificates are refused, and it enrols with its id.'
    )
    .action(
      withSession(async (session, host: string) => {
        const request = { requestId: session.requestId(), hostId: await idOf(session, hosts, host) }
        printEnrolment(session, await session.call(service.ReinstallHost, request))
      })
    )
}

function printEnrolment({ out, options }: Session, answer: Enrolment): void {
  if (options.json) return out.print(json(answer))
  out.print(`host ${answer.host?.name ?? ''} (${answer.host?.hostId ?? ''}) may enrol once within one hour. On that host, as root:

  (umask 077; echo ${answer.token} > /run/drover-token)
  drover-agent enrol --token-file /run/drover-token --coordinator ${answer.coordinatorAddress} \\
    --ca-fingerprint ${answer.caFingerprint}`)
}

function addChanging(noun: Command): void {
  withPower(
    noun
      .command('update')
      .option('--name <NAME>', 'new name')
      .option('--cluster <CLUSTER>', 'new cluster')
      .option('--keep-power', 'power saving leaves it alone')
      .option('--no-keep-power', 'power saving may empty it and switch it off')
  )
    .argument('<HOST>', 'id or name')
    .description('Change a host.')
    .action(
      withSession(
        async (
          session,
          idOrName: string,
          options: PowerOptions & { name?: string; cluster?: string; keepPower?: boolean }
        ) => {
          const before = await hosts.get(session, idOrName)
          const clusterId = options.cluster
            ? await idOf(session, clusters, options.cluster)
            : before.clusterId
          const powerManagement = powerOf(options)
          const updateMask = changes(
            { ...options, power: powerManagement ?? undefined },
            { name: 'name', cluster: 'cluster_id', keepPower: 'keeps_power', power: 'power_management' }
          )
          const host = {
            hostId: before.hostId,
            name: options.name ?? before.name,
            clusterId,
            powerManagement,
            keepsPower: options.keepPower ?? false,
            etag: before.etag
          }
          const updated = await session.call(service.UpdateHost, {
            requestId: session.requestId(),
            host,
            updateMask
          })
          session.out.print(session.options.json ? json(updated) : `changed host ${updated.name}`)
        }
      )
    )
  for (const [verb, method, done, description] of [
    ['delete', service.DeleteHost, 'deleted', 'Delete a host that runs nothing; its certificate is revoked.'],
    ['revoke', service.RevokeHost, 'revoked', 'Refuse the certificate of a host everywhere within 5 seconds.']
  ] as const) {
    noun
      .command(verb)
      .argument('<HOST>', 'id or name')
      .description(description)
      .action(
        withSession(async (session, host: string) => {
          const hostId = await idOf(session, hosts, host)
          await session.call(method, { requestId: session.requestId(), hostId })
          session.out.print(session.options.json ? json({ hostId }) : `${done} host ${host}`)
        })
      )
  }
}

function addCommands(noun: Command): void {
  for (const [verb, method, done, description] of [
    [
      'maintenance',
      service.DeactivateHost,
      'is in maintenance',
      'Move all VMs away and put the host into maintenance.'
    ],
    ['activate', service.ActivateHost, 'is active', 'Take a host out of maintenance.']
  ] as const) {
    noun
      .command(verb)
      .argument('<HOST>', 'id or name')
      .description(description)
      .action(
        withSession(async (session, host: string) => {
          const request = { requestId: session.requestId(), hostId: await idOf(session, hosts, host) }
          await finish(session, await session.call(method, request), () => `host ${host} ${done}`)
        })
      )
  }
  noun
    .command('fence')
    .argument('<HOST>', 'id or name')
    .argument('<ACTION>', 'off, on or status')
    .description("Switch a host's power through a fence agent on another host.")
    .action(
      withSession(async (session, host: string, action: string) => {
        const known = fenceActions.find(name => name.endsWith(`_${action.toUpperCase()}`))
        if (!known) throw new Fault('INVALID_REQUEST', 'the action must be off, on or status')
        const hostId = await idOf(session, hosts, host)
        const job = await session.call(service.FenceHost, {
          requestId: session.requestId(),
          hostId,
          action: known
        })
        await finish(
          session,
          job,
          ({ result }) => `host ${host}: ${result['power_state'] ?? result['powerState'] ?? action}`
        )
      })
    )
  noun
    .command('confirm-stopped')
    .argument('<HOST>', 'id or name')
    .option('--name-again <NAME>', 'the name of the host once more (a terminal asks for it)')
    .requiredOption('--reason <TEXT>', 'how you know that it is off; recorded')
    .description(
      'Confirm that a silent host is off, so that its VMs restart elsewhere. If it still runs, disks are damaged.'
    )
    .action(
      withSession(async (session, host: string, options: { nameAgain?: string; reason: string }) => {
        const hostId = await idOf(session, hosts, host)
        const confirmName = options.nameAgain ?? (await askedName(session, host))
        const { reason } = options
        const request = { requestId: session.requestId(), hostId, confirmName, reason }
        await finish(
          session,
          await session.call(service.ConfirmHostStopped, request),
          () => `host ${host} is down`
        )
      })
    )
}

/** What is dangerous is typed once more by a person, or said by an option. */
async function askedName({ out, signal }: Session, host: string): Promise<string> {
  if (!out.interactive)
    throw new Fault('INVALID_REQUEST', 'say the name of the host once more: --name-again NAME')
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const question = `If ${host} still runs, disks are damaged. Type the name of the host to confirm that it is off: `
    return await terminal.question(question, { signal })
  } finally {
    terminal.close()
  }
}

const fenceActions = ['FENCE_ACTION_OFF', 'FENCE_ACTION_ON', 'FENCE_ACTION_STATUS'] as const
