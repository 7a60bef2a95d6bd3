import type { NfsConnection } from './connection.js'

const host = String.raw`(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9a-fA-F:.]{2,45}\])`

/** `HOST:/PATH` and nothing that mount or the kernel could take for an option. */
export function isNfsExport(text: string): boolean {
  if (!new RegExp(`^${host}:/[A-Za-z0-9._/+@-]*$`).test(text) || text.length > 1024) return false
  return !text.split('/').includes('..')
}

/**
 * Options of the mount: from a table, never from text. Soft, so that a dead server ends in an error after about a
 * minute; locks stay local with version 3, where a dead host's would outlive it.
 */
export function nfsOptions({ version, timeo, retrans }: NfsConnection): string {
  const chosen = version === null ? [] : [`nfsvers=${version}`]
  const locks = version === '3' ? ['nolock'] : []
  return [
    'nosuid',
    'nodev',
    'noexec',
    'soft',
    'nosharecache',
    `timeo=${timeo}`,
    `retrans=${retrans}`,
    ...chosen,
    ...locks
  ].join(',')
}

export function nfsMountArguments(connection: NfsConnection, target: string): string[] {
  return ['-t', 'nfs', '-o', nfsOptions(connection), '--', connection.export, target]
}
