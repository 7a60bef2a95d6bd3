import { InvalidArgumentError } from 'commander'

// Sizes and times as people write and read them. PURE.

const powers = ['', 'K', 'M', 'G', 'T', 'P']

/** "10G", "512MiB", "4096": bytes, in powers of 1024, as decimal text for the wire. */
export function parseSize(text: string): string {
  const [, digits = '', power = ''] = /^(\d{1,19})([KMGTP]?)(?:i?B)?$/i.exec(text.trim()) ?? []
  if (digits === '') throw new InvalidArgumentError('Give a size such as 512M, 10G or 4096.')
  const bytes = BigInt(digits) * 1024n ** BigInt(powers.indexOf(power.toUpperCase()))
  if (bytes >= 2n ** 63n) throw new InvalidArgumentError('That is too large.')
  return String(bytes)
}

/** Bytes with the unit that leaves one to three digits before the point. */
export function formatSize(bytes: string | number): string {
  let value = Number(bytes)
  let power = 0
  while (value >= 1024 && power < powers.length - 1) {
    value /= 1024
    power++
  }
  const digits = Number.isInteger(value) || value >= 100 ? 0 : 1
  return power === 0 ? `${value} B` : `${value.toFixed(digits)} ${powers[power]}iB`
}

/** A whole number in a range. */
export const integer =
  (least: number, most: number) =>
  (text: string): number => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : NaN
    if (value >= least && value <= most) return value
    throw new InvalidArgumentError(`Give a whole number from ${least} to ${most}.`)
  }

/** "K=V", gathered over repetitions. */
export function pair(text: string, before: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('Give NAME=VALUE.')
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) }
}

/** Values gathered over repetitions. */
export const each = (text: string, before: string[] = []): string[] => [...before, text]

export type WireTime = { seconds: string; nanos: number }

/** RFC 3339 in UTC, as proto3 JSON has it. */
export const rfc3339 = ({ seconds, nanos }: WireTime): string =>
  new Date(Number(seconds) * 1000 + Math.floor(nanos / 1e6)).toISOString()

/** A time for a table: UTC, without what nobody reads. */
export function formatTime(time: WireTime | null | undefined): string {
  return time ? `${rfc3339(time).slice(0, 19).replace('T', ' ')}Z` : ''
}

/** "VM_STATUS_POWERING_UP" → "powering_up", as users see states. */
export function formatEnum(value: string | number, prefix: string): string {
  const text = String(value)
  const bare = text.startsWith(`${prefix}_`) ? text.slice(prefix.length + 1) : text
  return bare === 'UNSPECIFIED' ? '' : bare.toLowerCase()
}
