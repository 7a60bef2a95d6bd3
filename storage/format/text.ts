// VDSM reads its text with Python's rules, and they decide what a damaged block still means. The helpers
// below follow those rules where JavaScript's own differ: which characters are blank, what is an integer,
// where a line ends, and how invalid UTF-8 is described.

const blank = '[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]'
const leading = new RegExp(`^${blank}+`)
const isBlank = new RegExp(blank)

/** Without white space at both ends. */
export function strip(text: string): string {
  let end = text.length
  while (end > 0 && isBlank.test(text.charAt(end - 1))) end--
  return text.slice(0, end).replace(leading, '')
}

/** An integer of any size in decimal; null when the text is none. */
export function parseInteger(text: string): bigint | null {
  const digits = /^([+-]?)(\d+(?:_\d+)*)$/.exec(strip(text))
  if (digits === null) return null
  const magnitude = BigInt((digits[2] ?? '').replaceAll('_', ''))
  return digits[1] === '-' ? -magnitude : magnitude
}

/** Splits at CR, LF or both; a last line without end counts, an empty rest does not. */
export function splitLines(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = []
  let start = 0
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] !== 10 && bytes[i] !== 13) continue
    lines.push(bytes.subarray(start, i))
    if (bytes[i] === 13 && bytes[i + 1] === 10) i++
    start = i + 1
  }
  if (start < bytes.length) lines.push(bytes.subarray(start))
  return lines
}

/** The bytes up to the padding with NUL. */
export function withoutPadding(bytes: Buffer): Buffer {
  let end = bytes.length
  while (end > 0 && bytes[end - 1] === 0) end--
  return bytes.subarray(0, end)
}

/** False for a surrogate without its partner, which UTF-8 cannot hold. */
export function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text)
}

export type Utf8 = { kind: 'text'; text: string } | { kind: 'broken'; problem: string; offset: number }

/** Strict UTF-8, with a description of the first fault. */
export function decodeUtf8(bytes: Buffer): Utf8 {
  for (let at = 0; at < bytes.length;) {
    const step = sequenceAt(bytes, at)
    if (step.kind === 'broken') return describe(bytes, at, step.length, step.why)
    at += step.length
  }
  return { kind: 'text', text: bytes.toString('utf8') }
}

type Sequence = { kind: 'whole'; length: number } | { kind: 'broken'; length: number; why: string }

/** The table of well-formed sequences of the Unicode standard (3-7). */
function sequenceAt(bytes: Buffer, at: number): Sequence {
  const first = bytes[at] ?? 0
  if (first < 0x80) return { kind: 'whole', length: 1 }
  const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2
  if (first < 0xc2 || first > 0xf4) return { kind: 'broken', length: 1, why: 'invalid start byte' }
  for (let i = 1; i < length; i++) {
    const byte = bytes[at + i]
    if (byte === undefined) return { kind: 'broken', length: i, why: 'unexpected end of data' }
    const [low, high] = i === 1 ? secondByte(first) : [0x80, 0xbf]
    if (byte < low || byte > high) return { kind: 'broken', length: i, why: 'invalid continuation byte' }
  }
  return { kind: 'whole', length }
}

function secondByte(first: number): [low: number, high: number] {
  if (first === 0xe0) return [0xa0, 0xbf]
  if (first === 0xed) return [0x80, 0x9f]
  if (first === 0xf0) return [0x90, 0xbf]
  if (first === 0xf4) return [0x80, 0x8f]
  return [0x80, 0xbf]
}

function describe(bytes: Buffer, at: number, length: number, why: string): Utf8 {
  const where =
    length === 1
      ? `byte 0x${(bytes[at] ?? 0).toString(16).padStart(2, '0')} in position ${at}`
      : `bytes in position ${at}-${at + length - 1}`
  return { kind: 'broken', problem: `'utf-8' codec can't decode ${where}: ${why}`, offset: at }
}

const escapes = new Map([
  ['\\', '\\\\'],
  ['\n', '\\n'],
  ['\r', '\\r'],
  ['\t', '\\t']
])

/** Bytes as they stand in VDSM's messages: b'text\xff'. */
export function quoteBytes(bytes: Buffer): string {
  const quote = bytes.includes("'") && !bytes.includes('"') ? '"' : "'"
  let text = ''
  for (const byte of bytes) {
    const character = String.fromCharCode(byte)
    if (character === quote) text += `\\${quote}`
    else if (escapes.has(character)) text += escapes.get(character)
    else text += byte >= 0x20 && byte < 0x7f ? character : `\\x${byte.toString(16).padStart(2, '0')}`
  }
  return `b${quote}${text}${quote}`
}

/** A text as it stands in VDSM's messages: 'text'. */
export function quoteText(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'"
  const body = Array.from(text, character => {
    if (character === quote) return `\\${quote}`
    return escapes.get(character) ?? (isPrintable(character) ? character : escapeCode(character))
  })
  return `${quote}${body.join('')}${quote}`
}

function isPrintable(character: string): boolean {
  return character === ' ' || !/[\p{C}\p{Z}]/u.test(character)
}

function escapeCode(character: string): string {
  const code = character.codePointAt(0) ?? 0
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, '0')}`
  if (code < 0x10000) return `\\u${code.toString(16).padStart(4, '0')}`
  return `\\U${code.toString(16).padStart(8, '0')}`
}
