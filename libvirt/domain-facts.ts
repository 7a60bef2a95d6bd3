import { at, child, childrenOf, readXml, type XmlElement } from './xml.js'

/** What the XML of a domain says that the agent wants to know; parsed once, strictly. Pure. */
export type DomainFacts = {
  uuid: string
  name: string
  title: string
  vcpus: number
  memoryBytes: number
  machineType: string
  /** Attributes and text of the element of a metadata namespace; null if the domain has none. */
  metadata: { attributes: Record<string, string>; text: string } | null
  disks: DiskFacts[]
  nics: NicFacts[]
  /** Unix socket of the VNC server, while it runs. */
  vncSocket: string | null
  hasGraphics: boolean
  /** Path of the serial console's terminal, while it runs. */
  serialPath: string | null
  guestAgent: 'connected' | 'disconnected' | 'unknown' | 'absent'
  leases: Array<{ lockspace: string; key: string; path: string; offset: number }>
}
export type DiskFacts = {
  target: string
  /** Serial number: the disk's id, where the domain is ours. */
  serial: string | null
  device: string
  alias: string
  /** Of a CD-ROM drive. */
  isTrayOpen: boolean
  /** Leaf first, with the index that names each in `vda[N]`. */
  chain: Array<{ path: string; format: string; index: number | null }>
  /** A block job has reached its mirror phase. */
  isMirrorReady: boolean
}
export type NicFacts = { mac: string; target: string | null; bridge: string | null }

export function domainFacts(xml: string, metadataUri: string): DomainFacts {
  const root = readXml(xml)
  const devices = child(root, 'devices')
  const all = (name: string) => (devices ? childrenOf(devices, name) : [])
  const text = (name: string) => child(root, name)?.text.trim() ?? ''
  return {
    uuid: text('uuid'),
    name: text('name'),
    title: text('title'),
    vcpus: Number(text('vcpu')) || 0,
    memoryBytes: memoryIn(child(root, 'memory')),
    machineType: at(root, 'os', 'type')?.attributes['machine'] ?? '',
    metadata: metadataIn(child(root, 'metadata'), metadataUri),
    disks: all('disk').map(diskIn),
    nics: all('interface').map(nicIn),
    vncSocket: vncSocketIn(all('graphics')),
    hasGraphics: all('graphics').length > 0,
    serialPath: serialIn(all('serial')),
    guestAgent: guestAgentIn(all('channel')),
    leases: all('lease').map(leaseIn)
  }
}

/** Our element stands there with any prefix that is bound to our namespace. */
function metadataIn(metadata: XmlElement | null, uri: string): DomainFacts['metadata'] {
  for (const { name, attributes, text } of metadata?.children ?? []) {
    const prefix = name.includes(':') ? `xmlns:${name.slice(0, name.indexOf(':'))}` : 'xmlns'
    if (attributes[prefix] === uri) return { attributes, text }
  }
  return null
}

function diskIn(disk: XmlElement): DiskFacts {
  const format = child(disk, 'driver')?.attributes['type'] ?? ''
  const source = child(disk, 'source')
  const leaf = { path: pathIn(source), format, index: indexIn(source) }
  return {
    target: child(disk, 'target')?.attributes['dev'] ?? '',
    serial: child(disk, 'serial')?.text ?? null,
    device: disk.attributes['device'] ?? 'disk',
    alias: child(disk, 'alias')?.attributes['name'] ?? '',
    isTrayOpen: child(disk, 'target')?.attributes['tray'] === 'open',
    chain: source ? [leaf, ...chainBelow(child(disk, 'backingStore'))] : [],
    isMirrorReady: child(disk, 'mirror')?.attributes['ready'] === 'yes'
  }
}

function chainBelow(store: XmlElement | null): DiskFacts['chain'] {
  const source = store && child(store, 'source')
  if (!store || !source) return []
  const format = child(store, 'format')?.attributes['type'] ?? ''
  const index = indexIn(source) ?? numberIn(store.attributes['index'])
  return [{ path: pathIn(source), format, index }, ...chainBelow(child(store, 'backingStore'))]
}

function nicIn(nic: XmlElement): NicFacts {
  return {
    mac: child(nic, 'mac')?.attributes['address']?.toLowerCase() ?? '',
    target: child(nic, 'target')?.attributes['dev'] ?? null,
    bridge: child(nic, 'source')?.attributes['bridge'] ?? null
  }
}

function leaseIn(lease: XmlElement): DomainFacts['leases'][number] {
  const target = child(lease, 'target')
  return {
    lockspace: child(lease, 'lockspace')?.text ?? '',
    key: child(lease, 'key')?.text ?? '',
    path: target?.attributes['path'] ?? '',
    offset: Number(target?.attributes['offset'] ?? 0)
  }
}

function vncSocketIn(graphics: XmlElement[]): string | null {
  const vnc = graphics.find(({ attributes }) => attributes['type'] === 'vnc')
  if (!vnc) return null
  const listen = childrenOf(vnc, 'listen').find(({ attributes }) => attributes['type'] === 'socket')
  return vnc.attributes['socket'] ?? listen?.attributes['socket'] ?? null
}

function serialIn(serials: XmlElement[]): string | null {
  const [serial] = serials
  return serial ? (child(serial, 'source')?.attributes['path'] ?? null) : null
}

function guestAgentIn(channels: XmlElement[]): DomainFacts['guestAgent'] {
  const targets = channels.map(channel => child(channel, 'target')?.attributes)
  const target = targets.find(attributes => attributes?.['name'] === 'org.qemu.guest_agent.0')
  if (!target) return 'absent'
  const state = target['state']
  return state === 'connected' || state === 'disconnected' ? state : 'unknown'
}

const factors: Record<string, number> = { b: 1, bytes: 1, KiB: 1024, k: 1024, MiB: 2 ** 20, GiB: 2 ** 30 }
const memoryIn = (memory: XmlElement | null) =>
  memory ? Number(memory.text) * (factors[memory.attributes['unit'] ?? 'KiB'] ?? 1024) : 0

const pathIn = (source: XmlElement | null) => source?.attributes['file'] ?? source?.attributes['dev'] ?? ''
const indexIn = (source: XmlElement | null) => numberIn(source?.attributes['index'])
const numberIn = (text: string | undefined) => (text === undefined ? null : Number(text))
