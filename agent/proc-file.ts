import { closeSync, openSync, readSync } from 'node:fs'

const buffer = Buffer.alloc(16 * 1024)

/**
 * A file of /proc that is read again and again: it stays open, and each read is in place. Such a read never
 * waits and takes a few microseconds; through the thread pool it would cost many times as much.
 */
export class ProcFile {
  readonly #file: number

  /** Throws if there is no such file. */
  constructor(path: string) {
    this.#file = openSync(path, 'r')
  }

  /** Its beginning, 16 KiB at most. Throws when what it tells of is gone. */
  read(): string {
    return buffer.toString('latin1', 0, readSync(this.#file, buffer, 0, buffer.length, 0))
  }

  close(): void {
    closeSync(this.#file)
  }
}
