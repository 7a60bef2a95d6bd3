import { throwIfStale, throwIfStaleEpoch, throwIfStaleWelcome, throwIfTwin } from '../../agent/gate.js'
import { generationOf } from '../../coordinator/greeting.js'
import { decide } from '../../coordinator/ha/decide.js'
import { readPowerRound, switchPower } from '../../coordinator/ha/fencing/power.js'
import { hasRenewedSince, readLease, tellsOfRenewals } from '../../coordinator/ha/lease-reading.js'
import { orphansOf } from '../../coordinator/ha/orphans.js'
import { noteRound } from '../../coordinator/ha/power-reading.js'
import { decideRestarts } from '../../coordinator/ha/restart-policy.js'
import { nextLeaving, stuckOf } from '../../coordinator/jobs/evacuation.js'
import { ownerOf } from '../../coordinator/jobs/migration-owner.js'
import { missedHosts, nextUpgrades, problemAfter, upgradeOrder } from '../../coordinator/jobs/upgrade-plan.js'
import { mayActUnasked } from '../../coordinator/leadership.js'
import { isUnbelieved, judge } from '../../coordinator/observed-vm.js'

/**
 * The production code under test, and the laws of the world it relies on: all in one record, so that a mutant
 * replaces one entry and touches no source.
 */
export type Rules = {
  // Production code.
  decide: typeof decide
  noteRound: typeof noteRound
  decideRestarts: typeof decideRestarts
  readLease: typeof readLease
  hasRenewedSince: typeof hasRenewedSince
  tellsOfRenewals: typeof tellsOfRenewals
  readPowerRound: typeof readPowerRound
  switchPower: typeof switchPower
  judge: typeof judge
  ownerOf: typeof ownerOf
  orphansOf: typeof orphansOf
  nextLeaving: typeof nextLeaving
  stuckOf: typeof stuckOf
  nextUpgrades: typeof nextUpgrades
  missedHosts: typeof missedHosts
  upgradeOrder: typeof upgradeOrder
  problemAfter: typeof problemAfter
  throwIfStale: typeof throwIfStale
  throwIfStaleEpoch: typeof throwIfStaleEpoch
  throwIfStaleWelcome: typeof throwIfStaleWelcome
  throwIfTwin: typeof throwIfTwin
  generationOf: typeof generationOf
  isUnbelieved: typeof isUnbelieved
  mayActUnasked: typeof mayActUnasked
  // What the jobs and the agents do, as in coordinator/jobs and agent/.
  /** A start takes the VM's lease first. */
  acquiresLease: boolean
  /** A restart waits for the lease before the VM's new life gets a number. */
  awaitsLease: boolean
  /** Clearing leases compares generation and time stamp with those that were read. */
  clearingCompares: boolean
  /** Leases are cleared after proof by power only. */
  clearsOnlyAfterPower: boolean
  /** The answer to an off command proves nothing. */
  replyProvesNothing: boolean
  /** A start whose answer was lost is taken back before the VM is started elsewhere. */
  takesStartsBack: boolean
  /** A repeated request id has no second effect. */
  remembersRequests: boolean
  /** An agent remembers the highest epoch across its own restart. */
  remembersEpoch: boolean
  /** A proof that a host stopped lets its generation grow. */
  fencesGeneration: boolean
  /** A coordinator takes a new epoch at its start. */
  takesEpoch: boolean
  /** A restored store, and one whose coordinator hosts refuse, may be older than the world. */
  suspectsOldStores: boolean
  /** A copy of an earlier life that still runs is left to people. */
  sparesGhosts: boolean
  /** A destination runs only after its source let go. */
  switchesOverLast: boolean
  /** A drained host is rebooted only when nothing runs there. */
  drainsFirst: boolean
  /** A host that is being drained or upgraded gets no VM. */
  keepsDrainedEmpty: boolean
  // Laws of sanlock and the watchdog.
  hasWatchdog: boolean
  killsHolders: boolean
  /** Seconds after which others may take a lease; null is sanlock's own law. */
  deadAfter: number | null
}

export const production: Rules = {
  ...{ decide, noteRound, decideRestarts, readLease, hasRenewedSince, readPowerRound, switchPower },
  ...{ judge, ownerOf, orphansOf, nextLeaving, stuckOf, nextUpgrades },
  ...{ tellsOfRenewals, missedHosts, upgradeOrder, problemAfter },
  ...{
    throwIfStale,
    throwIfStaleEpoch,
    throwIfStaleWelcome,
    throwIfTwin,
    generationOf,
    isUnbelieved,
    mayActUnasked
  },
  ...{ acquiresLease: true, awaitsLease: true, clearingCompares: true, clearsOnlyAfterPower: true },
  ...{ replyProvesNothing: true, takesStartsBack: true, remembersRequests: true, remembersEpoch: true },
  ...{
    fencesGeneration: true,
    takesEpoch: true,
    suspectsOldStores: true,
    sparesGhosts: true,
    switchesOverLast: true
  },
  ...{ drainsFirst: true, keepsDrainedEmpty: true },
  ...{ hasWatchdog: true, killsHolders: true, deadAfter: null }
}
