import { Fault } from '../../common/fault.js'
import type { Fields } from '../../common/fields.js'
import { wwidRule } from '../../common/rules.js'
import { unary } from '../../common/rpc.js'
import { seconds } from '../../common/units.js'
import { within } from '../../common/deadline.js'
import type { Lun__Output as WireLun } from '../../proto/generated/types/drover/agent/v1/Lun.js'
import { agentServices } from '../../proto/load.js'
import type { Hosts } from '../jobs/hosts.js'
import { watchLuns } from '../lun-watch.js'
import { throwIfClaimed } from '../store/claims.js'
import { hostsOfCluster } from '../store/hosts.js'
import { deleteVmLun, insertVmLun, usersOfLun, vmLuns, type VmLun } from '../store/luns.js'
import { bit, type Reader, type Tx } from '../store/query.js'
import { storageDomains } from '../store/storage-domains.js'
import { updateVm, vm as vmRow, vmDisks } from '../store/vms.js'
import { wireBus } from '../vm-spec.js'
import type { Workshop } from './ordered-job.js'
import { downVm, ownVm, slotsFor, takenSlots } from './vm-checks.js'
import { mostDisks } from './vm-fields.js'

// LUNs that VMs use as they are: no storage domain lies between.

function readLun(fields: Fields) {
  const isPassthrough = fields.bool('passthrough')
  const hasReservations = fields.bool('reservations')
  const bus = fields.choiceOr('bus', 'DISK_BUS_UNSPECIFIED', 'DISK_BUS_SCSI', [
    'DISK_BUS_SCSI',
    'DISK_BUS_VIRTIO'
  ])
  if (isPassthrough && bus !== 'DISK_BUS_SCSI') fields.refuse('bus', 'must be SCSI for passthrough', null)
  if (hasReservations && !isPassthrough) fields.refuse('reservations', 'needs passthrough', null)
  return {
    wwid: fields.is('wwid', wwidRule, ''),
    bus: bus === 'DISK_BUS_SCSI' ? ('scsi' as const) : ('virtio' as const),
    ...{ isReadOnly: fields.bool('readOnly'), isShareable: fields.bool('shareable') },
    ...{ isPassthrough, hasReservations }
  }
}
type WantedLun = ReturnType<typeof readLun>

type Parts<M> = { workshop: Workshop; hosts: Hosts; message(vmId: string): M }

export function lunHandlers<M extends object>({ workshop, hosts, message }: Parts<M>) {
  const { mutations } = workshop
  const { store, clock } = mutations
  const asked = <T>(fields: Fields, content: T) => ({ requestId: fields.uuid('requestId'), content })
  return {
    attachLun: unary({
      check: fields =>
        asked(fields, {
          vmId: fields.uuid('vmId'),
          lun: fields.message('lun', readLun),
          isWithData: fields.bool('withData')
        }),
      method: async (request, context): Promise<M> => {
        const { vmId, lun, isWithData } = request.content
        if (mutations.earlier('AttachLun', request, context) === null) {
          const { clusterId } = throwUnlessAttachable(store.read, vmId, lun)
          const found = await lookAtLun(store.read, hosts, clusterId, lun.wwid, context.signal)
          throwUnlessFree(found, isWithData)
          mutations.perform('AttachLun', request, context, tx => {
            attachLun(tx, vmId, lun, found, clock.newId())
            return {}
          })
          await watchLuns({ store, hosts }, context.signal, clusterId)
        }
        return message(vmId)
      }
    }),
    detachLun: unary({
      check: fields => asked(fields, { vmId: fields.uuid('vmId'), wwid: fields.is('wwid', wwidRule, '') }),
      method: async (request, context): Promise<M> => {
        const { vmId, wwid } = request.content
        mutations.perform('DetachLun', request, context, tx => {
          const vm = downVm(tx, vmId, 'detach a LUN')
          throwIfClaimed(tx, { type: 'vm', id: vmId, mode: 'change' })
          if (deleteVmLun(tx, vmId, wwid) === 0) {
            throw new Fault('NOT_FOUND', `no LUN ${wwid} is attached to VM ${vm.name}`, {
              facts: { lun: wwid }
            })
          }
          updateVm(tx, vmId, {})
          return {}
        })
        return message(vmId)
      }
    })
  }
}

/** What the store knows against it. */
function throwUnlessAttachable(reader: Reader, vmId: string, { wwid, isShareable, isReadOnly }: WantedLun) {
  const vm = downVm(reader, vmId, 'attach a LUN')
  throwIfClaimed(reader, { type: 'vm', id: vmId, mode: 'change' })
  const users = usersOfLun(reader, wwid)
  if (users.some(user => user.vmId === vmId)) {
    throw new Fault('ALREADY_EXISTS', `LUN ${wwid} is attached to VM ${vm.name} already`)
  }
  const other = users.find(user => !(user.isShareable && isShareable))
  if (other && !(other.isReadOnly && isReadOnly && isShareable)) {
    const { name } = vmRow(reader, other.vmId)
    const text = `LUN ${wwid} is attached to VM ${name}: detach it there, or attach it to both as shareable`
    throw new Fault('LUN_IN_USE', text, { facts: { lun: wwid, vm: other.vmId } })
  }
  const domain = storageDomains(reader).find(({ connection }) => JSON.stringify(connection).includes(wwid))
  if (domain) {
    throw new Fault('LUN_IN_USE', `LUN ${wwid} is part of storage domain ${domain.name}`, {
      facts: { lun: wwid, storageDomain: domain.id }
    })
  }
  if (vmDisks(reader, vmId).length + vmLuns(reader, vmId).length >= mostDisks) {
    throw new Fault('INVALID_REQUEST', `a VM has at most ${mostDisks} disks and LUNs`, {
      violations: [{ field: 'lun', description: `must not be more than the ${mostDisks}th` }]
    })
  }
  return vm
}

/** The LUN as a host of the cluster sees it that answers; one that sees it is enough. */
async function lookAtLun(
  reader: Reader,
  hosts: Hosts,
  clusterId: string,
  wwid: string,
  signal: AbortSignal
): Promise<WireLun> {
  const up = hostsOfCluster(reader, clusterId).filter(({ status }) => status === 'up')
  if (up.length === 0) throw new Fault('NO_HOST', "no host of the VM's cluster is up")
  const limit = within(seconds(60), signal)
  const looks = await Promise.allSettled(
    up.map(({ id }) => hosts.call(id, agentServices.san.ListLuns, { rescan: false }, limit))
  )
  signal.throwIfAborted()
  const seen = looks.flatMap(look => {
    return look.status === 'fulfilled' ? look.value.luns.filter(lun => lun.wwid === wwid) : []
  })
  // Whoever has it in use says so; the others only see that it is there.
  const worst =
    seen.find(({ state }) => state === 'LUN_STATE_REFUSED' || state === 'LUN_STATE_USED') ?? seen[0]
  if (worst) return worst
  const text = `no host of the cluster sees LUN ${wwid}: log them in (drover host iscsi-login), or rescan (drover host luns --rescan)`
  throw new Fault('NOT_FOUND', text, { facts: { lun: wwid } })
}

/** A guest's own data is found as such: it is taken only by who says so. */
function throwUnlessFree({ wwid, state, reason, contents }: WireLun, isWithData: boolean): void {
  if (state === 'LUN_STATE_FREE' || (state === 'LUN_STATE_FOREIGN' && isWithData)) return
  const isData = state === 'LUN_STATE_FOREIGN'
  const what = reason || contents.join(', ')
  const text = `LUN ${wwid}: ${what}${isData ? "; if that is a guest's, attach it with its data" : ''}`
  throw new Fault('LUN_IN_USE', text, { facts: { lun: wwid } })
}

function attachLun(tx: Tx, vmId: string, lun: WantedLun, found: WireLun, diskId: string): void {
  throwUnlessAttachable(tx, vmId, lun)
  ownVm(tx, vmId)
  const [slot = 0] = slotsFor(takenSlots(tx, vmId), [lun], 0).disks
  const ordinal = Math.max(-1, ...vmLuns(tx, vmId).map(each => each.ordinal)) + 1
  insertVmLun(tx, {
    ...{ vmId, wwid: lun.wwid, diskId, ordinal, bus: lun.bus, slot },
    ...{ isReadOnly: bit(lun.isReadOnly), isShareable: bit(lun.isShareable) },
    ...{ isPassthrough: bit(lun.isPassthrough), hasReservations: bit(lun.hasReservations) },
    ...{ sizeBytes: Number(found.sizeBytes), model: `${found.vendor} ${found.product}`.trim() }
  })
  updateVm(tx, vmId, {})
}

export const vmLunMessage = (lun: VmLun) => ({
  ...{ diskId: lun.diskId, wwid: lun.wwid, bus: wireBus(lun.bus), slot: lun.slot },
  ...{ readOnly: lun.isReadOnly, shareable: lun.isShareable, passthrough: lun.isPassthrough },
  ...{ reservations: lun.hasReservations, sizeBytes: String(lun.sizeBytes), model: lun.model }
})
