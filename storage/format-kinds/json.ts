import { type Bytes, bytes } from '../../common/units.js'
import { FormatError } from '../format/format-error.js'
import { alignments } from '../format/leases-layout.js'

export type Json = null | boolean | number | string | bigint | Json[] | { [key: string]: Json }
export type JsonObject = { [key: string]: Json }

const largest = BigInt(Number.MAX_SAFE_INTEGER)

/** Integers beyond 2^53-1 travel as text, because most readers of JSON would round them. */
export function printJson(value: Json): string {
  const plain = (_key: string, member: unknown) => {
    if (typeof member !== 'bigint') return member
    return member <= largest && member >= -largest ? Number(member) : String(member)
  }
  return JSON.stringify(value, plain, 2)
}

export function parseJson(bytes: Buffer): Json {
  try {
    return JSON.parse(bytes.toString('utf8')) as Json
  } catch (error) {
    throw new FormatError('invalid', `not JSON: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** Is it a JSON text rather than the bytes of a structure? None of our structures begins like one. */
export function looksLikeJson(bytes: Buffer): boolean {
  return /^\s*[{[]/.test(bytes.toString('latin1', 0, 100))
}

/** Reads values out of JSON and names the place of what is wrong. */
export class At {
  readonly value: Json | undefined
  readonly path: string

  constructor(value: Json | undefined, path = 'input') {
    this.value = value
    this.path = path
  }

  get(key: string): At {
    return new At(this.object()[key], `${this.path}.${key}`)
  }

  get isPresent(): boolean {
    return this.value !== undefined && this.value !== null
  }

  has(key: string): boolean {
    return this.isObject && this.get(key).isPresent
  }

  get isObject(): boolean {
    return typeof this.value === 'object' && this.value !== null && !Array.isArray(this.value)
  }

  object(): JsonObject {
    if (this.isObject) return this.value as JsonObject
    throw this.wrong('an object')
  }

  list(): At[] {
    if (!Array.isArray(this.value)) throw this.wrong('a list')
    return this.value.map((item, i) => new At(item, `${this.path}[${i}]`))
  }

  text(): string {
    if (typeof this.value === 'string') return this.value
    throw this.wrong('text')
  }

  bigint(): bigint {
    const { value } = this
    if (typeof value === 'bigint') return value
    if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt(value)
    if (typeof value === 'string' && /^-?\d+$/.test(value)) return BigInt(value)
    throw this.wrong('an integer (beyond 2^53-1 as text)')
  }

  number(): number {
    const value = this.bigint()
    if (value > largest || value < -largest) throw this.wrong('an integer below 2^53')
    return Number(value)
  }

  size(): Bytes {
    const value = this.number()
    if (value < 0 || value > 2 ** 52) throw this.wrong('a size in bytes, at most 4 PiB')
    return bytes(value)
  }

  /** The room of a sanlock lease. */
  alignment(): Bytes {
    const value = this.size()
    if (!alignments.includes(value)) throw this.wrong('1, 2, 4 or 8 MiB')
    return value
  }

  /** A number of 32 bits. */
  word(): number {
    const value = this.number()
    if (value < 0 || value > 0xffffffff) throw this.wrong('a number of 32 bits')
    return value
  }

  /** A number of 64 bits. */
  longWord(): bigint {
    const value = this.bigint()
    if (value < 0n || value >= 2n ** 64n) throw this.wrong('a number of 64 bits')
    return value
  }

  boolean(): boolean {
    if (typeof this.value === 'boolean') return this.value
    throw this.wrong('true or false')
  }

  hex(): Buffer {
    const text = this.text()
    if (/^([0-9a-f]{2})*$/i.test(text)) return Buffer.from(text, 'hex')
    throw this.wrong('hexadecimal bytes')
  }

  uuid(): string {
    const text = this.text()
    if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)) return text
    throw this.wrong('a UUID')
  }

  sectorSize(): 512 | 4096 {
    const value = this.number()
    if (value === 512 || value === 4096) return value
    throw this.wrong('512 or 4096')
  }

  wrong(expected: string): FormatError {
    if (this.value === undefined)
      return new FormatError('missing', `${this.path} is missing: ${expected} is expected`)
    return new FormatError('invalid', `${this.path} is not ${expected}`)
  }
}

/** The object itself, or the inputs of an entry of the vectors' manifest. */
export function inputsOf(json: Json): At {
  const root = new At(json)
  return root.has('inputs') && !root.has('vgTags') ? root.get('inputs') : root
}

/** A list of worked examples with each one recomputed. */
export function recomputed(json: Json, key: string, each: (example: At) => JsonObject): Json {
  const root = new At(json)
  const examples = root.get(key).list()
  return { ...root.object(), [key]: examples.map(example => ({ ...example.object(), ...each(example) })) }
}
