import { sleep } from '../../common/clock.js'
import { seconds } from '../../common/units.js'
import { comingHosts } from '../power-saver/hosts.js'
import { fitsAwake } from '../power-saver/waking.js'
import { cluster } from '../store/clusters.js'
import { policyOf } from '../store/policies.js'
import { vm } from '../store/vms.js'
import type { Act } from './job.js'
import { placeVm } from './placement.js'
import type { StartContext } from './start-steps.js'
import type { JobWorld } from './world.js'

/** A little less than the step may take: what stands in the way is told by the choice, and not by a time limit. */
const patience = seconds(570)
const lookEvery = seconds(1)

/** A start that no host can take waits while power saving wakes one that could: see power-saver/decide.ts. */
export async function untilWoken(world: JobWorld, act: Act<StartContext>): Promise<void> {
  const end = world.clock.monotonic() + patience
  while (isWorthWaiting(world, act.context) && world.clock.monotonic() < end) {
    act.progress({ phase: 'waits for a host that is woken' })
    await sleep(world.clock, lookEvery, act.signal)
  }
}

function isWorthWaiting({ store: { read }, loads }: JobWorld, { vmId, onlyHostId, excluded }: StartContext) {
  const { clusterId } = vm(read, vmId)
  // First what costs nothing: nearly all starts end here.
  if (policyOf(read, cluster(read, clusterId).policyId).balancer !== 'power-saving') return false
  const coming = comingHosts(read, clusterId)
  if (coming.length === 0) return false
  const choice = { purpose: 'start' as const, vmId, onlyHostId, excluded, preferredHostId: null }
  const { placement, from } = placeVm(read, loads, { ...choice, currentHostId: null })
  if (placement.kind === 'placed') return false
  return coming.some(hostId => fitsAwake(from.snapshot, from.request, hostId))
}
