import { sleep, systemClock } from '../common/clock.js'
import { seconds } from '../common/units.js'
import { Fault } from '../common/fault.js'
import { readDirect } from './direct-io.js'
import { FormatError } from './format/format-error.js'
import { lvmChecksum } from './format/lvm-checksum.js'
import { isWholeAreaHeader, type MetadataArea, readAreaHeader, readPvLabel } from './format/lvm-label.js'
import { type LvmGroup, readLvmGroup } from './format/lvm-text.js'

// LVM's metadata, read in this process straight from the physical volumes: a read can never write, needs no
// program, and costs a few direct reads of 4 KiB while nothing has changed. A commit of LVM ends with one write of
// the header of each of two areas. A copy that fails its checksum is being written, or is damaged: the other one
// counts, as for LVM itself; when none is left, all are read again.

export type GroupReading = {
  group: LvmGroup
  /** The device of each PV that is here, by the name the text gives it. */
  devices: ReadonlyMap<string, string>
  /** PVs that the text names and no device is. */
  missing: string[]
  /** Devices with a metadata area in use: exactly one on a sound storage domain. */
  metadataDevices: string[]
  /** Room for LVM's text in one area, and how much of it the text takes. */
  textSize: number
  areaSize: number
  /** Copies of the metadata that could not be read. */
  damaged: number
}

type Label = { pvId: string; areas: MetadataArea[] }
type Labels = Map<string, Label>
type Header = { device: string; area: MetadataArea; bytes: Buffer; isWhole: boolean }

const attempts = 20
const betweenAttempts = seconds(0.025)
const never = new AbortController().signal
const block = 4096

/** The volume group on some devices; null when none of them is a PV of it. */
export class LvmReader {
  readonly #vg: string
  #devices: readonly string[]
  #labels: Labels = new Map()
  #cached: { seen: string; reading: GroupReading } | null = null

  constructor(vg: string, devices: readonly string[]) {
    this.#vg = vg
    this.#devices = devices
  }

  /** After PVs were made or added: what a label said may be old. */
  forget(devices?: readonly string[]): void {
    if (devices) this.#devices = devices
    this.#labels = new Map()
    this.#cached = null
  }

  get devices(): readonly string[] {
    return this.#devices
  }

  async read(): Promise<GroupReading | null> {
    let last: unknown = null
    for (let attempt = 0; attempt < attempts; attempt++) {
      try {
        return await this.#readOnce()
      } catch (error) {
        if (!(error instanceof FormatError)) throw error
        // Somebody commits at this moment, or the metadata is damaged: a few tenths of a second tell which.
        last = error
        this.#labels = new Map()
        await sleep(systemClock, betweenAttempts, never)
      }
    }
    throw new Fault('CORRUPT', `LVM's metadata of ${this.#vg} cannot be read`, { cause: last })
  }

  async #readOnce(): Promise<GroupReading | null> {
    // Other reads, and a change of the devices, may come in between.
    const labels = this.#labels
    for (const device of this.#devices) await readLabel(device, labels)
    const headers: Header[] = []
    for (const [device, { areas }] of labels) {
      for (const area of areas) headers.push(await headerOf(device, area))
    }
    throwIfTwins(labels)
    const seen = headers.map(({ bytes }) => bytes.toString('latin1', 0, 128)).join()
    if (this.#cached?.seen === seen) return this.#cached.reading
    const reading = await this.#readText(headers, labels)
    if (labels === this.#labels) this.#cached = reading === null ? null : { seen, reading }
    return reading
  }

  async #readText(headers: Header[], labels: Labels): Promise<GroupReading | null> {
    let best: { group: LvmGroup; text: Buffer; area: MetadataArea } | null = null
    const inUse = new Set<string>()
    let damaged = 0
    for (const { device, area, bytes, isWhole } of headers) {
      if (!isWhole) {
        damaged++
        continue
      }
      const place = readAreaHeader(bytes, area)
      if (place === null) continue
      const parts = []
      for (const { offset, length } of place.parts) parts.push(await readAt(device, Number(offset), length))
      const text = Buffer.concat(parts)
      if (lvmChecksum(text) !== place.checksum) {
        damaged++
        continue
      }
      const group = readLvmGroup(text.toString('utf8').replace(/\0+$/, ''))
      if (group.name !== this.#vg) continue
      inUse.add(device)
      if (best === null || group.seqno > best.group.seqno) best = { group, text, area }
    }
    if (best === null && damaged > 0) {
      throw new FormatError('invalid', "no copy of LVM's metadata passes its checksum")
    }
    if (best === null) return null
    const byId = new Map([...labels].map(([device, { pvId }]) => [pvId, device]))
    const devices = new Map<string, string>()
    const missing: string[] = []
    for (const { name, uuid } of best.group.pvs) {
      const device = byId.get(uuid.replaceAll('-', ''))
      if (device === undefined) missing.push(uuid)
      else devices.set(name, device)
    }
    return {
      group: best.group,
      devices,
      missing,
      metadataDevices: [...inUse],
      textSize: best.text.length,
      areaSize: Number(best.area.size),
      damaged
    }
  }
}

/** A copy of a LUN beside its original: nobody can tell which of them LVM would write to. */
function throwIfTwins(labels: Labels): void {
  const byId = new Map<string, string>()
  for (const [device, { pvId }] of labels) {
    const other = byId.get(pvId)
    if (other !== undefined) {
      throw new Fault('WRONG_STATE', `the devices ${other} and ${device} have the same id; one is a copy`)
    }
    byId.set(pvId, device)
  }
}

async function readLabel(device: string, labels: Labels): Promise<void> {
  if (labels.has(device)) return
  const start = await readDirect(device, 0, block)
  try {
    labels.set(device, readPvLabel(start))
  } catch (error) {
    if (!(error instanceof FormatError) || error.reason !== 'missing') throw error
  }
}

async function headerOf(device: string, area: MetadataArea): Promise<Header> {
  const bytes = await readAt(device, Number(area.offset), 512)
  return { device, area, bytes, isWhole: isWholeAreaHeader(bytes) }
}

/** Direct reads begin and end on blocks. */
async function readAt(device: string, at: number, length: number): Promise<Buffer> {
  const start = at - (at % block)
  const whole = await readDirect(device, start, Math.ceil((at + length - start) / block) * block)
  return whole.subarray(at - start, at - start + length)
}

/** The name of the VG whose metadata a device holds, if it holds any. */
export async function groupOn(device: string): Promise<{ pvId: string; vg: string | null } | null> {
  let label: Label
  try {
    label = readPvLabel(await readDirect(device, 0, block))
  } catch (error) {
    if (error instanceof FormatError) return null
    throw error
  }
  for (const area of label.areas) {
    const { bytes, isWhole } = await headerOf(device, area)
    const [first] = (isWhole ? readAreaHeader(bytes, area)?.parts : null) ?? []
    if (first === undefined) continue
    const name = /^\s*([\w.+-]+) \{/.exec(
      (await readAt(device, Number(first.offset), 512)).toString('latin1')
    )
    return { pvId: label.pvId, vg: name?.[1] ?? null }
  }
  return { pvId: label.pvId, vg: null }
}
