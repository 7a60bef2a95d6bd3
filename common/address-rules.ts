import { isIPv4, isIPv6 } from 'node:net'

const hostName =
  /^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$/
const macAddress = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/

export type HostPort = { host: string; port: number }

export const isAddress = (text: string) => isIPv4(text) || isIPv6(text)

/** A DNS name, an IPv4 address, or an IPv6 address without brackets. */
export const isHost = (text: string) => isAddress(text) || (hostName.test(text) && !/^[\d.]+$/.test(text))

/** Reads "HOST:PORT" or "[IPV6]:PORT"; null where it is neither. */
export function parseHostPort(text: string): HostPort | null {
  const [, six, plain, digits = ''] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? []
  const port = Number(digits)
  if (port < 1 || port > 65535) return null
  if (six !== undefined) return isIPv6(six) ? { host: six, port } : null
  return plain !== undefined && isHost(plain) ? { host: plain, port } : null
}

/** "HOST:PORT", with brackets where the host is an IPv6 address. */
export const formatHostPort = ({ host, port }: HostPort) =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`

/** The name of a LUN, as udev tells it. It may become a part of a path below /dev. */
export const isWwid = (text: string) =>
  /^[A-Za-z0-9][A-Za-z0-9_.:+-]{0,126}$/.test(text) && !text.includes('..')

/** Unicast, lower case, not all zeros: an address that one nic can have. */
export function isUnicastMac(text: string): boolean {
  if (!macAddress.test(text) || text === '00:00:00:00:00:00') return false
  return (Number.parseInt(text.slice(0, 2), 16) & 1) === 0
}
