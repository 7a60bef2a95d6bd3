import type { Command } from 'commander'
import { Fault } from '../../common/fault.js'
import { coordinatorServices } from '../../proto/load.js'
import { json, table } from '../print.js'
import { idOf } from '../resource.js'
import { clusters, storageDomains } from '../resources.js'
import { withSession } from '../session.js'
import { formatSize } from '../units.js'
import { finish } from '../wait.js'

const { storageDomain: service, vm: vmService } = coordinatorServices

/** What oVirt left on an adopted storage domain: a verb of the noun storage-domain. */
export function addUnregistered(noun: Command): void {
  noun
    .command('unregistered')
    .argument('<STORAGE-DOMAIN>', 'id or name')
    .description('VMs and templates that oVirt described on it and that are not known here.')
    .action(
      withSession(async (session, name: string) => {
        const storageDomainId = await idOf(session, storageDomains, name)
        const { vms } = await session.call(service.ListUnregisteredVms, { storageDomainId })
        if (session.options.json) return session.out.print(json(vms))
        const rows = vms.map(vm => [
          ...[
            vm.vmId,
            vm.name,
            vm.template ? 'template' : 'vm',
            String(vm.vcpus),
            formatSize(vm.memoryBytes)
          ],
          ...[String(vm.disks.length), vm.problem]
        ])
        session.out.print(table(['ID', 'NAME', 'KIND', 'CPUS', 'MEMORY', 'DISKS', 'PROBLEM'], rows))
      })
    )
}

/** The way from there to a VM of ours: a verb of the noun vm. */
export function addRegister(noun: Command): void {
  type Register = { cluster: string; name?: string; bridge?: string }
  noun
    .command('register')
    .argument('<STORAGE-DOMAIN>', 'id or name')
    .argument('<VM>', 'id or name, as `drover storage-domain unregistered` shows it')
    .requiredOption('--cluster <CLUSTER>', 'id or name')
    .option('--name <NAME>', 'its name here (default: the one it had)')
    .option('--bridge <BRIDGE>', 'where its network interfaces are plugged in (default: nowhere)')
    .description(
      'Make a VM of one that oVirt described, with its id, its disks in place and its MAC addresses.'
    )
    .action(
      withSession(async (session, domain: string, wanted: string, options: Register) => {
        const storageDomainId = await idOf(session, storageDomains, domain)
        const { vms } = await session.call(service.ListUnregisteredVms, { storageDomainId })
        const matching = vms.filter(({ vmId, name }) => vmId === wanted || name === wanted)
        const [found] = matching
        if (!found) throw new Fault('NOT_FOUND', `there is no unregistered VM ${wanted} on ${domain}`)
        if (matching.length > 1)
          throw new Fault('INVALID_REQUEST', `several are called ${wanted}: give its id`)
        if (found.problem !== '') throw new Fault('WRONG_STATE', `VM ${wanted}: ${found.problem}`)
        const name = options.name ?? found.name
        const { vmId, description, vcpus, memoryBytes, firmware, disks, macs } = found
        const job = await session.call(vmService.CreateVm, {
          requestId: session.requestId(),
          vm: {
            ...{ vmId, name, description, vcpus, memoryBytes, firmware },
            clusterId: await idOf(session, clusters, options.cluster),
            disks: disks.map(({ diskId, bus }) => ({ diskId, bus })),
            nics: macs.map(mac => ({ mac, bridge: options.bridge ?? '' }))
          }
        })
        await finish(session, job, () => `registered VM ${name} (${vmId})`)
      })
    )
}
