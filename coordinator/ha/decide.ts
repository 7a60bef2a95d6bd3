import { unreachable } from '../../common/unreachable.js'
import { seconds, type Seconds } from '../../common/units.js'
import { whyNotFence, whyNotStorageFence } from './fence-gates.js'

// One silent host, from the last heartbeat to the restart of its VMs:
//
//   up ──silent──► connecting ──grace over──► non_responsive ──proof──► down (proven stopped)
//    ▲                 │                            │                     │
//    └──heartbeat──────┴────────────────────────────┘   (heartbeat: the agent is welcomed anew)
//
// From `connecting` on, what only looks is done: the power devices are asked, harmlessly, whether the host is
// off, and a crash message is listened for. Two reads that say off, the policy's gap apart, are proof at any
// moment. With `non_responsive` begins what acts, the mildest first: the agent is restarted over a second
// channel, then the power is switched off, then the host is shut out of storage: see fence-gates.ts. Silence
// alone never restarts a VM.

/** Why we may say that a silent host runs nothing. A VM with a lease still acquires it: the last guard. */
export type Proof = 'power_off' | 'kdump' | 'operator' | 'returned'

export type HostHealth =
  | { kind: 'up' }
  | { kind: 'connecting'; since: Seconds }
  | {
      kind: 'non_responsive'
      since: Seconds
      lastFence: Seconds | null
      fences: number
      /** When its agent was restarted over a second channel; null: not tried. */
      softFence: Seconds | null
      /** Its VMs on fenced storage were given to the restart: it can write there no more. */
      isShutOut: boolean
    }
  | { kind: 'proven_stopped'; proof: Proof }

/** The host's lease as the other hosts see it; `unknown` when nobody can read it or has watched long enough. */
export type LeaseReading = 'live' | 'failing' | 'expired' | 'free' | 'unknown'

export type HostObservation = {
  /** Whether the agent's stream is up and its last heartbeat is fresh. */
  isHeard: boolean
  /** Back with another boot id than the one it was lost with: whatever ran there is gone. */
  hasNewBoot: boolean
  /** The most alive of all readings, over storage domains and readers. */
  lease: LeaseReading
  /** When a renewal of its lease was last seen; null when none was. */
  lastRenewal: Seconds | null
  /** How often a living host renews it, at the latest: 2 x the largest io_timeout of its storage domains. */
  renewEvery: Seconds
  /** Whether the silent host manages a storage domain, and how many VMs ran there: both lengthen the grace. */
  managesStorageDomain: boolean
  vmCount: number
  power: {
    hasDevices: boolean
    /** Since when every read of every device said off; null when the last one did not. */
    offSince: Seconds | null
    /** When the last of those reads was. */
    lastOffRead: Seconds | null
    isFencing: boolean
  }
  /** A person has confirmed, with the host's name typed, that it is off. */
  isConfirmedByOperator: boolean
  /** Whether its crash kernel would tell us, and whether it has. */
  hasKdump: boolean
  isKdumping: boolean
  /** Whether its agent can be restarted over a second channel. */
  canSoftFence: boolean
  /** Whether it can be shut out of storage, and whether that was done and read back. */
  storageFence: 'impossible' | 'possible' | 'done'
}

export type ClusterObservation = {
  hosts: number
  silentHosts: number
  /** Other hosts of the cluster that are being switched off, or shut out of storage, now. */
  fencing: number
  coordinatorUptime: Seconds
}

export type HaPolicy = {
  silence: Seconds
  isFencingEnabled: boolean
  statusGap: Seconds
  startGrace: Seconds
  /** Whether a lease that lives, or that nobody can see, holds the off command back. */
  skipsWhileLeaseLives: boolean
}

export const defaultHaPolicy: HaPolicy = {
  silence: seconds(60),
  isFencingEnabled: true,
  statusGap: seconds(1),
  startGrace: seconds(300),
  skipsWhileLeaseLives: true
}

export type Action =
  | 'readPower' // ask the power devices, again and again
  | 'awaitKdump' // listen for the message of its crash kernel
  | 'softFence' // restart its agent over a second channel
  | 'powerOff' // the command
  | 'shutOut' // take its storage away
  | 'restartAllVms' // proof covers the whole host
  | 'restartLeasedVms' // each by the proof of its own lease: acquiring it
  | 'restartFencedVms' // those all of whose storage it was shut out of
  | 'markVmsUnknown'
  | 'reportFalseProof' // it was proven off, and is here: its power device lies
export type Decision = {
  health: HostHealth
  actions: Action[]
  /** What stands between this host and a restart of its VMs, for `drover explain` and alerts. */
  missing: string
}

/** What is missing for a host that is proven off, until this life of the coordinator has seen it too. */
export const readAgain = 'its power is read again'

const inGrace = 'the grace for a silent host is not over'

/** One host, one tick. */
export function decide(
  health: HostHealth,
  seen: HostObservation,
  cluster: ClusterObservation,
  policy: HaPolicy,
  now: Seconds
): Decision {
  if (health.kind !== 'up' && seen.isHeard) return heardAgain(health, seen)
  if (seen.isHeard) return { health: { kind: 'up' }, actions: [], missing: '' }

  const proof = health.kind === 'proven_stopped' ? null : proofOf(seen, policy)
  if (proof)
    return {
      health: { kind: 'proven_stopped', proof },
      actions: ['markVmsUnknown', 'restartAllVms'],
      missing: ''
    }

  switch (health.kind) {
    case 'up':
      return {
        health: { kind: 'connecting', since: now },
        actions: look(seen),
        missing: inGrace
      }
    case 'connecting': {
      if (now - health.since < grace(seen, policy)) {
        return { health, actions: look(seen), missing: inGrace }
      }
      return {
        health: {
          ...{ kind: 'non_responsive', since: now, lastFence: null, fences: 0 },
          ...{ softFence: null, isShutOut: false }
        },
        actions: ['markVmsUnknown', 'restartLeasedVms', ...look(seen)],
        missing: 'no proof yet'
      }
    }
    case 'non_responsive':
      return treat(health, seen, cluster, policy, now)
    case 'proven_stopped':
      return provenBefore(health, seen, policy)
    default:
      return unreachable(health)
  }
}

/**
 * A host that is back has its VMs told by its own agent; with a new boot id all others of it are gone. One
 * that was proven off by its power device, and comes back without having booted, was never off.
 */
function heardAgain(health: HostHealth, { hasNewBoot }: HostObservation): Decision {
  const actions: Action[] = hasNewBoot && health.kind === 'non_responsive' ? ['restartAllVms'] : []
  if (!hasNewBoot && health.kind === 'proven_stopped' && health.proof === 'power_off')
    actions.push('reportFalseProof')
  return { health: { kind: 'up' }, actions, missing: '' }
}

export function grace({ managesStorageDomain, vmCount }: HostObservation, { silence }: HaPolicy): Seconds {
  return seconds(silence + (managesStorageDomain ? 20 : 0) + 0.5 * vmCount)
}

/** Hosts look at leases every 5 s and tell at once: a renewal may be heard of so long after it was made. */
const longestReport = seconds(6)

/**
 * What is off renews nothing. A renewal that was certainly made after the first read that said off takes that proof
 * away; from it on the reads must say off for longer than a living host goes without the next one.
 */
function proofOf(
  { power, isConfirmedByOperator, isKdumping, lastRenewal, renewEvery }: HostObservation,
  policy: HaPolicy
): Proof | null {
  if (power.offSince !== null && power.lastOffRead !== null) {
    const isContradicted = lastRenewal !== null && lastRenewal > power.offSince + longestReport
    const since = isContradicted ? lastRenewal : power.offSince
    const gap = isContradicted ? Math.max(policy.statusGap, renewEvery + longestReport) : policy.statusGap
    if (power.lastOffRead - since >= gap) return 'power_off'
  }
  if (isConfirmedByOperator) return 'operator'
  return isKdumping ? 'kdump' : null
}

/** Grace is over and nothing is proven: the mildest act that may be done now. */
function treat(
  health: HostHealth & { kind: 'non_responsive' },
  seen: HostObservation,
  cluster: ClusterObservation,
  policy: HaPolicy,
  now: Seconds
): Decision {
  const actions = look(seen)
  if (seen.storageFence === 'done' && !health.isShutOut) {
    actions.push('restartFencedVms')
    return { health: { ...health, isShutOut: true }, actions, missing: 'VMs without fenced storage wait' }
  }
  // A host that is off has no agent to restart.
  if (seen.canSoftFence && health.softFence === null && seen.power.offSince === null) {
    actions.push('softFence')
    return { health: { ...health, softFence: now }, actions, missing: 'its agent is being restarted' }
  }
  const obstacle = whyNotFence(health, seen, cluster, policy, now)
  if (obstacle === null) {
    const fenced = { ...health, lastFence: now, fences: health.fences + 1 }
    actions.push('powerOff')
    return { health: fenced, actions, missing: 'the power device has not confirmed off' }
  }
  if (whyNotStorageFence(health, seen, cluster, policy, now) === null) {
    actions.push('shutOut')
    return { health: { ...health, lastFence: now }, actions, missing: 'its storage is being taken away' }
  }
  return { health, actions, missing: obstacle }
}

/**
 * The word of its power device was heard by an earlier life of the coordinator, or a renewal has been seen since: it is
 * read again by the rules of the proof, because nobody frees the leases of a host without knowing since when it is off.
 */
function provenBefore(
  health: HostHealth & { kind: 'proven_stopped' },
  seen: HostObservation,
  policy: HaPolicy
): Decision {
  const isKnownOff = health.proof !== 'power_off' || proofOf(seen, policy) === 'power_off'
  if (isKnownOff || !seen.power.hasDevices) return { health, actions: [], missing: '' }
  return { health, actions: ['readPower'], missing: readAgain }
}

/** What only looks: as often as wanted, from the first moment of silence. */
const look = ({ power, hasKdump, isKdumping }: HostObservation): Action[] => [
  ...(power.hasDevices ? (['readPower'] as const) : []),
  ...(hasKdump && !isKdumping ? (['awaitKdump'] as const) : [])
]
