import { normalRemotePath } from '../format/remote-path.js'
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
export type StorageConnection = LocalConnection | PosixConnection | NfsConnection

/** What REMOTE_PATH in the metadata says. */
export function remotePath(connection: StorageConnection): string {
  return normalRemotePath(connection.kind === 'nfs' ? connection.export : connection.path)
}

/** The kind that a storage domain made through this connection has. */
export function storageKind(connection: StorageConnection): Extract<StorageKind, 'nfs' | 'posix' | 'local'> {
  return connection.kind
}
