import type { Fault } from '../common/fault.js'
import type { Failure__Output } from '../proto/generated/types/drover/common/v1/Failure.js'

// Our own words and values, as they go out; and back, where hosts send them.

export type WireTime = { seconds: string; nanos: number }

/** Milliseconds since 1970 as google.protobuf.Timestamp. */
export function wireTime(wall: number): WireTime {
  const whole = Math.floor(wall / 1000)
  return { seconds: String(whole), nanos: Math.round((wall - whole * 1000) * 1e6) }
}

export const wireTimeOrNull = (wall: number | null) => (wall === null ? null : wireTime(wall))

type TimeLike = { seconds?: unknown; nanos?: unknown } | null | undefined

/** The other way round; null where absent. */
export function wallOf(time: TimeLike): number | null {
  if (!time) return null
  const whole = Number(String(time.seconds ?? '0'))
  const nanos = typeof time.nanos === 'number' ? time.nanos : 0
  return Number.isFinite(whole) ? Math.round(whole * 1000 + nanos / 1e6) : null
}

/** A failure as a value. An unexpected one says nothing of itself: the log has the rest. */
export function wireFailure(fault: Fault, at: number): Omit<Failure__Output, 'time'> & { time: WireTime } {
  const { reason, message, nextStep, facts } = fault
  return { reason, message, nextStep, facts, time: wireTime(at) }
}

/** `powering_up` as `VM_STATUS_POWERING_UP`; an empty word is the enum's zero value. */
export const enumOf = <P extends string, W extends string>(prefix: P, word: W) =>
  `${prefix}_${word === '' ? 'UNSPECIFIED' : word.toUpperCase()}` as `${P}_${Uppercase<W extends '' ? 'UNSPECIFIED' : W>}`

/** `VM_STATUS_POWERING_UP` as `powering_up`; the zero value and what this version does not know are empty. */
export function wordOf(prefix: string, name: unknown): string {
  if (typeof name !== 'string' || !name.startsWith(`${prefix}_`)) return ''
  const word = name.slice(prefix.length + 1).toLowerCase()
  return word === 'unspecified' ? '' : word
}
