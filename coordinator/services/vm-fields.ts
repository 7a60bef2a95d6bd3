import type { Fields } from '../../common/fields.js'
import { matchingRule, uuidRule } from '../../common/rules.js'
import { bytes, MiB, type Bytes } from '../../common/units.js'

// What clients may say about VMs, read from the wire. Output-only fields are not looked at.

export const mostDisks = 24
export const mostNics = 16
export const mostPinnedHosts = 250
const largestMemory: Bytes = bytes(16 * 2 ** 40)

/** Names that are unique in the installation. */
export const objectName = /^[A-Za-z0-9._-]([A-Za-z0-9._ -]{0,62}[A-Za-z0-9._-])?$/
export const objectNameWords = 'must be 1 to 64 letters, digits, ".", "_", "-" or inner spaces'

export type DiskBus = 'virtio' | 'scsi' | 'sata'
export type Firmware = 'bios' | 'uefi'

export type DiskAttachment = { diskId: string; bus: DiskBus; isReadOnly: boolean; isCdrom: boolean }
export type NicAttachment = { mac: string | null; bridge: string }
export type WantedHa = { isEnabled: boolean; priority: number; leaseStorageDomainId: string | null }

export function readDiskAttachment(fields: Fields): DiskAttachment {
  const bus = fields.choiceOr('bus', 'DISK_BUS_UNSPECIFIED', 'DISK_BUS_VIRTIO', [
    'DISK_BUS_VIRTIO',
    'DISK_BUS_SCSI',
    'DISK_BUS_SATA'
  ])
  const isCdrom = fields.bool('cdrom')
  return {
    diskId: fields.uuid('diskId'),
    bus: isCdrom ? 'sata' : buses[bus],
    isReadOnly: isCdrom || fields.bool('readOnly'),
    isCdrom
  }
}

const buses = { DISK_BUS_VIRTIO: 'virtio', DISK_BUS_SCSI: 'scsi', DISK_BUS_SATA: 'sata' } as const

const bridgeRule = matchingRule(
  /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/,
  'must be the name of a bridge: 1 to 15 letters, digits, "_", "." or "-"'
)

export function readNicAttachment(fields: Fields): NicAttachment {
  return {
    mac: fields.has('mac') ? fields.mac('mac') : null,
    bridge: fields.optional('bridge', bridgeRule, '') ?? ''
  }
}

export function readHa(fields: Fields): WantedHa {
  return {
    isEnabled: fields.bool('enabled'),
    priority: fields.integerOr('priority', 50, 1, 100),
    leaseStorageDomainId: fields.optionalUuid('leaseStorageDomainId')
  }
}

export const readDisks = (fields: Fields) => {
  const disks = fields.list('disks', mostDisks, readDiskAttachment)
  if (hasTwins(disks.map(({ diskId }) => diskId))) fields.refuse('disks', 'must not name a disk twice', null)
  return disks
}

export const readNics = (fields: Fields) => {
  const nics = fields.list('nics', mostNics, readNicAttachment)
  const given = nics.flatMap(({ mac }) => (mac === null ? [] : [mac]))
  if (hasTwins(given)) fields.refuse('nics', 'must not have a MAC address twice', null)
  return nics
}

export const readPinnedHosts = (fields: Fields) => fields.each('pinnedHostIds', mostPinnedHosts, uuidRule)

/** 0 means "the default": that of the template, or one. */
export const readVcpus = (fields: Fields) => fields.integerOr('vcpus', 0, 1, 512)

/** Null means "the default". */
export function readMemory(fields: Fields): Bytes | null {
  const size = fields.optionalSize('memoryBytes', largestMemory, MiB(16))
  if (size !== null && size % MiB(1) !== 0) {
    fields.refuse('memoryBytes', 'must be a multiple of 1 MiB', null)
  }
  return size
}

export const readCpuModel = (fields: Fields) =>
  fields.optionalMatching('cpuModel', /^[A-Za-z0-9_.-]{1,64}$/, 'must be the name of a CPU model') ?? ''

/** Null means "the default". */
export function readFirmware(fields: Fields): Firmware | null {
  const firmware = fields.choiceOr('firmware', 'FIRMWARE_UNSPECIFIED', 'FIRMWARE_UNSPECIFIED', [
    'FIRMWARE_UNSPECIFIED',
    'FIRMWARE_BIOS',
    'FIRMWARE_UEFI'
  ])
  return firmware === 'FIRMWARE_UNSPECIFIED' ? null : firmware === 'FIRMWARE_UEFI' ? 'uefi' : 'bios'
}

const hasTwins = (values: readonly string[]) => new Set(values).size < values.length
