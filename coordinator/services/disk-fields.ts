import type { Fields } from '../../common/fields.js'
import { bytes, MiB, type Bytes } from '../../common/units.js'

// What clients may say about disks, read from the wire.

export const largestDisk: Bytes = bytes(64 * 2 ** 40)

export type VolumeFormat = 'raw' | 'qcow2'
export type Allocation = 'thin' | 'preallocated'
export type ImportFormat = VolumeFormat | 'vmdk' | 'vpc' | 'vhdx' | 'vdi' | 'iso'

export function readCapacity(fields: Fields): Bytes {
  const capacity = fields.size('capacity', largestDisk, MiB(1))
  if (capacity % 512 !== 0) fields.refuse('capacity', 'must be a multiple of 512', null)
  return capacity
}

export function readFormat(fields: Fields): VolumeFormat {
  const format = fields.choiceOr('format', 'DISK_FORMAT_UNSPECIFIED', 'DISK_FORMAT_QCOW2', [
    'DISK_FORMAT_QCOW2',
    'DISK_FORMAT_RAW'
  ])
  return format === 'DISK_FORMAT_RAW' ? 'raw' : 'qcow2'
}

export function readAllocation(fields: Fields): Allocation {
  const policy = fields.choiceOr('allocation', 'ALLOCATION_POLICY_UNSPECIFIED', 'ALLOCATION_POLICY_THIN', [
    'ALLOCATION_POLICY_THIN',
    'ALLOCATION_POLICY_PREALLOCATED'
  ])
  return policy === 'ALLOCATION_POLICY_PREALLOCATED' ? 'preallocated' : 'thin'
}

/** Format and allocation together: qcow2 is always thin here. */
export function readVolumeKind(fields: Fields): { format: VolumeFormat; allocation: Allocation } {
  const format = readFormat(fields)
  const allocation = readAllocation(fields)
  if (format === 'qcow2' && allocation === 'preallocated') {
    fields.refuse('allocation', 'must be thin for qcow2; preallocated disks are raw', null)
  }
  return { format, allocation }
}

export function readImportFormat(fields: Fields): ImportFormat {
  const format = fields.choice('sourceFormat', [
    'DISK_FORMAT_RAW',
    'DISK_FORMAT_QCOW2',
    'DISK_FORMAT_VMDK',
    'DISK_FORMAT_VPC',
    'DISK_FORMAT_VHDX',
    'DISK_FORMAT_VDI',
    'DISK_FORMAT_ISO'
  ])
  return importFormats[format]
}

const importFormats = {
  DISK_FORMAT_RAW: 'raw',
  DISK_FORMAT_QCOW2: 'qcow2',
  DISK_FORMAT_VMDK: 'vmdk',
  DISK_FORMAT_VPC: 'vpc',
  DISK_FORMAT_VHDX: 'vhdx',
  DISK_FORMAT_VDI: 'vdi',
  DISK_FORMAT_ISO: 'iso'
} as const

export const readSha256 = (fields: Fields) =>
  fields.optionalMatching('sha256', /^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits in lower case') ?? ''
