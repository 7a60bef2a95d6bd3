import * as c from './constants.js'
import { nameOf, type NameIn } from './constants.js'

const reasons = {
  nostate: { UNKNOWN: 0 },
  running: c.domainRunningReason,
  blocked: { UNKNOWN: 0 },
  paused: c.domainPausedReason,
  shutdown: c.domainShutdownReason,
  shutoff: c.domainShutoffReason,
  crashed: c.domainCrashedReason,
  pmsuspended: { UNKNOWN: 0 },
  unknown: {}
}
type StateName = NameIn<typeof c.domainState>

/** libvirt's state of a domain with its reason, by name: `{ state: 'paused', reason: 'ioerror' }`. */
export type DomainState = {
  [S in StateName]: { state: S; reason: NameIn<(typeof reasons)[S]> }
}[StateName]

export function stateOf(state: number, reason: number): DomainState {
  const name = nameOf(c.domainState, state)
  return { state: name, reason: nameOf<Record<string, number>>(reasons[name], reason) } as DomainState
}
