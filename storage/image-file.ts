import { Fault } from '../common/fault.js'
import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { readDirect } from './direct-io.js'
import { isCode } from './files.js'
import {
  type ImageFile,
  NotAnImageFile,
  openImageFile as openRegularFile
} from './image-inspector/image-file.js'

/** A regular file for the inspector; what is none, or not there, is a fault that names the rule. */
export async function openImageFile(path: string): Promise<ImageFile> {
  try {
    return await openRegularFile(path)
  } catch (cause) {
    if (isCode(cause, 'ENOENT', 'ENOTDIR'))
      throw new Fault('NOT_FOUND', 'there is no such image file', { cause })
    if (!(cause instanceof NotAnImageFile) && !isCode(cause, 'ENXIO')) throw cause
    const text = `${new NotAnImageFile('').rule}: only regular files are images`
    throw new Fault('IMAGE_REFUSED', text, { cause, facts: { rule: 'not-a-file' } })
  }
}

const block = 4096

/** A logical volume of our own. Past every cache: another host may have written its header. */
export async function openDevice(path: string): Promise<ImageFile> {
  const sectors = Number(await readFile(`/sys/class/block/${basename(path)}/size`, 'utf8'))
  const read = async (offset: bigint, length: number) => {
    const before = Number(offset % BigInt(block))
    const wanted = Math.ceil((before + length) / block) * block
    return (await readDirect(path, Number(offset) - before, wanted)).subarray(before, before + length)
  }
  return { size: BigInt(sectors) * 512n, read, [Symbol.asyncDispose]: async () => {} }
}
