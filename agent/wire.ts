import type { Failure__Output } from '../proto/generated/types/drover/common/v1/Failure.js'
import type { Fault } from '../common/fault.js'

export type WireTime = { seconds: string; nanos: number }

/** Milliseconds since 1970 as google.protobuf.Timestamp. */
export function wireTime(wall: number): WireTime {
  const whole = Math.floor(wall / 1000)
  return { seconds: String(whole), nanos: Math.round((wall - whole * 1000) * 1e6) }
}

export const wireTimeOrNull = (wall: number | null) => (wall === null ? null : wireTime(wall))

/** A failure as a value. An unexpected one says nothing of itself: the log has the rest. */
export function wireFailure(fault: Fault, at: number): Omit<Failure__Output, 'time'> & { time: WireTime } {
  const { reason, message, nextStep, facts } = fault
  return { reason, message, nextStep, facts, time: wireTime(at) }
}

/** `upFirst` as `PREFIX_UP_FIRST`. */
export const enumName = (prefix: string, name: string) =>
  `${prefix}_${name.replace(/[A-Z]/g, letter => `_${letter}`).toUpperCase()}`
