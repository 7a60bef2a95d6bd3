import { Fault } from '../common/fault.js'
import type { ImageFile } from './image-inspector/image-file.js'
import { isUuid } from './format/uuid.js'
import type { Operation } from './operation.js'
import type { Place } from './storage-domain.js'

// oVirt keeps the definitions of VMs and templates with their disks: a raw volume of content OVFS that holds a tar
// file, one `<id>.ovf` each. There are two, written in turn; the later one counts. What stands there may be anything.

export type OvfEntry = { id: string; ovf: string }

const blockSize = 512
const largestStore = 512 * 2 ** 20
const largestEntry = 4 * 2 ** 20
const mostEntries = 10_000

/** The definitions on a storage domain; of the newest store that can be read. */
export async function readOvfStores(op: Operation, signal: AbortSignal): Promise<OvfEntry[]> {
  const stores = (await storesIn(op)).toSorted((a, b) => b.updated - a.updated)
  let last: Fault | null = null
  for (const { place } of stores) {
    signal.throwIfAborted()
    try {
      return await readStore(op, place, signal)
    } catch (error) {
      if (!(error instanceof Fault)) throw error
      last = error
      op.log.warn({ err: error, image: place.imageId }, 'an OVF store cannot be read')
    }
  }
  if (last !== null) throw last
  return []
}

async function storesIn({ storageDomain: { volumes } }: Operation) {
  const stores: Array<{ place: Place; updated: number }> = []
  for (const imageId of await volumes.imageIds()) {
    for (const volumeId of (await volumes.volumeIds(imageId)) ?? []) {
      const place = { imageId, volumeId }
      const metadata = await volumes.read(place).catch(() => null)
      if (metadata?.diskContent !== 'OVFS' || metadata.format !== 'raw') continue
      stores.push({ place, updated: updatedIn(metadata.description) })
    }
  }
  return stores
}

/** `"Last Updated":"Thu Oct 20 09:55:28 UTC 2016"`; 0 of what says nothing. */
function updatedIn(description: string): number {
  const [, month = '', day = '', time = '', zone = '', year = ''] =
    /"Last Updated":"\w{3} (\w{3}) (\d{1,2}) ([\d:]{8}) (\w{3,5}) (\d{4})"/.exec(description) ?? []
  return Date.parse(`${month} ${day}, ${year} ${time} ${zone}`) || 0
}

async function readStore(op: Operation, place: Place, signal: AbortSignal): Promise<OvfEntry[]> {
  const { volumes } = op.storageDomain
  await volumes.reach([place], signal)
  try {
    await using file = await volumes.openData(place)
    return await readTar(file, signal)
  } finally {
    await volumes.letGo(place.imageId)
  }
}

/** Only plain entries named `<id>.ovf`; everything else is passed over by its size. */
export async function readTar(
  file: Pick<ImageFile, 'size' | 'read'>,
  signal: AbortSignal
): Promise<OvfEntry[]> {
  const end = Math.min(Number(file.size), largestStore)
  const entries = new Map<string, string>()
  for (let at = 0, seen = 0; at + blockSize <= end; seen++) {
    signal.throwIfAborted()
    const header = await file.read(BigInt(at), blockSize)
    if (header.length < blockSize || header.every(byte => byte === 0)) break
    if (seen >= mostEntries) throw damaged(`more than ${mostEntries} entries`)
    const { name, size, isFile } = headerOf(header)
    const data = at + blockSize
    if (data + size > end) throw damaged(`entry ${name.slice(0, 64)} goes beyond its end`)
    const id = name.replace(/^\.\//, '').replace(/\.ovf$/, '')
    if (isFile && name.endsWith('.ovf') && isUuid(id)) {
      if (size > largestEntry) throw damaged(`entry ${id} has ${size} bytes`)
      entries.set(id, (await file.read(BigInt(data), size)).toString('utf8'))
    }
    at = data + Math.ceil(size / blockSize) * blockSize
  }
  return [...entries].map(([id, ovf]) => ({ id, ovf }))
}

function headerOf(header: Buffer): { name: string; size: number; isFile: boolean } {
  const text = (from: number, to: number) => header.toString('latin1', from, to).replace(/\0.*$/s, '')
  const octal = (from: number, to: number) => {
    const digits = text(from, to).trim()
    return /^[0-7]{1,12}$/.test(digits) ? Number.parseInt(digits, 8) : NaN
  }
  const sum = header.reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 32 : byte), 0)
  if (octal(148, 156) !== sum) throw damaged('a header fails its checksum')
  const size = octal(124, 136)
  if (Number.isNaN(size)) throw damaged('a header has no size')
  return { name: text(0, 100), size, isFile: ['0', '\0'].includes(String.fromCharCode(header[156] ?? 1)) }
}

const damaged = (why: string) => new Fault('CORRUPT', `the OVF store is no sound tar file: ${why}`)
