import type { Command } from 'commander'
import { formatHostPort, parseHostPort } from '../common/address-rules.js'
import { Fault } from '../common/fault.js'
import type { IscsiPortal__Output as IscsiPortal } from '../proto/generated/types/drover/agent/v1/IscsiPortal.js'
import type {
  StorageConnection,
  StorageConnection__Output as Output
} from '../proto/generated/types/drover/agent/v1/StorageConnection.js'

export type ConnectionOptions = {
  local?: string
  posix?: string
  nfs?: string
  nfsVersion?: string
  device?: string[]
  iscsi?: string[]
  lun?: string[]
}

/** Options that say where a storage domain lies. */
export function addConnectionOptions(command: Command): Command {
  return command
    .option('--local <PATH>', 'a directory of one host')
    .option('--posix <PATH>', 'a directory that all hosts see under this path')
    .option('--nfs <HOST:/PATH>', 'an NFS export')
    .option('--nfs-version <VERSION>', '3, 4, 4.1 or 4.2')
    .option('--device <PATH...>', 'block devices that all hosts see under these names')
    .option('--iscsi <IQN@HOST:PORT...>', 'an iSCSI target at each of its portals; with --lun')
    .option('--lun <WWID...>', 'LUNs of the targets, as `drover host luns` shows them')
}

/** The one connection that the options name. */
export function connectionOf(options: ConnectionOptions): StorageConnection {
  const { local, posix, nfs, nfsVersion = '', device, iscsi, lun } = options
  if ([local, posix, nfs, device, iscsi].filter(each => each !== undefined).length !== 1) {
    throw new Fault('INVALID_REQUEST', 'give exactly one of --local, --posix, --nfs, --device and --iscsi')
  }
  if ((iscsi === undefined) !== (lun === undefined)) {
    throw new Fault('INVALID_REQUEST', '--iscsi and --lun go together')
  }
  if (local !== undefined) return { local: { path: local } }
  if (posix !== undefined) return { posix: { path: posix } }
  if (device !== undefined) return { block: { devices: device } }
  if (iscsi !== undefined) return { iscsi: { portals: iscsi.map(portalOf), luns: lun ?? [] } }
  return { nfs: { export: nfs ?? '', version: nfsVersion } }
}

/** "IQN@HOST", "IQN@HOST:PORT", with ",GROUP" where the portal group is not 1. */
export function portalOf(text: string) {
  const [, iqn = '', place = '', group = '1'] = /^([^@]+)@([^,]+)(?:,(\d{1,5}))?$/.exec(text) ?? []
  const portal = parseHostPort(place) ?? { host: place.replace(/^\[(.*)\]$/, '$1'), port: 3260 }
  if (iqn === '') throw new Fault('INVALID_REQUEST', `"${text}" must be IQN@HOST or IQN@HOST:PORT`)
  return { iqn, ...portal, group: Number(group) }
}

export const portalText = ({ iqn, host, port, group }: IscsiPortal) =>
  `${iqn}@${formatHostPort({ host, port })}${group === 1 ? '' : `,${group}`}`

export function connectionText(connection: Output | null): string {
  if (connection?.local) return `local ${connection.local.path}`
  if (connection?.posix) return `posix ${connection.posix.path}`
  if (connection?.nfs) return `nfs ${connection.nfs.export}`
  if (connection?.iscsi) return `iscsi ${connection.iscsi.portals.map(portalText).join(' ')}`
  if (connection?.block) return `block ${connection.block.devices.join(' ')}`
  return ''
}
