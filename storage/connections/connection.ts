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
/** LUNs, by their WWIDs, that an iSCSI target offers through some portals. */
export type IscsiConnection = { kind: 'iscsi'; portals: IscsiPortal[]; luns: string[] }
export type FileConnection = LocalConnection | PosixConnection | NfsConnection
export type StorageConnection = FileConnection | BlockConnection | IscsiConnection

/** What REMOTE_PATH in the metadata says. */
export function remotePath(connection: FileConnection): string {
  return normalRemotePath(connection.kind === 'nfs' ? connection.export : connection.path)
}

/** The kind that a storage domain made through this connection has. */
export function storageKind(connection: FileConnection): Extract<StorageKind, 'nfs' | 'posix' | 'local'> {
  return connection.kind
}
