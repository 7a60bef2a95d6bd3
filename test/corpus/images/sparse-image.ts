import { open } from 'node:fs/promises'
import type { ImageReader } from '../../../storage/image-inspector.js'

export type Piece = { at: bigint; bytes: Buffer }

/** The bytes of an image of any size, without holding its holes. */
export class SparseImage implements ImageReader {
  readonly size: bigint
  readonly pieces: Piece[]
  reads = 0
  bytesRead = 0

  constructor(size: bigint, pieces: Piece[]) {
    this.size = size
    this.pieces = pieces
  }

  static of(bytes: Buffer): SparseImage {
    return new SparseImage(BigInt(bytes.length), [{ at: 0n, bytes }])
  }

  async read(offset: bigint, length: number): Promise<Buffer> {
    this.reads++
    this.bytesRead += length
    const left = this.size - offset
    const block = Buffer.alloc(left < BigInt(length) ? Number(left) : length)
    for (const { at, bytes } of this.pieces) {
      const skip = at - offset
      if (skip >= BigInt(block.length) || skip + BigInt(bytes.length) <= 0n) continue
      if (skip >= 0n) bytes.copy(block, Number(skip))
      else bytes.copy(block, 0, Number(-skip))
    }
    return block
  }

  /** With more bytes written over it. */
  with(...pieces: Piece[]): SparseImage {
    const end = pieces.reduce((most, { at, bytes }) => {
      const last = at + BigInt(bytes.length)
      return last > most ? last : most
    }, this.size)
    return new SparseImage(end, [...this.pieces, ...pieces])
  }

  async writeTo(path: string): Promise<void> {
    await using file = await open(path, 'w')
    await file.truncate(Number(this.size))
    for (const { at, bytes } of this.pieces) await file.write(bytes, 0, bytes.length, Number(at))
  }
}
