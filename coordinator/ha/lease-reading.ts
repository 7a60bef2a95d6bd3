import { seconds, type Seconds } from '../../common/units.js'
import type { LeaseReading } from './decide.js'

/** One host's look at the record of another in one lockspace, as its storage worker reported it. */
export type LeaseObservation = {
  readerHostId: string
  storageDomainId: string
  state: 'live' | 'failing' | 'expired' | 'free'
  /** How long the reader has watched the record, on its own monotonic clock. */
  watched: Seconds
  ioTimeout: Seconds
  /** How old the report is now. */
  age: Seconds
}

/** Reports older than this say nothing about now. */
const freshFor = seconds(15)

/**
 * Whether a host that was proven off by its power devices has joined a lockspace since: then it is on again, and
 * its leases are its own. A renewal from before may be reported late, but no later than reports are fresh.
 */
export function hasRenewedSince(offSince: Seconds, lastRenewal: Seconds | null): boolean {
  return lastRenewal !== null && lastRenewal > offSince + freshFor
}

/**
 * Whether a report can tell that nothing was renewed since a host was off: only by comparison with what was known
 * before. A record that is seen for the first time may be of a host that was switched on since, also where its
 * renewals fail by now: such a host may have lost its storage a moment ago, and works on what it holds.
 */
export const tellsOfRenewals = (offSince: Seconds, { knownSince }: { knownSince: Seconds | null }): boolean =>
  knownSince !== null && knownSince <= offSince

const mostAliveFirst = ['live', 'failing', 'expired', 'free'] as const

/**
 * The most alive of all opinions: one reader that sees a renewal is enough to keep a host from being
 * fenced. A reader that has not watched for 3 x io_timeout + 5 s has no opinion yet; a report that is
 * old has none any more. No opinion at all is `unknown`, and that holds the off command back as well.
 */
export function readLease(observations: readonly LeaseObservation[]): LeaseReading {
  const opinions = observations.filter(({ state, watched, ioTimeout, age }) => {
    if (age > freshFor) return false
    return state === 'live' || watched >= 3 * ioTimeout + 5
  })
  return mostAliveFirst.find(state => opinions.some(opinion => opinion.state === state)) ?? 'unknown'
}
