import type { Command } from 'commander'
import { Fault } from '../../common/fault.js'
import { coordinatorServices } from '../../proto/load.js'
import { json } from '../print.js'
import { addReading, idOf } from '../resource.js'
import { disks, qosProfiles } from '../resources.js'
import { withSession } from '../session.js'
import { integer, parseSize } from '../units.js'

const service = coordinatorServices.qosProfile

type Options = {
  name?: string
  description?: string
  cpuPercent?: number
  cpuShares?: number
  totalBytes?: string
  readBytes?: string
  writeBytes?: string
  totalIops?: number
  readIops?: number
  writeIops?: number
  inbound?: number
  inboundPeak?: number
  outbound?: number
  outboundPeak?: number
}

/** `drover qos-profile`: limits by name. */
export function addQosProfile(program: Command): void {
  const noun = program
    .command('qos-profile')
    .description('Limits of CPU, disk and network that VMs share by name.')
  withLimits(noun.command('create'))
    .argument('<NAME>')
    .description('Create a profile: for CPUs, or disks, or nics, by the limits that are given.')
    .addHelpText(
      'after',
      '\nExample:\n  drover qos-profile create slow-disk --total-iops 500 --total-bytes 100M'
    )
    .action(
      withSession(async (session, name: string, options: Options) => {
        const qosProfile = { name, description: options.description ?? '', ...limitsOf(options) }
        const made = await session.call(service.CreateQosProfile, {
          requestId: session.requestId(),
          qosProfile
        })
        session.out.print(
          session.options.json ? json(made) : `created QoS profile ${made.name} (${made.qosProfileId})`
        )
      })
    )
  addReading(noun, qosProfiles)
  withLimits(noun.command('update').option('--name <NAME>', 'new name'))
    .argument('<QOS-PROFILE>', 'id or name')
    .description(
      'Change a profile; all its limits are given anew. VMs that run are held to it within seconds.'
    )
    .action(
      withSession(async (session, idOrName: string, options: Options) => {
        const before = await qosProfiles.get(session, idOrName)
        const limits = limitsOf(options)
        const paths = [
          ...(options.name === undefined ? [] : ['name']),
          ...(options.description === undefined ? [] : ['description']),
          ...(Object.keys(limits).length === 0 ? [] : ['limits'])
        ]
        const { name = '', description = '' } = options
        const after = await session.call(service.UpdateQosProfile, {
          requestId: session.requestId(),
          qosProfile: { name, description, ...limits, qosProfileId: before.qosProfileId, etag: before.etag },
          updateMask: { paths }
        })
        session.out.print(session.options.json ? json(after) : `changed QoS profile ${after.name}`)
      })
    )
  noun
    .command('delete')
    .argument('<QOS-PROFILE>', 'id or name')
    .description('Delete a profile that no VM has.')
    .action(
      withSession(async (session, qosProfileId: string) => {
        await session.call(service.DeleteQosProfile, { requestId: session.requestId(), qosProfileId })
        session.out.print(
          session.options.json ? json({ qosProfileId }) : `deleted QoS profile ${qosProfileId}`
        )
      })
    )
  noun
    .command('assign')
    .argument('<VM>', 'id or name')
    .argument('[QOS-PROFILE]', 'id or name; none takes away what is there')
    .option('--disk <DISK>', 'to this disk of the VM, id or name')
    .option('--nic <MAC>', 'to the nic with this MAC address')
    .description('Give a VM, a disk or a nic its profile.')
    .action(
      withSession(
        async (
          session,
          vmId: string,
          profile: string | undefined,
          given: { disk?: string; nic?: string }
        ) => {
          const diskId = given.disk === undefined ? '' : await idOf(session, disks, given.disk)
          const what = { vmId, diskId, mac: given.nic ?? '', qosProfileId: profile ?? '' }
          await session.call(service.AssignQosProfile, { requestId: session.requestId(), ...what })
          session.out.print(
            session.options.json
              ? json(what)
              : `VM ${vmId} ${profile ? `has QoS profile ${profile}` : 'has no limit there'}`
          )
        }
      )
    )
}

function withLimits(command: Command): Command {
  const iops = integer(1, 10_000_000)
  const kib = integer(1, 2 ** 25)
  return command
    .option('--description <TEXT>', 'free text')
    .option('--cpu-percent <N>', 'CPU time of all vCPUs, in percent of one host CPU', integer(1, 51_200))
    .option('--cpu-shares <N>', 'weight where CPUs are short', integer(2, 10_000))
    .option('--total-bytes <SIZE>', 'bytes a second, read and written, for example 100M')
    .option('--read-bytes <SIZE>', 'bytes a second read')
    .option('--write-bytes <SIZE>', 'bytes a second written')
    .option('--total-iops <N>', 'operations a second', iops)
    .option('--read-iops <N>', 'reads a second', iops)
    .option('--write-iops <N>', 'writes a second', iops)
    .option('--inbound <KIB>', 'KiB a second that a VM receives', kib)
    .option('--inbound-peak <KIB>', 'the same for a burst', kib)
    .option('--outbound <KIB>', 'KiB a second that a VM sends', kib)
    .option('--outbound-peak <KIB>', 'the same for a burst', kib)
}

/** Those of one kind; empty where none are given. */
function limitsOf(options: Options): object {
  const { cpuPercent = 0, cpuShares = 0, totalIops = 0, readIops = 0, writeIops = 0 } = options
  const size = (text: string | undefined) => (text === undefined ? '0' : String(parseSize(text)))
  const way = (average: number | undefined, peak = 0) =>
    average === undefined ? null : { averageKibSec: average, peakKibSec: peak }
  const disk = {
    ...{ totalBytesSec: size(options.totalBytes), readBytesSec: size(options.readBytes) },
    ...{ writeBytesSec: size(options.writeBytes), totalIopsSec: totalIops },
    ...{ readIopsSec: readIops, writeIopsSec: writeIops }
  }
  const network = {
    inbound: way(options.inbound, options.inboundPeak),
    outbound: way(options.outbound, options.outboundPeak)
  }
  const kinds = [
    ...(cpuPercent + cpuShares > 0 ? [{ cpu: { percent: cpuPercent, shares: cpuShares } }] : []),
    ...(Object.values(disk).some(value => Number(value) > 0) ? [{ disk }] : []),
    ...(network.inbound || network.outbound ? [{ network }] : [])
  ]
  if (kinds.length > 1)
    throw new Fault('INVALID_REQUEST', 'a profile is for CPUs, or disks, or nics: give limits of one kind')
  return kinds[0] ?? {}
}
