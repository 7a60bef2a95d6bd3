import { read } from 'node:fs'
import { constants, open } from 'node:fs/promises'
import type { ImageReader } from './bounded-reader.js'

export type ImageFile = ImageReader & AsyncDisposable

/** An image is a regular file: a link could lead anywhere, a pipe or a device could block or answer anything. */
export class NotAnImageFile extends Error {
  override readonly name = 'NotAnImageFile'
  readonly rule = 'not-a-file'
}

/** Opens a file for inspection. Following no link and never waiting for a pipe's other end. */
export async function openImageFile(path: string): Promise<ImageFile> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  const file = await open(path, flags).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ELOOP') throw new NotAnImageFile(`${path} is a link, not a file`, { cause: error })
    throw error
  })
  const status = await file.stat({ bigint: true })
  if (!status.isFile()) {
    await file.close()
    throw new NotAnImageFile(`${path} is not a file`)
  }
  return {
    size: status.size,
    read: (offset, length) => readAt(file.fd, offset, length),
    [Symbol.asyncDispose]: () => file.close()
  }
}

/** Positions beyond 2^53 need a bigint, which only the older interface of Node takes. */
async function readAt(fd: number, offset: bigint, length: number): Promise<Buffer> {
  const block = Buffer.alloc(length)
  let filled = 0
  while (filled < length) {
    const position = offset + BigInt(filled)
    const bytesRead = await readSome(fd, block.subarray(filled), position)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return block.subarray(0, filled)
}

function readSome(fd: number, block: Buffer, position: bigint): Promise<number> {
  return new Promise((resolve, reject) => {
    read(fd, block, 0, block.length, position, (error, bytesRead) => {
      if (error === null) resolve(bytesRead)
      else reject(error)
    })
  })
}
