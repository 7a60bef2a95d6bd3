import type { StorageConnection } from './store/storage-domains.js'

/** How a storage domain is reached, as it goes out to hosts and clients. */
export function wireConnection(connection: StorageConnection) {
  switch (connection.kind) {
    case 'local':
      return { kind: 'local' as const, local: { path: connection.path } }
    case 'posix':
      return { kind: 'posix' as const, posix: { path: connection.path } }
    case 'block':
      return { kind: 'block' as const, block: { devices: connection.devices } }
    case 'iscsi': {
      const { kind, ...iscsi } = connection
      return { kind, iscsi }
    }
    case 'nfs': {
      const { kind, ...nfs } = connection
      return { kind, nfs }
    }
  }
}
