import { sleep } from '../../common/clock.js'
import { seconds } from '../../common/units.js'
import { comingHosts } from '../power-saver/hosts.js'
import { fitsAwake } from '../power-saver/waking.js'
import { cluster } from '../store/clusters.js'
import { policyOf } from '../store/policies.js'
import { vm } from '../store/vms.js'
import type { Act } from './job.js'
import { placeVm, type Choice } from './placement.js'
import type { JobWorld } from './world.js'

/** A little less than a start may take: what stands in the way is told by the choice, and not by a time limit. */
const patience = seconds(570)
const lookEvery = seconds(1)

export type Waiting = Pick<Act<unknown>, 'signal' | 'progress'>

/**
 * A VM that no host can take now waits while power saving wakes one that could: see power-saver/decide.ts, which
 * knows whom it wakes hosts for by power-saver/waiting.ts.
 */
export async function untilWoken(
  world: JobWorld,
  choice: Choice,
  { signal, progress }: Waiting
): Promise<void> {
  const end = world.clock.monotonic() + patience
  while (isWorthWaiting(world, choice) && world.clock.monotonic() < end) {
    progress({ phase: 'waits for a host that is woken' })
    await sleep(world.clock, lookEvery, signal)
  }
}

function isWorthWaiting({ store: { read }, loads }: JobWorld, choice: Choice): boolean {
  const { clusterId } = vm(read, choice.vmId)
  // First what costs nothing: nearly all end here.
  if (policyOf(read, cluster(read, clusterId).policyId).balancer !== 'power-saving') return false
  const coming = comingHosts(read, clusterId)
  if (coming.length === 0) return false
  const { placement, from } = placeVm(read, loads, choice)
  if (placement.kind === 'placed') return false
  return coming.some(hostId => fitsAwake(from.snapshot, from.request, hostId))
}
