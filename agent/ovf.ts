import { Fault } from '../common/fault.js'
import { isUuid } from '../common/ids.js'
import { readXml, type XmlElement } from '../libvirt/xml.js'

// A VM or template as oVirt wrote it down, in its own dialect of OVF. PURE. Everything in it is somebody's text:
// what does not look as it should is left out, and nothing of it is believed before CreateVm has checked it.

export type OvfDisk = { diskId: string; bus: 'virtio' | 'scsi' | 'sata'; isBoot: boolean }
export type FoundVm = {
  id: string
  name: string
  description: string
  isTemplate: boolean
  vcpus: number
  memoryMiB: number
  isUefi: boolean
  disks: OvfDisk[]
  macs: string[]
  /** Why it cannot be registered; empty when nothing speaks against it. */
  problem: string
}

const mostDisks = 24
const mostNics = 16

export function readOvf(id: string, text: string): FoundVm {
  try {
    return read(id, readXml(text))
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    return { ...nothing(id), problem: 'its definition cannot be read' }
  }
}

const nothing = (id: string): FoundVm => ({
  ...{ id, name: '', description: '', isTemplate: false, vcpus: 1, memoryMiB: 0, isUefi: false },
  ...{ disks: [], macs: [], problem: '' }
})

function read(id: string, envelope: XmlElement): FoundVm {
  const content = envelope.children.find(({ name }) => bare(name) === 'Content')
  if (bare(envelope.name) !== 'Envelope' || !content) {
    return { ...nothing(id), problem: 'its definition is no OVF of oVirt' }
  }
  const items = content.children.flatMap(section =>
    section.children.filter(({ name }) => bare(name) === 'Item')
  )
  const ofType = (type: string) => items.filter(item => textOf(item, 'ResourceType') === type)
  const [cpu] = ofType('3')
  const [memory] = ofType('4')
  const count = (name: string) => numberOf(cpu, name, 1, 512)
  const vcpus = count('num_of_sockets') * count('cpu_per_socket') * count('threads_per_cpu')
  const name = plain(textOf(content, 'Name'), 64)
  const disks = disksIn(envelope, ofType('17'))
  return {
    ...{ id, name, description: plain(textOf(content, 'Description'), 1024) },
    isTemplate: hasElement(content, 'TemplateType') || textOf(content, 'TemplateId') === id,
    vcpus: Math.min(vcpus, 512),
    memoryMiB: numberOf(memory, 'VirtualQuantity', 0, 16 * 2 ** 20),
    isUefi: ['3', '4'].includes(textOf(content, 'BiosType')),
    disks: disks.slice(0, mostDisks),
    macs: ofType('10')
      .map(item => textOf(item, 'MACAddress').toLowerCase())
      .filter(mac => /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac))
      .slice(0, mostNics),
    problem: disks.length > mostDisks ? `it has ${disks.length} disks` : ''
  }
}

/** An item names its disk as `<image>/<volume>`; how it is attached stands in the section of disks. */
function disksIn(envelope: XmlElement, items: XmlElement[]): OvfDisk[] {
  const sections = envelope.children.flatMap(({ children }) =>
    children.filter(({ name }) => bare(name) === 'Disk')
  )
  const attribute = (disk: XmlElement | undefined, wanted: string) =>
    Object.entries(disk?.attributes ?? {}).find(([name]) => bare(name) === wanted)?.[1] ?? ''
  const found = items.flatMap(item => {
    const reference = textOf(item, 'HostResource')
    const [diskId = ''] = reference.split('/')
    if (!isUuid(diskId)) return []
    const disk = sections.find(
      it => attribute(it, 'fileRef') === reference || attribute(it, 'diskId') === textOf(item, 'InstanceId')
    )
    const bus = buses[attribute(disk, 'disk-interface')] ?? ('virtio' as const)
    return [{ diskId, bus, isBoot: attribute(disk, 'boot') === 'true' }]
  })
  const once = found.filter(({ diskId }, i) => found.findIndex(other => other.diskId === diskId) === i)
  return once.toSorted((a, b) => Number(b.isBoot) - Number(a.isBoot))
}

const buses: Record<string, OvfDisk['bus']> = {
  VirtIO: 'virtio',
  VirtIO_SCSI: 'scsi',
  IDE: 'sata',
  SATA: 'sata'
}

const bare = (name: string) => name.slice(name.indexOf(':') + 1)
const find = ({ children }: XmlElement, wanted: string) => children.find(({ name }) => bare(name) === wanted)
const hasElement = (from: XmlElement, wanted: string) => find(from, wanted) !== undefined
const textOf = (from: XmlElement | undefined, wanted: string): string =>
  (from && find(from, wanted)?.text.trim()) || ''

function numberOf(from: XmlElement | undefined, wanted: string, least: number, most: number): number {
  const text = textOf(from, wanted)
  const value = /^\d{1,9}$/.test(text) ? Number(text) : least
  return Math.min(Math.max(value, least), most)
}

/** One line of what people can see. */
const plain = (text: string, most: number) =>
  [...text.replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, ' ').trim()].slice(0, most).join('')
