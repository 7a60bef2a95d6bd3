// A cluster is upgraded host by host: which host is next, and when to stop. PURE.

export type UpgradeStage =
  | 'waiting'
  | 'draining' // its VMs move away
  | 'upgrading' // packages
  | 'rebooting'
  | 'checking' // back, healthy, and of the new version
  | 'activating'
  | 'done'
  | 'failed'

export type HostUpgrade = { hostId: string; stage: UpgradeStage; why: string }

export type UpgradePlan = {
  hosts: readonly HostUpgrade[]
  /** Hosts out of service at the same time. */
  atOnce: number
}

export type UpgradeDecision = {
  /** Hosts that begin now. */
  begin: string[]
  /** Nothing is under way, and nothing will begin. */
  isOver: boolean
  /** Why nothing more begins although hosts wait; empty otherwise. */
  stopped: string
}

const ended: ReadonlySet<UpgradeStage> = new Set(['waiting', 'done', 'failed'])

/**
 * The first failure stops the upgrade: what is under way ends, nothing more begins. A host of the cluster that
 * is not in service for another reason takes a place among those that may be out at once, so an upgrade never
 * takes the last reserve.
 */
export function nextUpgrades(
  { hosts, atOnce }: UpgradePlan,
  otherwiseOut: readonly string[]
): UpgradeDecision {
  const underWay = hosts.filter(({ stage }) => !ended.has(stage))
  const waiting = hosts.filter(({ stage }) => stage === 'waiting')
  const failed = hosts.find(({ stage }) => stage === 'failed')
  if (failed) {
    const stopped = waiting.length === 0 ? '' : `host ${failed.hostId} failed: ${failed.why}`
    return { begin: [], isOver: underWay.length === 0, stopped }
  }
  const out = otherwiseOut.filter(id => !underWay.some(({ hostId }) => hostId === id))
  const free = Math.max(0, atOnce - underWay.length - out.length)
  const begin = waiting.filter(({ hostId }) => !out.includes(hostId)).slice(0, free)
  const isWaitingForOthers = begin.length === 0 && underWay.length === 0 && waiting.length > 0
  return {
    begin: begin.map(({ hostId }) => hostId),
    isOver: waiting.length === 0 && underWay.length === 0,
    stopped: isWaitingForOthers ? `not in service: ${out.join(', ')}` : ''
  }
}

/** When a host is rebooted for its upgrade. */
export type RebootWish = 'if_needed' | 'always' | 'never'

/** Why a host is rebooted; empty: it is not. `needed` is the host's own word. */
export function rebootOf(wish: RebootWish, needed: string): string {
  if (wish === 'never') return ''
  return needed === '' && wish === 'always' ? 'wanted' : needed
}

/** A host with nothing to do keeps its VMs. */
export const isUpgradeNeeded = (packages: string, reboot: string): boolean => packages !== '' || reboot !== ''

export type AfterUpgrade = {
  /** Packages that are still to be upgraded. */
  left: string
  hasLibvirt: boolean
  hadHaLeases: boolean
  hasHaLeases: boolean
}

/** Why an upgraded host does not go back into service; empty when it may. */
export function problemAfter({ left, hasLibvirt, hadHaLeases, hasHaLeases }: AfterUpgrade): string {
  if (left !== '') return `packages are left over: ${left.replaceAll('\n', ', ')}`
  if (!hasLibvirt) return 'libvirtd does not answer after the upgrade'
  if (hadHaLeases && !hasHaLeases) return 'leases were safe on the host before the upgrade, and are not now'
  return ''
}

export type HostStanding = {
  hostId: string
  /** Wanted: "active", "preparing", "maintenance" or "pending". */
  mode: string
  /** Heard, and fit. */
  isUp: boolean
}

/**
 * Hosts that should be in service and are not: each takes a place among those that may be out at once. One that
 * a person put into maintenance, or power saving to rest, is not missed.
 */
export const missedHosts = (hosts: readonly HostStanding[]): string[] =>
  hosts
    .filter(({ mode, isUp }) => mode === 'preparing' || (mode === 'active' && !isUp))
    .map(({ hostId }) => hostId)

/** Which hosts are upgraded: those that are heard, the ones in maintenance first, for they cost nobody anything. */
export const upgradeOrder = (hosts: readonly HostStanding[]): string[] =>
  hosts
    .filter(({ mode, isUp }) => isUp && (mode === 'active' || mode === 'maintenance'))
    .toSorted((a, b) => Number(b.mode === 'maintenance') - Number(a.mode === 'maintenance'))
    .map(({ hostId }) => hostId)
