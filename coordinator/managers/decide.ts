import { seconds, type Seconds } from '../../common/units.js'

// Pure: which host manages which block storage domain. A move costs those who ask for room a few milliseconds, and
// is for a reason: the manager leaves or is in trouble, or the work lies unevenly.

/** How a host can serve a storage domain as its manager. */
export type Fitness =
  /** It is up and has it active. */
  | { kind: 'fit' }
  /** It may be fit again in a moment: silent, starting, a read that failed. */
  | { kind: 'doubtful'; why: string; for: Seconds }
  /** It is not, or is about to leave. */
  | { kind: 'unfit'; why: string }

export type SeenStorageDomain = {
  id: string
  /** Who was chosen; null where nobody was. */
  managerHostId: string | null
  /** Who stands as its manager, as that host says. */
  standingHostId: string | null
  fitness: ReadonlyMap<string, Fitness>
}

export type Seen = { storageDomains: readonly SeenStorageDomain[]; nameOf(hostId: string): string }

export type Choice = { storageDomainId: string; hostId: string | null; why: string }

/** A manager in doubt keeps the role so long: nobody knows yet whether it still does its work. */
export const patience = seconds(20)
/** One storage domain more than elsewhere is no reason to move. */
const unevenness = 2

/** What is to change: everything that must, or else at most one move that makes it even. */
export function decideManagers({ storageDomains, nameOf }: Seen): Choice[] {
  const ordered = storageDomains.toSorted((a, b) => (a.id < b.id ? -1 : 1))
  const kept = new Map<string, string>()
  for (const { id, managerHostId, fitness } of ordered) {
    if (managerHostId !== null && mayStay(fitness.get(managerHostId))) kept.set(id, managerHostId)
  }
  const load = new Map<string, number>()
  for (const hostId of kept.values()) load.set(hostId, loadOf(load, hostId) + 1)
  const choices = ordered
    .filter(({ id }) => !kept.has(id))
    .flatMap(storageDomain => {
      const choice = chosen(storageDomain, load, nameOf)
      if (choice.hostId !== null) load.set(choice.hostId, loadOf(load, choice.hostId) + 1)
      // Nobody before, nobody now.
      return choice.hostId === storageDomain.managerHostId ? [] : [choice]
    })
  return choices.length > 0 ? choices : evened(ordered, kept, load, nameOf)
}

const loadOf = (load: ReadonlyMap<string, number>, hostId: string) => load.get(hostId) ?? 0

const mayStay = (fitness: Fitness | undefined): boolean =>
  fitness?.kind === 'fit' || (fitness?.kind === 'doubtful' && fitness.for < patience)

/** Who stands already, unless that makes the work uneven; else whoever manages least. */
function chosen(
  { id, managerHostId, standingHostId, fitness }: SeenStorageDomain,
  load: ReadonlyMap<string, number>,
  nameOf: Seen['nameOf']
): Choice {
  const why = whyNot(managerHostId, fitness, nameOf)
  const able = idlestFirst(fitness, load)
  const [least = null] = able
  if (least === null) return { storageDomainId: id, hostId: null, why: 'no host that is up has it active' }
  const stands = standingHostId !== null && able.includes(standingHostId) ? standingHostId : null
  if (stands !== null && loadOf(load, stands) < loadOf(load, least) + unevenness)
    return { storageDomainId: id, hostId: stands, why: why === '' ? 'it manages it already' : why }
  return { storageDomainId: id, hostId: least, why: why === '' ? 'it manages the fewest' : why }
}

function whyNot(
  hostId: string | null,
  fitness: ReadonlyMap<string, Fitness>,
  nameOf: Seen['nameOf']
): string {
  if (hostId === null) return ''
  const before = fitness.get(hostId)
  if (before === undefined) return `host ${nameOf(hostId)} is not there any more`
  return before.kind === 'fit' ? '' : `host ${nameOf(hostId)} ${before.why}`
}

const idlestFirst = (fitness: ReadonlyMap<string, Fitness>, load: ReadonlyMap<string, number>): string[] =>
  [...fitness]
    .flatMap(([hostId, { kind }]) => (kind === 'fit' ? [hostId] : []))
    .toSorted((a, b) => loadOf(load, a) - loadOf(load, b) || (a < b ? -1 : 1))

/** One move from the host that manages most to the one that manages least. */
function evened(
  ordered: readonly SeenStorageDomain[],
  kept: ReadonlyMap<string, string>,
  load: ReadonlyMap<string, number>,
  nameOf: Seen['nameOf']
): Choice[] {
  let best: { choice: Choice; gain: number } | null = null
  for (const { id, fitness } of ordered) {
    const from = kept.get(id)
    const to = idlestFirst(fitness, load).at(0)
    if (from === undefined || to === undefined) continue
    const [many, few] = [loadOf(load, from), loadOf(load, to)]
    if (many - few < unevenness || (best && many - few <= best.gain)) continue
    const why = `host ${nameOf(from)} manages ${many}, host ${nameOf(to)} ${few}`
    best = { choice: { storageDomainId: id, hostId: to, why }, gain: many - few }
  }
  return best ? [best.choice] : []
}
