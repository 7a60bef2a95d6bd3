// The subset of XDR (RFC 4506) that libvirt uses. A codec is a value: the table of procedures is built of
// them, and TypeScript infers argument and result types from it. `layout` is the same fact as text, for the
// tests that compare the table with other people's.

export type Codec<T> = {
  readonly layout: string
  write(to: XdrWriter, value: T): void
  read(from: XdrReader): T
}
export type Fields = Record<string, Codec<unknown>>
export type ValueOf<C> = C extends Codec<infer T> ? T : never
export type StructOf<F> = { [K in keyof F]: ValueOf<F[K]> }

/** The default limit of libvirt for strings and opaque bytes. */
export const maxString = 4 * 2 ** 20

/** Bytes that do not fit the layout, or a value that does not fit the wire. */
export class XdrError extends Error {
  override readonly name = 'XdrError'
}

/** Grows by doubling; `finish` gives the bytes written. */
export class XdrWriter {
  #buffer = Buffer.allocUnsafe(256)
  #length = 0

  /** Room for `size` more bytes, padded with zeros to a multiple of 4; gives where they begin. */
  reserve(size: number): { buffer: Buffer; at: number } {
    const padded = (size + 3) & ~3
    const at = this.#length
    if (at + padded > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, at + padded))
      this.#buffer.copy(larger, 0, 0, at)
      this.#buffer = larger
    }
    if (padded > size) this.#buffer.fill(0, at + size, at + padded)
    this.#length = at + padded
    return { buffer: this.#buffer, at }
  }

  finish(): Buffer {
    return this.#buffer.subarray(0, this.#length)
  }
}

/** Never reads past the packet, and never allocates more than the packet could fill. */
export class XdrReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  take(size: number): Buffer {
    const padded = Math.ceil(size / 4) * 4
    if (padded > this.left) throw new XdrError(`${padded} bytes wanted, ${this.left} left`)
    const part = this.#bytes.subarray(this.#at, this.#at + size)
    this.#at += padded
    return part
  }

  u32(): number {
    return this.take(4).readUInt32BE()
  }
}

export const i32: Codec<number> = {
  layout: 'i',
  write: (to, value) => {
    if (!Number.isInteger(value) || value < -0x80000000 || value > 0x7fffffff) throw wrong('int', value)
    const { buffer, at } = to.reserve(4)
    buffer.writeInt32BE(value, at)
  },
  read: from => from.take(4).readInt32BE()
}

export const u32: Codec<number> = {
  layout: 'u',
  write: (to, value) => {
    if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) throw wrong('unsigned int', value)
    const { buffer, at } = to.reserve(4)
    buffer.writeUInt32BE(value, at)
  },
  read: from => from.u32()
}

export const i64: Codec<bigint> = {
  layout: 'I',
  write: (to, value) => {
    if (BigInt.asIntN(64, value) !== value) throw wrong('hyper', value)
    const { buffer, at } = to.reserve(8)
    buffer.writeBigInt64BE(value, at)
  },
  read: from => from.take(8).readBigInt64BE()
}

export const u64: Codec<bigint> = {
  layout: 'U',
  write: (to, value) => {
    if (BigInt.asUintN(64, value) !== value) throw wrong('unsigned hyper', value)
    const { buffer, at } = to.reserve(8)
    buffer.writeBigUInt64BE(value, at)
  },
  read: from => from.take(8).readBigUInt64BE()
}

export const double: Codec<number> = {
  layout: 'd',
  write: (to, value) => {
    const { buffer, at } = to.reserve(8)
    buffer.writeDoubleBE(value, at)
  },
  read: from => from.take(8).readDoubleBE()
}

/** unsigned char and unsigned short take four bytes like everything else. */
const narrow = (layout: string, most: number): Codec<number> => ({
  layout,
  write: (to, value) => {
    if (value > most) throw wrong(layout, value)
    u32.write(to, value)
  },
  read: from => {
    const value = from.u32()
    if (value > most) throw new XdrError(`${value} does not fit ${layout}`)
    return value
  }
})
export const u8 = narrow('u8', 0xff)
export const u16 = narrow('u16', 0xffff)

export const i8: Codec<number> = {
  layout: 'i8',
  write: (to, value) => {
    if (value < -0x80 || value > 0x7f) throw wrong('char', value)
    i32.write(to, value)
  },
  read: from => {
    const value = i32.read(from)
    if (value < -0x80 || value > 0x7f) throw new XdrError(`${value} does not fit a char`)
    return value
  }
}

/** Raw bytes with a length. What is read is a copy: it must not keep the whole packet alive. */
export const bytes = (most = maxString): Codec<Buffer> => ({
  layout: 'b',
  write: (to, value) => {
    if (value.length > most) throw new XdrError(`${value.length} bytes, at most ${most} fit`)
    u32.write(to, value.length)
    const { buffer, at } = to.reserve(value.length)
    value.copy(buffer, at)
  },
  read: from => Buffer.from(from.take(lengthWithin(from, most)))
})

export const str: Codec<string> = {
  layout: 's',
  write: (to, value) => {
    const size = Buffer.byteLength(value)
    if (size > maxString) throw new XdrError(`a text of ${size} bytes, at most ${maxString} fit`)
    if (value.includes('\0')) throw new XdrError('a NUL in a text: libvirtd would cut it there')
    u32.write(to, size)
    const { buffer, at } = to.reserve(size)
    buffer.write(value, at)
  },
  read: from => from.take(lengthWithin(from, maxString)).toString()
}

/** char[n]: one character to every four bytes, ended by a zero. */
export const chars = (count: number): Codec<string> => ({
  layout: `i8×${count}`,
  write: (to, value) => {
    const text = Buffer.from(value)
    if (text.length > count) throw new XdrError(`"${value}" is longer than ${count}`)
    for (let index = 0; index < count; index++) i32.write(to, Buffer.from([text[index] ?? 0]).readInt8())
  },
  read: from => {
    const text = Buffer.from(Array.from({ length: count }, () => i32.read(from)))
    const end = text.indexOf(0)
    return text.subarray(0, end < 0 ? count : end).toString()
  }
})

const hyphenated = /^([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})$/

/** opaque[16], without a length. */
export const uuid: Codec<string> = {
  layout: 'uuid',
  write: (to, value) => {
    if (!hyphenated.test(value)) throw wrong('uuid', value)
    const { buffer, at } = to.reserve(16)
    buffer.write(value.replaceAll('-', ''), at, 'hex')
  },
  read: from =>
    from
      .take(16)
      .toString('hex')
      .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

/** Absent is null, and not the same as an empty text. */
export const optional = <T>(inner: Codec<T>): Codec<T | null> => ({
  layout: `${inner.layout}?`,
  write: (to, value) => {
    u32.write(to, value === null ? 0 : 1)
    if (value !== null) inner.write(to, value)
  },
  read: from => {
    const present = from.u32()
    if (present > 1) throw new XdrError(`${present} where 0 or 1 tells whether a value follows`)
    return present === 1 ? inner.read(from) : null
  }
})

export const array = <T>(inner: Codec<T>, most: number): Codec<T[]> => ({
  layout: `${inner.layout}[]`,
  write: (to, values) => {
    if (values.length > most) throw new XdrError(`${values.length} items, at most ${most} fit`)
    u32.write(to, values.length)
    for (const value of values) inner.write(to, value)
  },
  read: from => {
    const count = from.u32()
    // Every item takes four bytes at least, so a huge count cannot make us allocate.
    if (count > most || count > from.left / 4) throw new XdrError(`${count} items announced`)
    const values: T[] = []
    for (let index = 0; index < count; index++) values.push(inner.read(from))
    return values
  }
})

/** Fields in the order in which they are written here. */
export function struct<F extends Fields>(fields: F): Codec<StructOf<F>> {
  const entries = Object.entries(fields)
  return {
    layout: `{${entries.map(([, codec]) => codec.layout).join(' ')}}`,
    write: (to, value) => {
      const given: Record<string, unknown> = value
      for (const [name, codec] of entries) {
        try {
          codec.write(to, given[name])
        } catch (error) {
          if (!(error instanceof XdrError)) throw error
          throw new XdrError(`${name}: ${error.message}`)
        }
      }
    },
    read: from => Object.fromEntries(entries.map(([name, codec]) => [name, codec.read(from)])) as StructOf<F>
  }
}

export function encode<T>(codec: Codec<T>, value: T): Buffer {
  const writer = new XdrWriter()
  codec.write(writer, value)
  return writer.finish()
}

/** All of the bytes, or an XdrError: a rest means that our layout is not libvirt's. */
export function decode<T>(codec: Codec<T>, payload: Buffer): T {
  const reader = new XdrReader(payload)
  const value = codec.read(reader)
  if (reader.left > 0) throw new XdrError(`${reader.left} bytes left over`)
  return value
}

function lengthWithin(from: XdrReader, most: number): number {
  const length = from.u32()
  if (length > most) throw new XdrError(`a length of ${length}, at most ${most} allowed`)
  return length
}

const wrong = (type: string, value: unknown) => new XdrError(`${String(value)} is no ${type}`)
