import type { Seconds } from '../../common/units.js'

export type PowerState = 'on' | 'off' | 'unknown'

/** What the power devices of one silent host have said, for the proof of decide.ts. */
export type PowerReading = { offSince: Seconds | null; lastOffRead: Seconds | null }

export const nothingRead: PowerReading = { offSince: null, lastOffRead: null }

/**
 * Takes one round over all devices of a host into account. Only a round in which every device says off
 * counts; one that says on takes the proof back; no answer changes nothing.
 */
export function noteRound(before: PowerReading, states: readonly PowerState[], at: Seconds): PowerReading {
  if (states.length === 0 || states.includes('on')) return nothingRead
  if (states.includes('unknown')) return before
  return { offSince: before.offSince ?? at, lastOffRead: at }
}
