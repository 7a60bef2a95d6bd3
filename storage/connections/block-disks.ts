import { isWwid } from '../../common/address-rules.js'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { type Bytes, bytes } from '../../common/units.js'
import { ifThere } from '../files.js'

// The disks of this host as /sys shows them. Reading it starts no I/O on any of them.

/** A whole disk (no partition): a SCSI or NVMe disk, or a device-mapper device. */
export type BlockDisk = {
  /** The kernel's name: sda, nvme0n1, dm-3. */
  name: string
  size: Bytes
  sectorSize: number
  isReadOnly: boolean
  /** As multipath and udev spell it: "3" and the NAA number, and so on. Null of a disk that has none. */
  wwid: string | null
  vendor: string
  product: string
  serial: string
  /** "3:0:0:1" for SCSI. */
  address: string | null
  transport: 'iscsi' | 'fc' | 'nvme' | 'other'
  /** "running", "offline", "transport-offline", "blocked"; empty where there is no such thing. */
  state: string
  partitions: string[]
  /** Devices that lie on it or its partitions, and what it lies on itself; kernel names. */
  holders: string[]
  slaves: string[]
  /** Name and identifier in device-mapper. */
  mapper: { name: string; uuid: string } | null
}

export async function readBlockDisks(sys = '/sys'): Promise<BlockDisk[]> {
  const names = (await ifThere(readdir(`${sys}/block`))) ?? []
  const wanted = names.filter(name => /^(sd[a-z]+|nvme\d+n\d+|dm-\d+)$/.test(name))
  const disks = await Promise.all(wanted.map(name => readDisk(sys, name)))
  return disks.filter(disk => disk !== null)
}

async function readDisk(sys: string, name: string): Promise<BlockDisk | null> {
  const folder = `${sys}/block/${name}`
  const text = (path: string) =>
    readFile(`${folder}/${path}`, 'latin1').then(
      content => content.trim(),
      () => ''
    )
  const list = (path: string) => readdir(`${folder}/${path}`).catch(() => [] as string[])
  const link = await readlink(folder).catch(() => '')
  const device = await readlink(`${folder}/device`).catch(() => '')
  const [size, sector, readOnly, wwid, ownWwid, vendor, model, serial, nvmeSerial, state, entries] =
    await Promise.all([
      text('size'),
      text('queue/logical_block_size'),
      text('ro'),
      text('device/wwid'),
      text('wwid'),
      text('device/vendor'),
      text('device/model'),
      text('device/vpd_pg80'),
      text('device/serial'),
      text('device/state'),
      list('.')
    ])
  // It may have gone while we looked.
  if (size === '') return null
  const partitions = entries.filter(entry => entry.startsWith(name))
  const holders = await Promise.all(['holders', ...partitions.map(each => `${each}/holders`)].map(list))
  const mapper = name.startsWith('dm-') ? { name: await text('dm/name'), uuid: await text('dm/uuid') } : null
  return {
    name,
    size: bytes(Number(size) * 512),
    sectorSize: Number(sector) || 512,
    isReadOnly: readOnly === '1',
    wwid: mapper ? multipathWwid(mapper.uuid) : parseWwid(wwid || ownWwid),
    vendor,
    product: model,
    serial: printable(serial) || nvmeSerial,
    address: /(\d+:\d+:\d+:\d+)$/.exec(device)?.[1] ?? null,
    transport: transportOf(link, name),
    state: mapper ? '' : state,
    partitions,
    holders: holders.flat(),
    slaves: await list('slaves'),
    mapper
  }
}

/** Page 0x80: four bytes of header, then the number. */
const printable = (text: string) => text.replace(/[^\x20-\x7e]/g, '').trim()

function transportOf(link: string, name: string): BlockDisk['transport'] {
  if (/\/session\d+\//.test(link)) return 'iscsi'
  if (/\/rport-\d+/.test(link)) return 'fc'
  return name.startsWith('nvme') ? 'nvme' : 'other'
}

/** The kernel says "naa.600…"; udev, multipath and so every host of an installation say "3600…". */
export function parseWwid(text: string): string | null {
  const [, kind = '', value = ''] = /^(naa|eui|t10|uuid|nvme)\.(.+)$/.exec(text.trim()) ?? []
  const plain = value.trim().replace(/\s+/g, '_')
  const wwid = { naa: `3${plain}`, eui: `2${plain}`, t10: `1${plain}` }[kind] ?? (kind && `${kind}.${plain}`)
  return wwid && isWwid(wwid) ? wwid : null
}

const multipathWwid = (uuid: string) => {
  const wwid = uuid.startsWith('mpath-') ? uuid.slice('mpath-'.length) : ''
  return isWwid(wwid) ? wwid : null
}
