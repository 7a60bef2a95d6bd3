import type { Command } from 'commander'
import { Fault } from '../common/fault.js'
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
}

/** Options that say where a storage domain lies. */
export function addConnectionOptions(command: Command): Command {
  return command
    .option('--local <PATH>', 'a directory of one host')
    .option('--posix <PATH>', 'a directory that all hosts see under this path')
    .option('--nfs <HOST:/PATH>', 'an NFS export')
    .option('--nfs-version <VERSION>', '3, 4, 4.1 or 4.2')
    .option('--device <PATH...>', 'block devices that all hosts see under these names')
}

/** The one connection that the options name. */
export function connectionOf(options: ConnectionOptions): StorageConnection {
  const { local, posix, nfs, nfsVersion = '', device } = options
  if ([local, posix, nfs, device].filter(each => each !== undefined).length !== 1) {
    throw new Fault('INVALID_REQUEST', 'give exactly one of --local, --posix, --nfs and --device')
  }
  if (local !== undefined) return { local: { path: local } }
  if (posix !== undefined) return { posix: { path: posix } }
  if (device !== undefined) return { block: { devices: device } }
  return { nfs: { export: nfs ?? '', version: nfsVersion } }
}

export function connectionText(connection: Output | null): string {
  if (connection?.local) return `local ${connection.local.path}`
  if (connection?.posix) return `posix ${connection.posix.path}`
  if (connection?.nfs) return `nfs ${connection.nfs.export}`
  if (connection?.block) return `block ${connection.block.devices.join(' ')}`
  return ''
}
