import { isHost } from '../../common/address-rules.js'
import type { Fields } from '../../common/fields.js'
import { type Rule, wwidRule } from '../../common/rules.js'
import { type IscsiPortal, readPortals } from './san-fields.js'

// How a storage domain is reached, read from the wire.

export type NfsVersion = '' | '3' | '4' | '4.1' | '4.2'
export type StorageConnection =
  | { kind: 'local'; path: string }
  | { kind: 'posix'; path: string }
  | { kind: 'block'; devices: string[] }
  | { kind: 'iscsi'; portals: IscsiPortal[]; luns: string[] }
  | { kind: 'nfs'; export: string; version: NfsVersion; timeo: number; retrans: number }

const exportRule: Rule<string> = value => {
  const [, host = '', path = ''] =
    typeof value === 'string' && value.length <= 1024
      ? (/^(\[[^\]]+\]|[^:[\]/]+):(\/.*)$/.exec(value) ?? [])
      : []
  const bare = host.startsWith('[') ? host.slice(1, -1) : host
  const isPath = /^(\/[\p{L}\p{N}_+@.~-]+)+$|^\/$/u.test(path) && !/\/\.{1,2}(\/|$)/.test(path)
  return isHost(bare) && isPath && typeof value === 'string'
    ? { value }
    : { wrong: 'must be HOST:/PATH, with an IPv6 address in brackets' }
}

/** The agent that opens them looks closer: only what is below /dev, and nothing that is in use. */
export const deviceRule: Rule<string> = value =>
  typeof value === 'string' && /^\/dev\/[A-Za-z0-9_][A-Za-z0-9_.:+@/-]{0,250}$/.test(value)
    ? { value }
    : { wrong: 'must be the path of a device below /dev' }

export function readConnection(fields: Fields): StorageConnection {
  const nothing: StorageConnection = { kind: 'local', path: '' }
  return (
    fields.oneof<StorageConnection>('kind', {
      local: inner => inner.message('local', it => ({ kind: 'local', path: it.absolutePath('path') })),
      posix: inner => inner.message('posix', it => ({ kind: 'posix', path: it.absolutePath('path') })),
      block: inner =>
        inner.message('block', it => ({ kind: 'block', devices: it.each('devices', 8, deviceRule, 1) })),
      iscsi: inner =>
        inner.message('iscsi', it => ({
          kind: 'iscsi',
          portals: readPortals(it),
          luns: it.each('luns', 8, wwidRule, 1)
        })),
      nfs: inner => inner.message('nfs', readNfs)
    }) ?? nothing
  )
}

function readNfs(fields: Fields): StorageConnection {
  const version = fields.has('version') ? fields.choice('version', ['3', '4', '4.1', '4.2']) : ''
  return {
    kind: 'nfs',
    export: fields.is('export', exportRule, ''),
    version,
    timeo: fields.integerOr('timeo', 100, 10, 6000),
    retrans: fields.integerOr('retrans', 3, 1, 10)
  }
}
