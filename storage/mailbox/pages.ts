import { constants, open, type FileHandle } from 'node:fs/promises'
import { pageSize } from '../format/mailbox.js'

declare const WebAssembly: { Memory: new (size: { initial: number }) => { buffer: ArrayBuffer } }

/** What the two sides of the mailbox need of `inbox` and `outbox`. */
export type Pages = {
  /** `count` pages from the page `first`. */
  read(first: number, count: number): Promise<Buffer>
  /** One or more whole pages; on storage when it returns. */
  write(first: number, content: Buffer): Promise<void>
  close(): Promise<void>
}

const roomPages = 256
const bytesOfWasmPage = 65536

/**
 * A special volume read and written past every cache through a file that stays open: a look costs one system
 * call. The memory that O_DIRECT accepts is one piece, so one transfer goes at a time.
 */
export class DirectPages implements Pages {
  readonly #file: FileHandle
  readonly #room: Buffer
  #turn: Promise<unknown> = Promise.resolve()

  private constructor(file: FileHandle, room: Buffer) {
    this.#file = file
    this.#room = room
  }

  static async open(path: string): Promise<DirectPages> {
    const flags = constants.O_RDWR | constants.O_DSYNC
    // A file system without O_DIRECT gets plain I/O.
    const file = await open(path, flags | constants.O_DIRECT).catch((error: unknown) => {
      if (!(error instanceof Error && 'code' in error && error.code === 'EINVAL')) throw error
      return open(path, flags)
    })
    const memory = new WebAssembly.Memory({ initial: (roomPages * pageSize) / bytesOfWasmPage })
    return new DirectPages(file, Buffer.from(memory.buffer))
  }

  read(first: number, count: number): Promise<Buffer> {
    return this.#inTurn(async () => {
      const length = count * pageSize
      const { bytesRead } = await this.#file.read(this.#room, 0, length, first * pageSize)
      if (bytesRead < length) throw new RangeError(`read ${bytesRead} of ${length} bytes of the mailbox`)
      return Buffer.from(this.#room.subarray(0, length))
    })
  }

  write(first: number, content: Buffer): Promise<void> {
    return this.#inTurn(async () => {
      content.copy(this.#room)
      const { bytesWritten } = await this.#file.write(this.#room, 0, content.length, first * pageSize)
      if (bytesWritten < content.length) {
        throw new RangeError(`wrote ${bytesWritten} of ${content.length} bytes of the mailbox`)
      }
    })
  }

  close(): Promise<void> {
    return this.#inTurn(() => this.#file.close())
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work)
    this.#turn = mine.catch(() => {})
    return mine
  }
}
