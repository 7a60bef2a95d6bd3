import type { Fields } from '../common/fields.js'
import {
  readCpuLimits,
  readDiskLimits,
  readNetworkLimits,
  wireDiskLimits,
  type CpuLimits,
  type DiskLimits,
  type NetworkLimits
} from '../common/limits.js'
import { MiB, GiB } from '../common/units.js'
import { cdDriveMessage, cdDriveOf, drivesOf, mostCdDrives, type CdDrive } from './cd-drives.js'
import { lunMessage, lunOf, lunsOf, mostLuns, type VmLun } from './luns.js'
import type { VmSpec as WireSpec } from '../proto/generated/types/drover/agent/v1/VmSpec.js'
import { mostSataDevices, userSlots } from '../libvirt/domain-spec.js'

/** What a VM is, as the coordinator resolved it. */
export type VmSpec = {
  vmId: string
  name: string
  vcpus: number
  memoryBytes: number
  cpuModel: string | null
  machineType: string | null
  firmware: 'bios' | 'uefi'
  disks: VmDisk[]
  nics: VmNic[]
  lease: { storageDomainId: string; offset: number } | null
  graphics: boolean
  /** Absent in records of earlier versions. Null here and below: no limit. */
  cpuLimits?: CpuLimits | null
  /** By their numbers, from 1. Absent in records of earlier versions. */
  cdDrives?: CdDrive[]
  /** Whether CD-ROM drives are tried before disks. */
  bootFromCd?: boolean
  /** Absent in records of earlier versions. */
  luns?: VmLun[]
}
export type VmDisk = {
  diskId: string
  storageDomainId: string
  imageId: string
  volumeId: string
  bus: 'virtio' | 'scsi' | 'sata'
  slot: number
  readOnly: boolean
  cdrom: boolean
  /** Other VMs may write it too. Absent in records of earlier versions. */
  shareable?: boolean
  limits?: DiskLimits | null
}
export type VmNic = { mac: string; bridge: string | null; slot: number; limits?: NetworkLimits | null }

const mostDisks = 24
const mostNics = 16
const buses = ['DISK_BUS_VIRTIO', 'DISK_BUS_SCSI', 'DISK_BUS_SATA'] as const
const busNames = { DISK_BUS_VIRTIO: 'virtio', DISK_BUS_SCSI: 'scsi', DISK_BUS_SATA: 'sata' } as const
const firmwares = ['FIRMWARE_BIOS', 'FIRMWARE_UEFI'] as const
const firmwareNames = { FIRMWARE_BIOS: 'bios', FIRMWARE_UEFI: 'uefi' } as const

/** Reads and checks a spec; the limits are those of the proto file. */
export function vmSpecOf(fields: Fields): VmSpec {
  const spec: VmSpec = {
    vmId: fields.uuid('vmId'),
    name: fields.name('name', 255),
    vcpus: fields.integer('vcpus', 1, 512),
    memoryBytes: fields.size('memoryBytes', GiB(16 * 1024), MiB(16)),
    cpuModel: fields.optionalMatching(
      'cpuModel',
      /^[A-Za-z0-9][\w.+-]{0,63}$/,
      'must be the name of a CPU model'
    ),
    machineType: fields.optionalMatching(
      'machineType',
      /^pc-q35-\d{1,3}\.\d{1,3}$/,
      'must be like pc-q35-7.2'
    ),
    firmware: firmwareNames[fields.choiceOr('firmware', 'FIRMWARE_UNSPECIFIED', 'FIRMWARE_BIOS', firmwares)],
    disks: fields.list('disks', mostDisks, diskOf),
    nics: fields.list('nics', mostNics, nicOf),
    lease: fields.optionalMessage('lease', lease => ({
      storageDomainId: lease.uuid('storageDomainId'),
      // Slots of xleases lie on 1 MiB; the first three MiB are lockspace and index.
      offset: lease.integer('offsetBytes', 3 * MiB(1), Number.MAX_SAFE_INTEGER)
    })),
    graphics: fields.bool('graphics'),
    cpuLimits: fields.optionalMessage('cpuLimits', readCpuLimits) ?? null,
    cdDrives: fields.list('cdDrives', mostCdDrives, cdDriveOf),
    bootFromCd: fields.bool('bootFromCd'),
    luns: fields.list('luns', mostLuns, lunOf)
  }
  refuseMisfits(spec, fields)
  return spec
}

function diskOf(disk: Fields): VmDisk {
  const cdrom = disk.bool('cdrom')
  const asked = busNames[disk.choiceOr('bus', 'DISK_BUS_UNSPECIFIED', 'DISK_BUS_VIRTIO', buses)]
  const bus = cdrom ? 'sata' : asked
  return {
    diskId: disk.uuid('diskId'),
    storageDomainId: disk.uuid('storageDomainId'),
    imageId: disk.uuid('imageId'),
    volumeId: disk.uuid('volumeId'),
    bus,
    slot: bus === 'sata' ? 0 : disk.integer('slot', 1, userSlots),
    readOnly: cdrom || disk.bool('readOnly'),
    cdrom,
    shareable: disk.bool('shareable'),
    limits: disk.optionalMessage('limits', readDiskLimits) ?? null
  }
}

function nicOf(nic: Fields): VmNic {
  return {
    mac: nic.mac('mac'),
    bridge: nic.optionalMatching(
      'bridge',
      /^[A-Za-z0-9_.-]{1,15}$/,
      'must be the name of a bridge, at most 15 characters'
    ),
    slot: nic.integer('slot', 1, userSlots),
    limits: nic.optionalMessage('limits', readNetworkLimits) ?? null
  }
}

/** Rules about more than one field. */
function refuseMisfits(spec: VmSpec, fields: Fields): void {
  const { memoryBytes, disks, nics } = spec
  const luns = lunsOf(spec)
  const all = [...disks, ...luns]
  if (isTwice(luns.map(({ wwid }) => wwid))) fields.refuse('luns', 'must name each LUN once', null)
  if (memoryBytes % MiB(1) !== 0) fields.refuse('memoryBytes', 'must be a multiple of 1 MiB', null)
  const pci = [...all.filter(({ bus }) => bus === 'virtio'), ...nics].map(({ slot }) => slot)
  if (isTwice(pci)) fields.refuse('disks', 'must have slots that no other disk or nic has', null)
  if (isTwice(all.filter(({ bus }) => bus === 'scsi').map(({ slot }) => slot))) {
    fields.refuse('disks', 'must have slots that no other SCSI disk has', null)
  }
  if (isTwice(all.map(({ diskId }) => diskId))) fields.refuse('disks', 'must name each disk once', null)
  if (isTwice(disks.map(({ imageId }) => imageId))) fields.refuse('disks', 'must name each image once', null)
  if (isTwice(nics.map(({ mac }) => mac))) fields.refuse('nics', 'must have different MAC addresses', null)
  if (disks.filter(({ bus }) => bus === 'sata').length + drivesOf(spec).length > mostSataDevices) {
    fields.refuse('disks', `must have at most ${mostSataDevices} SATA disks and CD-ROM drives`, null)
  }
}

export function vmSpecMessage(spec: VmSpec): WireSpec {
  return {
    vmId: spec.vmId,
    name: spec.name,
    vcpus: spec.vcpus,
    memoryBytes: String(spec.memoryBytes),
    cpuModel: spec.cpuModel ?? '',
    machineType: spec.machineType ?? '',
    firmware: spec.firmware === 'uefi' ? 'FIRMWARE_UEFI' : 'FIRMWARE_BIOS',
    disks: spec.disks.map(({ bus, limits = null, ...disk }) => ({
      ...disk,
      limits: limits && wireDiskLimits(limits),
      bus: buses[['virtio', 'scsi', 'sata'].indexOf(bus)] ?? 'DISK_BUS_VIRTIO'
    })),
    nics: spec.nics.map(({ bridge, limits = null, ...nic }) => ({ ...nic, limits, bridge: bridge ?? '' })),
    lease: spec.lease && {
      storageDomainId: spec.lease.storageDomainId,
      offsetBytes: String(spec.lease.offset)
    },
    graphics: spec.graphics,
    cpuLimits: spec.cpuLimits ?? null,
    cdDrives: drivesOf(spec).map(cdDriveMessage),
    bootFromCd: spec.bootFromCd ?? false,
    luns: lunsOf(spec).map(lunMessage)
  }
}

const isTwice = <T>(values: T[]) => new Set(values).size < values.length
