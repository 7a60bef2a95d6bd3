import { createHmac } from 'node:crypto'
import type { Fields } from '../../common/fields.js'
import { bidi, unary, type Context } from '../../common/rpc.js'
import type { Handlers } from '../../common/server.js'
import { bytes } from '../../common/units.js'
import type { VmServiceDefinition } from '../../proto/generated/types/drover/v1/VmService.js'
import { agentServices } from '../../proto/load.js'
import { relayConsole, type ConsoleMessage, type HostConsole } from '../console-relay.js'
import type { Hosts } from '../jobs/hosts.js'
import { untilVm } from '../jobs/until.js'
import type { Loads } from '../jobs/world.js'
import { decisionsOf } from '../store/decisions.js'
import { resolveId } from '../store/names.js'
import { sql } from '../store/query.js'
import { snapshotsOf } from '../store/snapshots.js'
import { vm as vmRow, vmsFrom } from '../store/vms.js'
import { enumOf, wireFailure, wireTime } from '../wire.js'
import { orderCreateVm, readCreateVm } from './create-vm.js'
import { orderChangeCd, readChangeCd } from './cd-drives.js'
import type { Lists, ListSpec } from './list.js'
import { decisionMessage, vmMessage, type VmStatsOf } from './messages.js'
import { actorOf } from './mutation.js'
import { orderedJob, type Workshop } from './ordered-job.js'
import { startVms } from './start-vms.js'
import { attachDisk, changeVm, detachDisk, readUpdateVm } from './update-vm.js'
import { ownVm, runningVm } from './vm-checks.js'
import { lunHandlers } from './vm-luns.js'
import { readDiskAttachment } from './vm-fields.js'
import {
  checkStart,
  orderCommand,
  orderDelete,
  orderMigration,
  orderStart,
  orderStop,
  type Command
} from './vm-orders.js'
import { Fault } from '../../common/fault.js'

const statuses = [
  ...['wait_for_launch', 'powering_up', 'up', 'paused', 'migrating_from', 'migrating_to', 'powering_down'],
  ...['reboot_in_progress', 'saving_state', 'restoring_state', 'not_responding', 'down', 'unknown'],
  ...['suspended', 'creating']
]

const spec: ListSpec = {
  filters: {
    name: { column: 'name', kind: 'text' },
    status: { column: 'status', kind: 'enum', values: statuses },
    host_id: { column: 'hostId', kind: 'id' },
    cluster_id: { column: 'clusterId', kind: 'id' },
    template_id: { column: 'templateId', kind: 'id' }
  },
  orders: { name: 'name', status: 'status', memory_bytes: 'memoryBytes', created: 'created' },
  standardOrder: 'name',
  id: 'id'
}

export type VmServiceOptions = {
  workshop: Workshop
  lists: Lists
  hosts: Hosts
  loads: Loads
  statsOf: VmStatsOf
  console: HostConsole
  /** Makes console passwords that only who asked can know. */
  ticketKey: Buffer
}

const asked = <T>(fields: Fields, content: T) => ({ requestId: fields.uuid('requestId'), content })

export function vmService(options: VmServiceOptions): Handlers<VmServiceDefinition> {
  const { workshop, lists, loads, statsOf } = options
  const { store, clock } = workshop.mutations
  const message = (id: string) => vmMessage(store.read, vmRow(store.read, id), statsOf)

  const command = (kind: Command, method: string) =>
    unary({
      check: fields => asked(fields, { vmId: fields.uuid('vmId') }),
      method: async (request: { requestId: string; content: { vmId: string } }, context) =>
        orderedJob(workshop, method, request, context, (tx, who) =>
          orderCommand(workshop, tx, kind, request.content.vmId, who)
        )
    })

  return {
    createVm: unary({
      check: fields => asked(fields, readCreateVm(fields)),
      method: async (request, context) =>
        orderedJob(workshop, 'CreateVm', request, context, (tx, who) =>
          orderCreateVm(workshop, tx, request.content, who)
        )
    }),
    getVm: unary({
      check: fields => fields.idOrName('vmId', 64),
      method: async name => message(resolveId(store.read, 'vm', name))
    }),
    listVms: unary({
      check: fields => lists.read(fields, spec),
      method: async request => {
        const { rows, nextPageToken } = lists.page(
          store.read,
          sql.selectFrom('vm').selectAll(),
          request,
          spec
        )
        return { vms: vmsFrom(rows).map(row => vmMessage(store.read, row, statsOf)), nextPageToken }
      }
    }),
    updateVm: unary({
      check: fields => asked(fields, readUpdateVm(fields)),
      method: async (request, context) => {
        const { jobId } = workshop.mutations.perform('UpdateVm', request, context, (tx, actor) => {
          return { jobId: changeVm(workshop, tx, request.content, actor) }
        })
        if (jobId !== null) {
          const { turnedBack } = await workshop.jobs.untilOver(jobId, context.signal)
          if (turnedBack) throw turnedBack
        }
        return message(request.content.id)
      }
    }),
    deleteVm: unary({
      check: fields => asked(fields, { vmId: fields.uuid('vmId'), keepsDisks: fields.bool('keepDisks') }),
      method: async (request, context) =>
        orderedJob(workshop, 'DeleteVm', request, context, (tx, who) =>
          orderDelete(workshop, tx, request.content.vmId, request.content.keepsDisks, who)
        )
    }),
    ...startVms(workshop, loads),
    startVm: unary({
      check: fields => ({
        ...asked(fields, {
          ...{ vmId: fields.uuid('vmId'), hostId: fields.optionalUuid('hostId') },
          isPaused: fields.bool('paused')
        }),
        isDryRun: fields.bool('dryRun')
      }),
      method: async (request, context) =>
        request.isDryRun
          ? dryRun(options, request, context)
          : orderedJob(workshop, 'StartVm', request, context, (tx, who) =>
              orderStart(workshop, tx, loads, request.content, who)
            )
    }),
    stopVm: unary({
      check: fields =>
        asked(fields, {
          ...{ vmId: fields.uuid('vmId'), isForced: fields.bool('force') },
          timeoutSeconds: fields.integerOr('timeoutSeconds', 120, 1, 3600)
        }),
      method: async (request, context) =>
        orderedJob(workshop, 'StopVm', request, context, (tx, who) =>
          orderStop(workshop, tx, request.content, who)
        )
    }),
    rebootVm: command('vm.reboot', 'RebootVm'),
    resetVm: command('vm.reset', 'ResetVm'),
    pauseVm: command('vm.pause', 'PauseVm'),
    resumeVm: command('vm.resume', 'ResumeVm'),
    migrateVm: unary({
      check: fields =>
        asked(fields, {
          ...{ vmId: fields.uuid('vmId'), hostId: fields.optionalUuid('hostId') },
          bandwidth: fields.optionalSize('bandwidth', bytes(2 ** 43), bytes(2 ** 16)) ?? 0
        }),
      method: async (request, context) =>
        orderedJob(workshop, 'MigrateVm', request, context, (tx, who) =>
          orderMigration(workshop, tx, loads, request.content, who)
        )
    }),
    attachDisk: unary({
      check: fields =>
        asked(fields, {
          vmId: fields.uuid('vmId'),
          attachment: fields.message('attachment', readDiskAttachment)
        }),
      method: async (request, context) => {
        const { vmId, attachment } = request.content
        workshop.mutations.perform('AttachDisk', request, context, tx => {
          attachDisk(tx, vmId, attachment)
          return {}
        })
        return message(vmId)
      }
    }),
    detachDisk: unary({
      check: fields => asked(fields, { vmId: fields.uuid('vmId'), diskId: fields.uuid('diskId') }),
      method: async (request, context) => {
        const { vmId, diskId } = request.content
        workshop.mutations.perform('DetachDisk', request, context, tx => {
          const snapshots = snapshotsOf(tx, vmId)
          const hasSnapshot = snapshots.some(({ disks }) => disks.some(disk => disk.diskId === diskId))
          detachDisk(tx, vmId, diskId, hasSnapshot)
          return {}
        })
        return message(vmId)
      }
    }),
    ...lunHandlers({ workshop, hosts: options.hosts, message }),
    changeCd: unary({
      check: fields => asked(fields, readChangeCd(fields)),
      method: async (request, context) =>
        orderedJob(workshop, 'ChangeCd', request, context, (tx, who) =>
          orderChangeCd(workshop, tx, request.content, who)
        )
    }),
    createConsoleTicket: unary({
      check: fields =>
        asked(fields, {
          vmId: fields.uuid('vmId'),
          validSeconds: fields.integerOr('validSeconds', 120, 1, 3600)
        }),
      method: async (request, { signal }) => consoleTicket(options, request, signal)
    }),
    openConsole: bidi({
      check: readConsoleMessage,
      method: async function* (messages, { signal }) {
        const hostOf = (vmId: string) => runningVm(store.read, vmId, 'have a console').hostId
        const untilLeft = (vmId: string, hostId: string, end: AbortSignal) =>
          untilVm(store, resolveId(store.read, 'vm', vmId), row => row?.hostId !== hostId, end)
        const where = { hostOf, untilLeft }
        for await (const data of relayConsole(messages, where, options.console, signal)) yield { data }
      }
    }),
    explainVm: unary({
      check: fields => fields.idOrName('vmId', 64),
      method: async name => {
        const decisions = decisionsOf(store.read, resolveId(store.read, 'vm', name))
        return { decisions: decisions.map(decisionMessage) }
      }
    })
  }

  /** A job that is over and was never begun: where the VM would start now, and why. */
  function dryRun(
    _: VmServiceOptions,
    { requestId, content }: { requestId: string; content: Parameters<typeof checkStart>[2] },
    context: Context
  ) {
    const { vm, placement, summary } = checkStart(store.read, loads, content)
    const now = clock.wall()
    const isPlaced = placement.kind === 'placed'
    return {
      jobId: clock.newId(),
      kind: 'vm.start',
      state: enumOf('JOB_STATE', isPlaced ? 'succeeded' : 'undone'),
      objects: { vm: vm.id },
      progress: { percent: 100, doneBytes: 0, totalBytes: 0, phase: '' },
      steps: [],
      failure: isPlaced ? null : wireFailure(new Fault('NO_HOST', summary), now),
      result: {
        ...{ summary, host_id: isPlaced ? placement.hostId : '' },
        verdicts: JSON.stringify(placement.verdicts)
      },
      created: wireTime(now),
      ended: wireTime(now),
      actor: actorOf(context.caller),
      requestId
    }
  }
}

/** A password for the graphical console: the same request gets the same one, and nobody else can compute it. */
async function consoleTicket(
  { workshop, hosts, ticketKey }: VmServiceOptions,
  {
    requestId,
    content: { vmId, validSeconds }
  }: { requestId: string; content: { vmId: string; validSeconds: number } },
  signal: AbortSignal
) {
  const { store, clock } = workshop.mutations
  ownVm(store.read, vmId)
  const { hostId, vncSocket } = runningVm(store.read, vmId, 'have a console')
  const password = createHmac('sha256', ticketKey)
    .update(`console ${requestId} ${vmId}`)
    .digest('base64url')
    .slice(0, 8)
  const request = { requestId, vmId, password, validSeconds }
  await hosts.call(hostId, agentServices.vm.SetConsoleTicket, request, signal)
  return { password, expires: wireTime(clock.wall() + validSeconds * 1000), hostId, vncSocket }
}

function readConsoleMessage(fields: Fields): ConsoleMessage {
  const nothing: ConsoleMessage = { data: Buffer.alloc(0) }
  return (
    fields.oneof<ConsoleMessage>('input', {
      data: it => ({ data: it.bytes('data', 65536) }),
      open: it =>
        it.message('open', inner => ({
          open: {
            vmId: inner.uuid('vmId'),
            kind:
              inner.choiceOr('kind', 'CONSOLE_KIND_UNSPECIFIED', 'CONSOLE_KIND_SERIAL', [
                'CONSOLE_KIND_SERIAL',
                'CONSOLE_KIND_GRAPHICS'
              ]) === 'CONSOLE_KIND_GRAPHICS'
                ? 'graphics'
                : 'serial',
            force: inner.bool('force')
          }
        }))
    }) ?? nothing
  )
}
