import type { Fields } from '../../common/fields.js'
import { matchingRule, type Rule, wwidRule } from '../../common/rules.js'
import { type Bytes, bytes, GiB, MiB } from '../../common/units.js'
import type { StorageConnection } from '../../storage/connections/connection.js'
import { isDevicePath } from '../../storage/connections/devices.js'
import { isNfsExport } from '../../storage/connections/nfs.js'
import { portalsOf } from './san-fields.js'
import type { AllocationPolicy, VolumeFormat } from '../../storage/format/volume-metadata.js'
import type { ImageFormat } from '../../storage/image-inspector.js'

// How the fields that several storage requests share are read.

const versions = ['3', '4', '4.1', '4.2'] as const

const nfsExport: Rule<string> = value =>
  typeof value === 'string' && isNfsExport(value)
    ? { value }
    : { wrong: 'must be HOST:/PATH of plain characters, without ".."' }

export function connectionOf(fields: Fields): StorageConnection {
  return fields.message('connection', connection => {
    const read = connection.oneof<StorageConnection>('kind', {
      local: kind => kind.message('local', local => ({ kind: 'local', path: local.absolutePath('path') })),
      posix: kind => kind.message('posix', posix => ({ kind: 'posix', path: posix.absolutePath('path') })),
      block: kind =>
        kind.message('block', block => ({
          kind: 'block',
          devices: block.each('devices', 8, deviceRule, 1)
        })),
      iscsi: kind =>
        kind.message('iscsi', iscsi => ({
          kind: 'iscsi',
          portals: portalsOf(iscsi),
          luns: iscsi.each('luns', 8, wwidRule, 1)
        })),
      nfs: kind =>
        kind.message('nfs', nfs => ({
          kind: 'nfs',
          export: nfs.is('export', nfsExport, ''),
          version: nfs.optional('version', versionRule, '4.2'),
          timeo: nfs.integerOr('timeo', 100, 10, 6000),
          retrans: nfs.integerOr('retrans', 3, 1, 10)
        }))
    })
    return read ?? { kind: 'local', path: '' }
  })
}

const deviceRule: Rule<string> = value =>
  typeof value === 'string' && isDevicePath(value)
    ? { value }
    : { wrong: 'must be the path of a device below /dev' }

const versionRule: Rule<(typeof versions)[number]> = value => {
  const known = versions.find(version => version === value)
  return known === undefined ? { wrong: `must be one of ${versions.join(', ')}` } : { value: known }
}

const largest = GiB(64 * 1024)

/** What a guest sees: whole sectors, from 1 MiB to 64 TiB. */
export function capacityOf(fields: Fields, field = 'capacity'): Bytes {
  const capacity = fields.size(field, largest, MiB(1))
  return capacity % 512 === 0 ? capacity : fields.refuse(field, 'must be a multiple of 512', bytes(0))
}

export function formatOf(fields: Fields): VolumeFormat {
  const format = fields.choice('format', ['DISK_FORMAT_RAW', 'DISK_FORMAT_QCOW2'])
  return format === 'DISK_FORMAT_RAW' ? 'raw' : 'qcow2'
}

const imageFormats = {
  DISK_FORMAT_RAW: 'raw',
  DISK_FORMAT_QCOW2: 'qcow2',
  DISK_FORMAT_VMDK: 'vmdk',
  DISK_FORMAT_VPC: 'vpc',
  DISK_FORMAT_VHDX: 'vhdx',
  DISK_FORMAT_VDI: 'vdi',
  DISK_FORMAT_ISO: 'iso'
} as const satisfies Record<string, ImageFormat>
const formatNames = [
  'DISK_FORMAT_RAW',
  'DISK_FORMAT_QCOW2',
  'DISK_FORMAT_VMDK',
  'DISK_FORMAT_VPC',
  'DISK_FORMAT_VHDX',
  'DISK_FORMAT_VDI',
  'DISK_FORMAT_ISO'
] as const

export function imageFormatOf(fields: Fields, field: string): ImageFormat {
  return imageFormats[fields.choice(field, formatNames)]
}

type FormatName = (typeof formatNames)[number] | 'DISK_FORMAT_UNSPECIFIED'

export function imageFormatName(format: ImageFormat | null): FormatName {
  return formatNames.find(name => imageFormats[name] === format) ?? 'DISK_FORMAT_UNSPECIFIED'
}

export function allocationOf(fields: Fields): AllocationPolicy {
  const preallocated = 'ALLOCATION_POLICY_PREALLOCATED'
  const name = fields.choiceOr('allocation', 'ALLOCATION_POLICY_UNSPECIFIED', 'ALLOCATION_POLICY_THIN', [
    'ALLOCATION_POLICY_THIN',
    preallocated
  ])
  return name === preallocated ? 'preallocated' : 'thin'
}

/** Kept in 512 bytes beside the rest: one line, at most 210 bytes. */
export function descriptionOf(fields: Fields): string {
  const text = fields.freeText('description', 210)
  if (/[\n\r\t]/.test(text)) return fields.refuse('description', 'must be one line', '')
  return Buffer.byteLength(text) > 210 ? fields.refuse('description', 'must be at most 210 bytes', '') : text
}

export const sha256Rule = matchingRule(/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits in lower case')
