import { unreachable } from '../../common/unreachable.js'
import { seconds, type Seconds } from '../../common/units.js'

// One silent host, from the last heartbeat to the restart of its VMs:
//
//   up ──silent──► connecting ──grace over──► non_responsive ──proof──► down (proven stopped)
//    ▲                 │                            │                     │
//    └──heartbeat──────┴────────────────────────────┘   (heartbeat: the agent is welcomed anew)
//
// From `connecting` on the power device is asked, harmlessly, whether the host is off. Two reads that say
// so, the policy's gap apart, are proof at any moment. A command to switch it off needs much more:
// see mayFence. Silence alone never restarts a VM.

/** Why we may say that a silent host runs nothing. A VM with a lease still acquires it: the last guard. */
export type Proof = 'power_off' | 'kdump' | 'operator' | 'returned'

export type HostHealth =
  | { kind: 'up' }
  | { kind: 'connecting'; since: Seconds }
  | { kind: 'non_responsive'; since: Seconds; lastFence: Seconds | null; fences: number }
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
  isKdumping: boolean
}

export type ClusterObservation = {
  hosts: number
  silentHosts: number
  /** Hosts of the cluster that are being switched off now. */
  fencing: number
  coordinatorUptime: Seconds
}

export type HaPolicy = {
  silence: Seconds
  isFencingEnabled: boolean
  statusGap: Seconds
  startGrace: Seconds
}

export const defaultHaPolicy: HaPolicy = {
  silence: seconds(60),
  isFencingEnabled: true,
  statusGap: seconds(1),
  startGrace: seconds(300)
}

export type Action =
  | 'readPower' // ask the power devices, again and again
  | 'powerOff' // the command
  | 'restartAllVms' // proof covers the whole host
  | 'restartLeasedVms' // each by the proof of its own lease: acquiring it
  | 'markVmsUnknown'
export type Decision = {
  health: HostHealth
  actions: Action[]
  /** What stands between this host and a restart of its VMs, for `drover explain` and alerts. */
  missing: string
}

const inGrace = 'the grace for a silent host is not over'
const backoff = [seconds(60), seconds(120), seconds(300)]

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
        actions: readPower(seen),
        missing: inGrace
      }
    case 'connecting': {
      if (now - health.since < grace(seen, policy)) {
        return { health, actions: readPower(seen), missing: inGrace }
      }
      const next = { kind: 'non_responsive', since: now, lastFence: null, fences: 0 } as const
      return {
        health: next,
        actions: ['markVmsUnknown', 'restartLeasedVms', ...readPower(seen)],
        missing: 'no proof yet'
      }
    }
    case 'non_responsive':
      return decideFence(health, seen, cluster, policy, now)
    case 'proven_stopped':
      return { health, actions: [], missing: '' }
    default:
      return unreachable(health)
  }
}

/** A host that is back has its VMs told by its own agent; with a new boot id all others of it are gone. */
function heardAgain(health: HostHealth, { hasNewBoot }: HostObservation): Decision {
  const actions: Action[] = hasNewBoot && health.kind === 'non_responsive' ? ['restartAllVms'] : []
  return { health: { kind: 'up' }, actions, missing: '' }
}

export function grace({ managesStorageDomain, vmCount }: HostObservation, { silence }: HaPolicy): Seconds {
  return seconds(silence + (managesStorageDomain ? 20 : 0) + 0.5 * vmCount)
}

function proofOf(
  { power, isConfirmedByOperator, isKdumping }: HostObservation,
  policy: HaPolicy
): Proof | null {
  if (power.offSince !== null && power.lastOffRead !== null) {
    if (power.lastOffRead - power.offSince >= policy.statusGap) return 'power_off'
  }
  if (isConfirmedByOperator) return 'operator'
  return isKdumping ? 'kdump' : null
}

function decideFence(
  health: HostHealth & { kind: 'non_responsive' },
  seen: HostObservation,
  cluster: ClusterObservation,
  policy: HaPolicy,
  now: Seconds
): Decision {
  const actions = readPower(seen)
  const obstacle = whyNotFence(health, seen, cluster, policy, now)
  if (obstacle !== null) return { health, actions, missing: obstacle }
  const fenced = { ...health, lastFence: now, fences: health.fences + 1 }
  return {
    health: fenced,
    actions: [...actions, 'powerOff'],
    missing: 'the power device has not confirmed off'
  }
}

/** Every reason not to give the off command now, or null. The order is the order in which people should look. */
export function whyNotFence(
  { lastFence, fences }: HostHealth & { kind: 'non_responsive' },
  { power, lease }: HostObservation,
  { hosts, silentHosts, fencing, coordinatorUptime }: ClusterObservation,
  { isFencingEnabled, startGrace }: HaPolicy,
  now: Seconds
): string | null {
  if (!isFencingEnabled) return 'fencing is switched off in the cluster; a VM restarts when its lease is free'
  if (!power.hasDevices)
    return 'the host has no power device: confirm by hand that it is off, or wait for leases'
  if (power.isFencing) return 'the power device is at work'
  if (coordinatorUptime < startGrace)
    return `no fencing in the first ${startGrace} s after the coordinator's start`
  if (lease === 'live') return 'the host renews its lease on storage: it is alive and only cut off'
  if (lease === 'unknown') return 'no other host has watched its lease for long enough'
  if (silentHosts >= 2 && silentHosts * 2 >= hosts)
    return 'half of the cluster is silent: the network is suspected'
  if (fencing > 0) return 'another host of the cluster is being fenced'
  const wait = backoff[Math.min(fences, backoff.length) - 1] ?? seconds(0)
  if (lastFence !== null && now - lastFence < wait)
    return `the last attempt failed; the next comes after ${wait} s`
  return null
}

const readPower = ({ power }: HostObservation): Action[] => (power.hasDevices ? ['readPower'] : [])
