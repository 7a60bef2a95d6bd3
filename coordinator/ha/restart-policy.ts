import { seconds, type Seconds } from '../../common/units.js'

/** What is known of a VM that should run and does not, or is just being started again. */
export type FailedVm = {
  vmId: string
  name: string
  /** 1 (first) to 100. */
  priority: number
  isHa: boolean
  hasLease: boolean
  /** Since when it is known to have failed. */
  failedSince: Seconds
  /** VMs that must run before it starts. */
  dependsOn: readonly string[]
  /** How often it was restarted within the last hour. */
  recentRestarts: number
  /** When the last restart was tried, on the coordinator's monotonic clock; null when never. */
  lastAttempt: Seconds | null
  /** Whether the last attempt found no host or failed to start. */
  lastAttemptFailed: boolean
  failedAttempts: number
  /** Whether that was for want of a host: nothing was tried, so it may be tried more often. */
  foundNoHost: boolean
  /** And that there is one now that could take it. */
  hasRoomNow: boolean
  hasJob: boolean
}

export type RestartDecision =
  { vmId: string; kind: 'restart' } | { vmId: string; kind: 'wait' | 'giveUp'; why: string }

const dying = [0, 10, 30, 60, 300].map(seconds)
const mostRestartsAnHour = 10
/** Nobody waits longer for VMs that go first. */
const mostWait = seconds(600)

/**
 * Which VMs are started again now: what they depend on and higher priorities first, at most `free` at once, a
 * VM that keeps dying less and less often. Waiting for others ends when those run, have failed to start, or
 * after 600 s; a host that came into service since the last try ends the wait after a failed one.
 */
export function decideRestarts(
  vms: readonly FailedVm[],
  free: number,
  now: Seconds,
  lastHostUp: Seconds | null = null
): RestartDecision[] {
  const inOrder = vms.toSorted((a, b) => a.priority - b.priority || (a.vmId < b.vmId ? -1 : 1))
  const ahead = inOrder.filter(vm => isOnItsWay(vm))
  const highest = Math.min(...ahead.map(({ priority }) => priority))
  const awaited = new Set(ahead.map(({ vmId }) => vmId))
  let started = 0
  return inOrder.map(vm => {
    const obstacle = obstacleOf(vm, now, lastHostUp) ?? mustWait(vm, highest, awaited, now)
    if (obstacle) return { vmId: vm.vmId, ...obstacle }
    if (started >= free) return { vmId: vm.vmId, kind: 'wait', why: 'as many VMs as allowed are starting' }
    started++
    return { vmId: vm.vmId, kind: 'restart' }
  })
}

/** Others wait for it: it will run soon, as far as anybody knows. */
const isOnItsWay = ({ isHa, recentRestarts, lastAttemptFailed }: FailedVm) =>
  isHa && !lastAttemptFailed && recentRestarts < mostRestartsAnHour

function mustWait(
  vm: FailedVm,
  highest: number,
  awaited: ReadonlySet<string>,
  now: Seconds
): { kind: 'wait'; why: string } | null {
  if (now - vm.failedSince >= mostWait) return null
  const needed = vm.dependsOn.filter(id => id !== vm.vmId && awaited.has(id))
  if (needed.length > 0) return { kind: 'wait', why: `it needs VM ${needed.join(', ')}` }
  return vm.priority > highest ? { kind: 'wait', why: 'VMs of higher priority go first' } : null
}

function obstacleOf(
  vm: FailedVm,
  now: Seconds,
  lastHostUp: Seconds | null
): { kind: 'wait' | 'giveUp'; why: string } | null {
  if (!vm.isHa) return { kind: 'giveUp', why: 'the VM is not highly available' }
  if (vm.hasJob) return { kind: 'wait', why: 'a job works on the VM' }
  if (vm.recentRestarts >= mostRestartsAnHour) {
    return { kind: 'giveUp', why: `restarted ${vm.recentRestarts} times within an hour` }
  }
  // What failed for want of a host is worth a try as soon as there is one more.
  const isChanged = vm.lastAttemptFailed && lastHostUp !== null && lastHostUp > (vm.lastAttempt ?? 0)
  const wait = isChanged ? seconds(0) : waitBefore(vm)
  if (vm.lastAttempt !== null && now - vm.lastAttempt < wait)
    return { kind: 'wait', why: `next try after ${wait} s` }
  return null
}

/**
 * A failed start: 30 s ten times, then every 30 min; without a host every 2 min, and soon when there is one. A VM that
 * starts and dies: 0, 10, 30, 60, 300 s.
 */
function waitBefore(vm: FailedVm): Seconds {
  const { lastAttemptFailed, failedAttempts, foundNoHost, hasRoomNow, recentRestarts } = vm
  if (lastAttemptFailed && foundNoHost && hasRoomNow) return seconds(5)
  if (lastAttemptFailed) return seconds(failedAttempts <= 10 ? 30 : foundNoHost ? 120 : 1800)
  return dying[Math.min(recentRestarts, dying.length - 1)] ?? seconds(300)
}
