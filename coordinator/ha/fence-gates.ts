import { seconds, type Seconds } from '../../common/units.js'
import type { ClusterObservation, HaPolicy, HostHealth, HostObservation } from './decide.js'

// What holds an act against a silent host back. Each answer is what people read as "missing". PURE.

const backoff = [seconds(60), seconds(120), seconds(300)]
/** How long an agent that was restarted over a second channel has to answer. */
const softFencePatience = seconds(60)
/** How long the crash kernel of a host has to tell, counted from the end of the grace. */
const kdumpPatience = seconds(30)
/** Off commands that did not lead to proof before storage is taken away instead. */
const fencesBeforeShutOut = 2
const shutOutEvery = seconds(60)

type Treated = HostHealth & { kind: 'non_responsive' }

/** Every reason not to give the off command now, or null. The order is the order in which people should look. */
export function whyNotFence(
  { since, lastFence, fences, softFence }: Treated,
  { power, lease, hasKdump, isKdumping }: HostObservation,
  cluster: ClusterObservation,
  policy: HaPolicy,
  now: Seconds
): string | null {
  const { isFencingEnabled, startGrace, skipsWhileLeaseLives } = policy
  if (!isFencingEnabled) return 'fencing is switched off in the cluster; a VM restarts when its lease is free'
  if (!power.hasDevices)
    return 'the host has no power device: confirm by hand that it is off, or wait for leases'
  if (power.isFencing) return 'the power device is at work'
  if (cluster.coordinatorUptime < startGrace)
    return `no fencing in the first ${startGrace} s after the coordinator's start`
  if (hasKdump && !isKdumping && now - since < kdumpPatience)
    return 'its crash kernel may still tell that it dumps'
  if (skipsWhileLeaseLives && lease === 'live')
    return 'the host renews its lease on storage: it is alive and only cut off'
  if (skipsWhileLeaseLives && lease === 'unknown')
    return 'no other host has watched its lease for long enough'
  const isDying = lease === 'failing' || lease === 'expired' || lease === 'free'
  if (softFence !== null && !isDying && now - softFence < softFencePatience)
    return 'its agent was restarted over a second channel and has 60 s to answer'
  const suspicion = whyNotAny(cluster)
  if (suspicion !== null) return suspicion
  const wait = backoff[Math.min(fences, backoff.length) - 1] ?? seconds(0)
  if (lastFence !== null && now - lastFence < wait)
    return `the last attempt failed; the next comes after ${wait} s`
  return null
}

/**
 * Taking storage away is for a host whose power nobody can switch: it has no device, or two commands led to
 * nothing. It stops writes, not the guest; so it waits for the same signs of death, whatever the policy.
 */
export function whyNotStorageFence(
  { fences, lastFence }: Treated,
  { power, lease, storageFence }: HostObservation,
  cluster: ClusterObservation,
  { isFencingEnabled, startGrace }: HaPolicy,
  now: Seconds
): string | null {
  if (storageFence !== 'possible') return 'it cannot be shut out of storage'
  if (!isFencingEnabled) return 'fencing is switched off in the cluster'
  if (power.hasDevices && fences < fencesBeforeShutOut) return 'its power is switched first'
  if (cluster.coordinatorUptime < startGrace) return 'the coordinator has just started'
  if (lease === 'live' || lease === 'unknown') return 'its lease is not known to fail'
  if (lastFence !== null && now - lastFence < shutOutEvery) return 'it was tried less than 60 s ago'
  return whyNotAny(cluster)
}

/** What speaks against acting on any host of the cluster at all. */
function whyNotAny({ hosts, silentHosts, fencing }: ClusterObservation): string | null {
  if (silentHosts >= 2 && silentHosts * 2 >= hosts)
    return 'half of the cluster is silent: the network is suspected'
  return fencing > 0 ? 'another host of the cluster is being fenced' : null
}
