import { constants, open, type FileHandle } from 'node:fs/promises'
import { bytes, type Bytes } from '../common/units.js'

declare const WebAssembly: { Memory: new (size: { initial: number }) => { buffer: ArrayBuffer } }

const sliceSize = 256 * 1024
const slices = 16

/**
 * Memory that O_DIRECT accepts. A Buffer may start at any multiple of 16, while the memory of WebAssembly
 * starts at a page and never moves. Each reserves gigabytes of address space (not of memory): one is made
 * at the first use, and lent out in slices.
 */
class AlignedMemory {
  #free: Buffer[] | null = null
  readonly #waiting: Array<(slice: Buffer) => void> = []

  async borrow(): Promise<{ slice: Buffer } & Disposable> {
    this.#free ??= makeSlices()
    const slice = this.#free.pop() ?? (await new Promise<Buffer>(resolve => this.#waiting.push(resolve)))
    return { slice, [Symbol.dispose]: () => this.#giveBack(slice) }
  }

  #giveBack(slice: Buffer): void {
    const next = this.#waiting.shift()
    if (next) next(slice)
    else this.#free?.push(slice)
  }
}

function makeSlices(): Buffer[] {
  const page = 65536
  const memory = new WebAssembly.Memory({ initial: (sliceSize * slices) / page })
  return Array.from({ length: slices }, (_, i) => Buffer.from(memory.buffer, i * sliceSize, sliceSize))
}

const memory = new AlignedMemory()
const step = 4096

/** Opens past every cache: what another host wrote is what we read. A file system without O_DIRECT gets plain I/O. */
async function openDirect(path: string, flags: number): Promise<FileHandle> {
  try {
    return await open(path, flags | constants.O_DIRECT | constants.O_NOFOLLOW)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EINVAL')) throw error
    return open(path, flags | constants.O_NOFOLLOW)
  }
}

/** Whether the file system lets programs past its cache: what QEMU is told of a disk. */
export async function takesDirectIo(path: string): Promise<boolean> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_DIRECT)
    await file.close()
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EINVAL') return false
    throw error
  }
}

/** Up to `length` bytes from `at` (a multiple of the sector size); fewer at the end of the file. */
export async function readDirect(path: string, at: number, length: number): Promise<Buffer> {
  const file = await openDirect(path, constants.O_RDONLY)
  try {
    using borrowed = await memory.borrow()
    const parts: Buffer[] = []
    for (let done = 0; done < length;) {
      const wanted = Math.min(sliceSize, Math.ceil((length - done) / step) * step)
      const { bytesRead } = await file.read(borrowed.slice, 0, wanted, at + done)
      parts.push(Buffer.from(borrowed.slice.subarray(0, bytesRead)))
      done += bytesRead
      if (bytesRead < wanted) break
    }
    return Buffer.concat(parts).subarray(0, length)
  } finally {
    await file.close()
  }
}

/** Writes whole sectors and waits until they are on storage. */
export async function writeDirect(path: string, at: Bytes, content: Buffer): Promise<void> {
  const file = await openDirect(path, constants.O_RDWR | constants.O_DSYNC)
  try {
    using borrowed = await memory.borrow()
    for (let done = 0; done < content.length;) {
      const part = content.subarray(done, done + sliceSize)
      part.copy(borrowed.slice)
      const { bytesWritten } = await file.write(borrowed.slice, 0, part.length, at + done)
      if (bytesWritten < part.length)
        throw new RangeError(`wrote ${bytesWritten} of ${part.length} bytes to ${path}`)
      done += bytesWritten
    }
  } finally {
    await file.close()
  }
}

/** One block, for measuring how long the storage takes to answer. */
export async function touchDirect(path: string): Promise<void> {
  await readDirect(path, bytes(0), step)
}
