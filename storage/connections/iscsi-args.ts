import type { HostPort } from '../../common/address-rules.js'
import { type IscsiPortal, portalText } from './iscsi-target.js'

// Arguments of iscsiadm. No secret is ever among them: see iscsi-settings.ts.

const discovery = (portal: HostPort) => ['-m', 'discoverydb', '-t', 'sendtargets', '-p', portalText(portal)]

export const newDiscovery = (portal: HostPort) => [...discovery(portal), '-o', 'new']
export const forgetDiscovery = (portal: HostPort) => [...discovery(portal), '-o', 'delete']
/** Asks a portal for its targets; nothing that it says is kept. */
export const discover = (portal: HostPort) => [...discovery(portal), '-D', '-o', 'nonpersistent']

// With the portal group the record is one of this interface, as several interfaces need it.
const node = ({ iqn, group, ...portal }: IscsiPortal) => [
  '-m',
  'node',
  '-T',
  iqn,
  '-p',
  `${portalText(portal)},${group}`,
  '-I',
  'default'
]

export const newNode = (portal: IscsiPortal) => [...node(portal), '-o', 'new']
export const forgetNode = (portal: IscsiPortal) => [...node(portal), '-o', 'delete']
export const login = (portal: IscsiPortal) => [...node(portal), '-l']
export const logout = (portal: IscsiPortal) => [...node(portal), '-u']
export const rescanSessions = ['-m', 'session', '-R']

/** Files of iscsiadm below its directory, which only root reads. */
export const nodeRecord = ({ iqn, host, port, group }: IscsiPortal) =>
  `nodes/${iqn}/${host},${port},${group}/default`
export const discoveryRecord = ({ host, port }: HostPort) => `send_targets/${host},${port}/st_config`

/** Exit codes that tell something. */
export const exitCodes = {
  sessionExists: 15,
  /** Among others: the target did not prove who it is. */
  loginFailed: 19,
  noObject: 21,
  loginRefused: 24
}
