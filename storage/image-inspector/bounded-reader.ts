import type { Findings } from './findings.js'

/** Random access to the bytes of an image. `read` may return less at the end of the file, never more. */
export type ImageReader = {
  size: bigint
  read(offset: bigint, length: number): Promise<Buffer>
}

const mostReads = 64
const mostBytes = 2 * 2 ** 20

/**
 * What a hostile image can make us read is bounded, and no length found in it reaches an allocation unchecked.
 * Going over the budget is a finding, not an error: the image is refused.
 */
export class BoundedReader {
  readonly size: bigint
  readonly #reader: ImageReader
  readonly #findings: Findings
  #reads = 0
  #bytes = 0

  constructor(reader: ImageReader, findings: Findings) {
    this.size = reader.size
    this.#reader = reader
    this.#findings = findings
  }

  /** Exactly these bytes, or null (with a finding) when they are not all inside the file or beyond the budget. */
  async exactly(offset: bigint, length: number, what: string): Promise<Buffer | null> {
    if (offset < 0n || offset + BigInt(length) > this.size) {
      this.#findings.add('outside-file', `${what} at ${offset} is not inside the file`)
      return null
    }
    this.#reads++
    this.#bytes += length
    if (this.#reads > mostReads || this.#bytes > mostBytes) {
      this.#findings.add(
        'too-much-to-read',
        `${what} would be read beyond ${mostReads} reads or ${mostBytes} bytes`
      )
      return null
    }
    const bytes = await this.#reader.read(offset, length)
    if (bytes.length === length) return bytes
    this.#findings.add('outside-file', `${what} at ${offset} ended after ${bytes.length} bytes`)
    return null
  }

  /** As many of the bytes as there are. */
  async upTo(offset: bigint, length: number, what: string): Promise<Buffer> {
    const left = this.size - offset
    const wanted = left < BigInt(length) ? Number(left > 0n ? left : 0n) : length
    return wanted === 0 ? Buffer.alloc(0) : ((await this.exactly(offset, wanted, what)) ?? Buffer.alloc(0))
  }
}
