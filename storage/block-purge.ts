import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { Fault } from '../common/fault.js'
import type { Run } from '../common/run.js'
import type { Bytes } from '../common/units.js'
import type { BlockGroup } from './block-group.js'
import { ifThere } from './files.js'
import { qemuImgCall } from './qemu-img-args.js'

// What becomes of the bytes of volumes that are about to be removed. They still are ours: until LVM's metadata lets go
// of their extents nobody else gets them.

/** Zeroes over all of it; whatever cannot be zeroed is not removed. */
export async function wipeVolume(
  group: BlockGroup,
  run: Run,
  { name, size }: { name: string; size: Bytes },
  signal: AbortSignal
): Promise<void> {
  await group.activate([name], signal)
  await start(run, { kind: 'zeroDevice', path: await group.device(name), length: size }, signal)
}

/** Tells the storage that the bytes are not needed any more. Where it cannot be told, nothing is lost but room there. */
export async function discardVolumes(
  group: BlockGroup,
  run: Run,
  names: readonly string[],
  signal: AbortSignal
): Promise<void> {
  if (!(await takesDiscards(group))) return
  for (const name of names) {
    signal.throwIfAborted()
    try {
      await group.activate([name], signal)
      await start(run, { kind: 'discardDevice', path: await group.device(name) }, signal)
    } catch (error) {
      if (!(error instanceof Fault)) throw error
    }
  }
}

type Command = Parameters<typeof qemuImgCall>[0]

async function start(run: Run, command: Command, signal: AbortSignal): Promise<void> {
  const [program = '', ...args] = qemuImgCall(command).argv
  await run(program, args, signal)
}

/** Whether every device of the VG says that it does. */
async function takesDiscards(group: BlockGroup): Promise<boolean> {
  const { reading } = await group.read()
  for (const device of reading.devices.values()) {
    const file = `/sys/class/block/${basename(device)}/queue/discard_max_bytes`
    if (Number((await ifThere(readFile(file, 'utf8'))) ?? 0) === 0) return false
  }
  return true
}
