import { formatHostPort, type HostPort, isHost, parseHostPort } from '../../common/address-rules.js'

// Names of iSCSI: what may stand in them, so that none can be taken for an option or a path.

/** A way to a target: its portal and the number of the portal group, as discovery tells them. */
export type IscsiPortal = HostPort & { iqn: string; group: number }

const iqnName = /^iqn\.\d{4}-\d{2}\.[a-z0-9.-]+(:[A-Za-z0-9._:-]+)?$/
const otherNames = /^(eui\.[0-9A-Fa-f]{16}|naa\.([0-9A-Fa-f]{16}|[0-9A-Fa-f]{32}))$/

export function isIqn(text: string): boolean {
  return text.length <= 223 && (iqnName.test(text) || otherNames.test(text)) && !text.includes('..')
}

/** "HOST", "HOST:PORT" or "[IPV6]:PORT"; 3260 is the port of iSCSI. */
export function parsePortal(text: string): HostPort | null {
  const whole = parseHostPort(text)
  if (whole) return whole
  const bare = text.startsWith('[') && text.endsWith(']') ? text.slice(1, -1) : text
  return isHost(bare) ? { host: bare, port: 3260 } : null
}

/** As iscsiadm wants it, and as messages show it. */
export const portalText = (portal: HostPort) => formatHostPort(portal)

/** One line of the answer of a discovery: `10.0.0.1:3260,1 iqn.2026-01.org.example:disk`. */
export function parseDiscovery(stdout: string): IscsiPortal[] {
  const found = stdout.split('\n').flatMap(line => {
    const [, address = '', group = '', iqn = ''] = /^(\S+:\d+),(-?\d+) (\S+)$/.exec(line.trim()) ?? []
    const portal = parseHostPort(address)
    // A portal can say anything: what does not pass the rules for names never reaches a command or a file.
    return portal !== null && isIqn(iqn) ? [{ iqn, ...portal, group: Math.max(1, Number(group)) }] : []
  })
  return found.slice(0, mostPortals)
}

export const mostPortals = 1024

const printable = /^[\x21-\x7e]+$/

/** Who we say we are, and how the target proves itself in turn. */
export const isChapUser = (text: string) => text.length <= 255 && printable.test(text)
export const isChapSecret = (text: string) => text.length >= 12 && text.length <= 100 && printable.test(text)
