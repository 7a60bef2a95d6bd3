import { FormatError } from './format-error.js'
import { sha1 } from './sha1.js'
import { decodeUtf8, strip, withoutPadding } from './text.js'

// Storage domain metadata as it lies on storage: lines KEY=VALUE in the file `dom_md/metadata`, or one VG tag
// a line. The last line is a seal over all others: SHA-1 over the sorted lines, one after another without
// separator, every character beyond ASCII written as &#<code point>;. Keys that we do not know are part of
// the seal and survive every update.

export type MetadataPairs = ReadonlyMap<string, string>

const sealKey = '_SHA_CKSUM'

export function encodedForSeal(lines: readonly string[]): string {
  return lines.join('').replace(/[\u0080-\u{10ffff}]/gu, character => `&#${character.codePointAt(0)};`)
}

export function sealOf(pairs: MetadataPairs): string {
  return sha1(Buffer.from(encodedForSeal(sortedLines(pairs)), 'latin1'))
}

/** Sorted by key as VDSM sorts, which is by code point. */
export function sortedLines(pairs: MetadataPairs): string[] {
  return [...pairs]
    .toSorted(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    .map(([key, value]) => `${key}=${value}`)
}

/** All lines, the seal last. */
export function sealedLines(pairs: MetadataPairs): string[] {
  return [...sortedLines(pairs), `${sealKey}=${sealOf(pairs)}`]
}

/**
 * Lines without `=` are skipped and a missing seal is accepted, as VDSM does. A seal that does not match is
 * never repaired: the storage domain is refused.
 */
export function readLines(lines: readonly string[]): MetadataPairs {
  const pairs = new Map<string, string>()
  for (const line of lines) {
    const equals = line.indexOf('=')
    if (equals >= 0) pairs.set(strip(line.slice(0, equals)), line.slice(equals + 1))
  }
  const declared = pairs.get(sealKey)
  pairs.delete(sealKey)
  if (pairs.size === 0 || declared === undefined) return pairs
  const computed = sealOf(pairs)
  if (declared !== computed) {
    throw new FormatError(
      'sealBroken',
      `seal is broken: metadata says ${declared}, its lines give ${computed}`
    )
  }
  return pairs
}

export function isSealed(lines: readonly string[]): boolean {
  return lines.some(line => line.startsWith(`${sealKey}=`))
}

const lineEnd = /\r\n|[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]/

/** The lines of `dom_md/metadata`. A short direct read may be padded with NUL. */
export function metadataFileLines(bytes: Buffer): string[] {
  const decoded = decodeUtf8(withoutPadding(bytes))
  if (decoded.kind === 'broken') throw new FormatError('invalid', decoded.problem, decoded.offset)
  const lines = decoded.text.split(lineEnd)
  if (lines.at(-1) === '') lines.pop()
  return lines
}

/** Reads the file `dom_md/metadata`. An empty file is empty metadata, which is no storage domain. */
export function readMetadataFile(bytes: Buffer): MetadataPairs {
  return readLines(metadataFileLines(bytes))
}

/** The whole file `dom_md/metadata`. */
export function writeMetadataFile(pairs: MetadataPairs): Buffer {
  for (const [key, value] of pairs) {
    if (lineEnd.test(key) || lineEnd.test(value)) {
      throw new FormatError('invalid', `the value of ${key} may not contain a line end`)
    }
  }
  return Buffer.from(
    sealedLines(pairs)
      .map(line => `${line}\n`)
      .join('')
  )
}
