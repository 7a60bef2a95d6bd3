import { constants, open } from 'node:fs/promises'
import { Fault } from '../common/fault.js'
import { isCode } from './files.js'
import type { ImageReader } from './image-inspector.js'

/** A regular file for the inspector: opened once, never through a link, never a device or a pipe. */
export async function openImageFile(path: string): Promise<ImageReader & AsyncDisposable> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY
  const file = await open(path, flags).catch((cause: unknown) => {
    if (isCode(cause, 'ELOOP', 'ENXIO')) throw notRegular(cause)
    if (isCode(cause, 'ENOENT', 'ENOTDIR'))
      throw new Fault('NOT_FOUND', 'there is no such image file', { cause })
    throw cause
  })
  const { size, isRegular } = await file.stat({ bigint: true }).then(stats => {
    return { size: stats.size, isRegular: stats.isFile() }
  })
  if (!isRegular) {
    await file.close()
    throw notRegular()
  }
  return {
    size,
    read: async (offset, length) => {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, Number(offset))
      return buffer.subarray(0, bytesRead)
    },
    [Symbol.asyncDispose]: () => file.close()
  }
}

function notRegular(cause?: unknown): Fault {
  return new Fault('IMAGE_REFUSED', 'not-a-file: only regular files can be imported', {
    cause,
    facts: { rule: 'not-a-file' }
  })
}
