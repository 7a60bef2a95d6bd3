import type { PlacementRequest } from './cluster.js'
import type { Placement, Verdict } from './place.js'

/** One sentence for people: where a VM goes and why, or why no host can take it. */
export function summarize({ vm, purpose }: PlacementRequest, placement: Placement): string {
  const { verdicts } = placement
  if (placement.kind === 'none') {
    if (verdicts.length === 0) return `${vm.name} cannot ${purpose}: the cluster has no hosts`
    const reasons = verdicts.map(({ hostName, filter, reason }) => `${hostName}: ${reason} (${filter})`)
    return `${vm.name} cannot ${purpose}; ${reasons.join('; ')}`
  }
  const chosen = verdicts.find(({ hostId }) => hostId === placement.hostId)
  const others = verdicts.filter(({ hostId, filter }) => hostId !== placement.hostId && filter === null)
  const refused = verdicts.length - others.length - 1
  return `${vm.name} goes to ${chosen?.hostName}: ${chosen?.reason}${compared(others)}${refusals(refused)}`
}

const compared = (others: Verdict[]) =>
  others.length === 0
    ? ''
    : `, better than ${others.map(({ hostName, reason }) => `${hostName} (${reason})`).join(', ')}`

const refusals = (count: number) =>
  count === 0 ? '' : `; ${count} ${count === 1 ? 'host' : 'hosts'} refused`
