import type { VmSpec } from '../proto/generated/types/drover/agent/v1/VmSpec.js'
import type { VmMedium } from '../proto/generated/types/drover/agent/v1/VmMedium.js'
import { wireLimits, type VmLimits } from './qos/vm-limits.js'
import type { Disk } from './store/disks.js'
import type { VmLun } from './store/luns.js'
import type { Lease, Vm, VmDisk, VmNic } from './store/vms.js'

// From the rows of the store to what a host needs to run the VM: every choice made. PURE.

export type VmParts = {
  vm: Vm
  /** In boot order. */
  disks: ReadonlyArray<{ attachment: VmDisk; disk: Disk }>
  /** By their numbers. */
  cdDrives: ReadonlyArray<{ medium: VmMedium | null }>
  nics: readonly VmNic[]
  luns: readonly VmLun[]
  lease: Lease | null
  /** The VM's own, or its cluster's; empty for the host's. */
  cpuModel: string
  /** The VM's own, or the one chosen for its first start. */
  machineType: string
  limits: VmLimits
}

const buses = { virtio: 'DISK_BUS_VIRTIO', scsi: 'DISK_BUS_SCSI', sata: 'DISK_BUS_SATA' } as const
const firmwares = { bios: 'FIRMWARE_BIOS', uefi: 'FIRMWARE_UEFI' } as const

export const wireBus = (bus: keyof typeof buses) => buses[bus]
export const wireFirmware = (firmware: keyof typeof firmwares) => firmwares[firmware]

export function vmSpec({
  vm,
  disks,
  cdDrives,
  luns,
  nics,
  lease,
  cpuModel,
  machineType,
  limits
}: VmParts): VmSpec {
  const { cpuLimits, ...told } = wireLimits(limits)
  return {
    vmId: vm.id,
    name: vm.name,
    vcpus: vm.vcpus,
    memoryBytes: vm.memoryBytes,
    cpuModel,
    machineType,
    firmware: wireFirmware(vm.firmware),
    disks: disks.map(({ attachment, disk }) => ({
      diskId: disk.id,
      storageDomainId: disk.storageDomainId,
      imageId: disk.id,
      volumeId: disk.volumeId,
      bus: wireBus(attachment.bus),
      slot: attachment.slot,
      readOnly: attachment.isReadOnly,
      shareable: attachment.isShared,
      limits: told.disks.find(({ diskId }) => diskId === disk.id)?.limits ?? null
    })),
    nics: nics.map(({ mac, bridge, slot }) => ({
      ...{ mac, bridge, slot },
      limits: told.nics.find(nic => nic.mac === mac)?.limits ?? null
    })),
    lease: lease && { storageDomainId: lease.storageDomainId, offsetBytes: lease.offsetBytes },
    graphics: true,
    cpuLimits,
    cdDrives: [...cdDrives],
    luns: luns.map(lun => ({
      ...{ diskId: lun.diskId, wwid: lun.wwid, bus: wireBus(lun.bus), slot: lun.slot },
      ...{ readOnly: lun.isReadOnly, shareable: lun.isShareable },
      ...{ passthrough: lun.isPassthrough, reservations: lun.hasReservations }
    })),
    bootFromCd: vm.bootsFromCd
  }
}
