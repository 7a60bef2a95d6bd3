import type { DomainState } from '../libvirt/domain-state.js'
import type { PauseReason, Seen } from './vm-status.js'
import type { StopDetail } from './vm-exit.js'

/** libvirt's state of a domain in our words. Pure. */
export function seenIn(
  state: DomainState,
  memory: { isPausedByUser: boolean; ioError: PauseReason | null }
): Seen {
  switch (state.state) {
    case 'running':
    case 'blocked':
    case 'nostate':
    case 'pmsuspended':
      return { state: 'running', isArriving: false }
    case 'paused': {
      const isArriving = ['migration', 'starting_up'].includes(state.reason)
      return { state: 'paused', why: pauseReasonOf(state.reason, memory), isArriving }
    }
    case 'shutdown':
      return { state: 'running', isArriving: false }
    default:
      return { state: 'off' }
  }
}

export function pauseReasonOf(
  detail: string,
  { isPausedByUser, ioError }: { isPausedByUser: boolean; ioError: PauseReason | null }
): PauseReason {
  if (detail === 'ioerror') return ioError ?? 'eio'
  if (detail === 'postcopy' || detail === 'postcopy_failed') return 'postCopy'
  return isPausedByUser && (detail === 'user' || detail === 'paused') ? 'user' : 'other'
}

/** Why a domain is shut off, as an end. */
export function stopDetailOf(state: DomainState): StopDetail {
  if (state.state === 'crashed') return 'crashed'
  return state.state === 'shutoff' ? (state.reason as StopDetail) : 'unknown'
}
