import type { Command } from 'commander'
import { Fault } from '../../common/fault.js'
import { coordinatorServices } from '../../proto/load.js'
import { json, type Out } from '../print.js'
import { idOf, optionalIdOf } from '../resource.js'
import { hosts, vms } from '../resources.js'
import { withSession } from '../session.js'
import { integer, parseSize } from '../units.js'
import { finish } from '../wait.js'

const service = coordinatorServices.vm

/** start, stop, reboot, reset, pause, resume, migrate. */
export function addRunning(noun: Command): void {
  type Start = { host?: string; dryRun?: boolean; paused?: boolean }
  noun
    .command('start')
    .argument('<VM>', 'id or name')
    .option('--host <HOST>', 'host to start it on (default: the scheduler chooses)')
    .option('--paused', 'start with the CPUs stopped')
    .option('--dry-run', 'only say where it would start, and why')
    .description('Start a VM.')
    .action(
      withSession(async (session, vm: string, { host, dryRun = false, paused = false }: Start) => {
        const vmId = await idOf(session, vms, vm)
        const hostId = await optionalIdOf(session, hosts, host)
        const job = await session.call(service.StartVm, {
          requestId: session.requestId(),
          vmId,
          hostId,
          dryRun,
          paused
        })
        if (dryRun) return printFacts(session.out, session.options.json === true ? job : job.result)
        await finish(
          session,
          job,
          ({ objects }) => `started VM ${vm}${objects['host'] ? ` on host ${objects['host']}` : ''}`
        )
      })
    )
  noun
    .command('start-all')
    .argument('<VMS...>', 'ids or names')
    .description('Start many VMs: hosts are looked for together, and VMs that others need go first.')
    .action(
      withSession(async (session, names: string[]) => {
        const request = { requestId: session.requestId(), vmIds: names }
        const answer = await session.call(service.StartVms, request)
        if (session.options.json) return session.out.print(json(answer))
        for (const { vmName, jobId, problem } of answer.starts)
          session.out.print(
            jobId === '' ? `VM ${vmName} was not started: ${problem}` : `VM ${vmName}: job ${jobId}`
          )
        const failed = answer.starts.filter(({ jobId }) => jobId === '').length
        if (failed > 0)
          throw new Fault('WRONG_STATE', `${failed} of ${answer.starts.length} VMs were not started`)
      })
    )
  noun
    .command('stop')
    .argument('<VM>', 'id or name')
    .option('--force', 'pull the plug instead of asking the guest')
    .option('--grace <SECONDS>', 'time for the guest to shut down (default 120)', integer(1, 3600))
    .description('Shut a VM down.')
    .action(
      withSession(
        async (session, vm: string, { force = false, grace = 0 }: { force?: boolean; grace?: number }) => {
          const vmId = await idOf(session, vms, vm)
          const request = { requestId: session.requestId(), vmId, force, timeoutSeconds: grace }
          await finish(session, await session.call(service.StopVm, request), () => `stopped VM ${vm}`)
        }
      )
    )
  for (const [verb, method, done, description] of [
    ['reboot', service.RebootVm, 'rebooted', 'Ask the guest to reboot.'],
    ['reset', service.ResetVm, 'reset', 'Press the reset button.'],
    ['pause', service.PauseVm, 'paused', 'Stop the CPUs.'],
    ['resume', service.ResumeVm, 'resumed', 'Let the CPUs run again.']
  ] as const) {
    noun
      .command(verb)
      .argument('<VM>', 'id or name')
      .description(description)
      .action(
        withSession(async (session, vm: string) => {
          const request = { requestId: session.requestId(), vmId: await idOf(session, vms, vm) }
          await finish(session, await session.call(method, request), () => `${done} VM ${vm}`)
        })
      )
  }
  noun
    .command('migrate')
    .argument('<VM>', 'id or name')
    .option('--host <HOST>', 'destination (default: the scheduler chooses)')
    .option('--bandwidth <SIZE>', 'bytes per second at most, for example 100M', parseSize)
    .description('Move a running VM to another host without stopping it.')
    .action(
      withSession(
        async (session, vm: string, { host, bandwidth = '0' }: { host?: string; bandwidth?: string }) => {
          const vmId = await idOf(session, vms, vm)
          const hostId = await optionalIdOf(session, hosts, host)
          const job = await session.call(service.MigrateVm, {
            requestId: session.requestId(),
            vmId,
            hostId,
            bandwidth
          })
          await finish(session, job, () => `migrated VM ${vm}`)
        }
      )
    )
}

function printFacts(out: Out, facts: object): void {
  out.print(json(facts))
}
