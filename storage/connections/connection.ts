import { normalRemotePath } from '../format/remote-path.js'
import type { IscsiPortal } from './iscsi-target.js'
import type { StorageKind } from '../format/storage-domain-metadata.js'

/** How a storage domain is reached. */
export type LocalConnection = { kind: 'local'; path: string }
export type PosixConnection = { kind: 'posix'; path: string }
export type NfsConnection = {
  kind: 'nfs'
  export: string
  version: '3' | '4' | '4.1' | '4.2' | null
  timeo: number
  retrans: number
}
/** Block devices that are there already, under names that stay the same. */
export type BlockConnection = { kind: 'block'; devices: string[] }
export type StorageConnection = LocalConnection | PosixConnection | NfsConnection | BlockConnection
export type FileConnection = Exclude<StorageConnection, BlockConnection>

/** LUNs, by their WWIDs, that an iSCSI target offers through some portals. */
export type IscsiConnection = { kind: 'iscsi'; portals: IscsiPortal[]; luns: string[] }
/** LUNs that are there without a login: Fibre Channel, or any other SCSI or NVMe disk that several hosts see. */
export type FcpConnection = { kind: 'fcp'; luns: string[] }
/** What a block storage domain lies on. */
export type LunConnection = IscsiConnection | FcpConnection

/** What REMOTE_PATH in the metadata says. */
export function remotePath(connection: FileConnection): string {
  return normalRemotePath(connection.kind === 'nfs' ? connection.export : connection.path)
}

/** The kind that a storage domain made through this connection has. */
export function storageKind(connection: FileConnection): Extract<StorageKind, 'nfs' | 'posix' | 'local'> {
  return connection.kind
}
