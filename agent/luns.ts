import type { Fields } from '../common/fields.js'
import { wwidRule } from '../common/rules.js'
import { userSlots, type DiskSpec } from '../libvirt/domain-spec.js'
import type { VmLun as WireLun } from '../proto/generated/types/drover/agent/v1/VmLun.js'
import type { VmSpec } from './vm-spec.js'

// LUNs that a VM uses as they are: no storage domain lies between.

export type VmLun = {
  diskId: string
  wwid: string
  bus: 'virtio' | 'scsi'
  slot: number
  readOnly: boolean
  shareable: boolean
  /** SCSI commands of the guest go to the LUN itself. */
  passthrough: boolean
  /** Those about persistent reservations too. */
  reservations: boolean
}

/** What is needed of storage networks here. */
export type LunPort = {
  /** The device of a LUN that a VM may have; a fault says what is against it. */
  forVm(lun: { wwid: string; readOnly: boolean }, signal: AbortSignal): Promise<string>
  /** Whether commands about persistent reservations can be passed on here. */
  canReserve(): Promise<boolean>
}

export const mostLuns = 24

export function lunOf(fields: Fields): VmLun {
  const passthrough = fields.bool('passthrough')
  const reservations = fields.bool('reservations')
  const bus = fields.choiceOr('bus', 'DISK_BUS_UNSPECIFIED', 'DISK_BUS_SCSI', [
    'DISK_BUS_SCSI',
    'DISK_BUS_VIRTIO'
  ])
  if (passthrough && bus !== 'DISK_BUS_SCSI') fields.refuse('bus', 'must be SCSI for passthrough', null)
  if (reservations && !passthrough) fields.refuse('reservations', 'needs passthrough', null)
  return {
    ...{ diskId: fields.uuid('diskId'), wwid: fields.is('wwid', wwidRule, '') },
    bus: bus === 'DISK_BUS_SCSI' ? 'scsi' : 'virtio',
    slot: fields.integer('slot', 1, userSlots),
    ...{ readOnly: fields.bool('readOnly'), shareable: fields.bool('shareable'), passthrough, reservations }
  }
}

export const lunMessage = ({ bus, ...lun }: VmLun): WireLun => ({
  ...lun,
  bus: bus === 'scsi' ? 'DISK_BUS_SCSI' : 'DISK_BUS_VIRTIO'
})

/** Records of earlier versions know none. */
export const lunsOf = ({ luns = [] }: VmSpec): VmLun[] => luns

/** A LUN as libvirt has it; without its device where only its place counts. */
export function lunSpec(lun: VmLun, device: string | null, boot: number): DiskSpec {
  return {
    ...{ diskId: lun.diskId, bus: lun.bus, isCdrom: false, isReadOnly: lun.readOnly, slot: lun.slot, boot },
    // Its node belongs to the host: libvirt lends it to QEMU, and takes it back.
    chain: device === null ? [] : [{ kind: 'block', path: device, format: 'raw', isLent: true }],
    ...{ hasDirectIo: true, isShareable: lun.shareable },
    ...{ isLun: lun.passthrough, hasReservations: lun.reservations }
  }
}
