import { bytes } from '../../common/units.js'
import { readDirect } from '../direct-io.js'
import { readAreaHeader, readPvLabel } from '../format/lvm-label.js'
import { readLvmGroup } from '../format/lvm-text.js'
import { type LunContent, type LvmFound, mostLvmText, recogniseContents } from './lun-contents.js'

// A program of its own: `node lun-probe.js DEVICE=SIZE …` reads the ends of disks, all at once, and prints a line of
// JSON for each as soon as it is done. A disk that hangs keeps this process from ending, and nobody else.

export type ProbeLine =
  { begun: true } | { device: string; contents: LunContent[] } | { device: string; problem: string }

const mib = 2 ** 20

export async function probeDisk(path: string, size: number): Promise<LunContent[]> {
  const start = await readDirect(path, bytes(0), Math.min(size, mib + 4096))
  const tail = Math.max(0, size - mib)
  const end = await readDirect(path, bytes(tail), Math.min(size, mib))
  return recogniseContents(start, end, await readLvm(path, start))
}

/** Which VG a PV belongs to. A PV whose metadata we cannot read is a PV all the same. */
async function readLvm(path: string, start: Buffer): Promise<LvmFound | null> {
  let label
  try {
    label = readPvLabel(start)
  } catch {
    return null
  }
  for (const area of label.areas) {
    try {
      const from = Number(area.offset)
      const place = readAreaHeader(await readDirect(path, bytes(from), 4096), area)
      const length = place?.parts.reduce((sum, part) => sum + part.length, 0) ?? 0
      if (place === null || length > mostLvmText) continue
      const parts: string[] = []
      for (const part of place.parts) parts.push(await readText(path, Number(part.offset), part.length))
      const group = readLvmGroup(parts.join(''))
      return { pvId: label.pvId, vg: group.name, tags: group.tags }
    } catch {
      continue
    }
  }
  return { pvId: label.pvId, vg: null, tags: [] }
}

/** Direct reads begin at whole sectors. */
async function readText(path: string, from: number, length: number): Promise<string> {
  const aligned = from - (from % 4096)
  const whole = await readDirect(path, bytes(aligned), from - aligned + length)
  return whole.toString('latin1', from - aligned)
}

async function main(disks: string[]): Promise<void> {
  process.stdout.write('{"begun":true}\n')
  await Promise.all(
    disks.map(async disk => {
      const [device = '', size = ''] = disk.split('=')
      const line: ProbeLine = await probeDisk(device, Number(size)).then(
        contents => ({ device, contents }),
        (error: unknown) => ({ device, problem: error instanceof Error ? error.message : String(error) })
      )
      process.stdout.write(`${JSON.stringify(line)}\n`)
    })
  )
}

if (process.argv[1] === import.meta.filename) await main(process.argv.slice(2))
