import type { VmStatus } from './store/tables.js'

// What one host says of a VM, against what is on record: believe it, or not. PURE.

export type Sighting = {
  hostId: string
  generation: number
  status: VmStatus
  exitReason: string
}

export type Recorded = {
  /** Number of the last start that was asked for. */
  generation: number
  observedGeneration: number
  status: VmStatus
  hostId: string | null
  migratingToHostId: string | null
  /** Whether the host on record is heard, and has told what it has: its own word counts then. */
  isHostHeard: boolean
}

export type Verdict =
  /** Of an earlier life of the VM. */
  | { kind: 'ghost' }
  /** Of a host that does not have it any more, or has nothing to say about it now. */
  | { kind: 'ignore' }
  /** Memory arrives there; the source still has the VM. */
  | { kind: 'arriving' }
  /** The destination of a migration has given up. */
  | { kind: 'notArriving' }
  /** The source has let go; the destination will say that it runs. */
  | { kind: 'left' }
  | { kind: 'believe'; hostId: string | null }

const over: ReadonlySet<VmStatus> = new Set(['down', 'unknown', 'migrating_to', 'creating'])

export function judge(seen: Sighting, known: Recorded): Verdict {
  if (seen.generation < known.generation) {
    // Where nothing was ever seen of later starts, what runs is the VM: another start would make two of it. What is
    // paused would go on with an old memory over a disk that one of them may have written.
    const isLatest = known.status === 'down' && seen.generation >= known.observedGeneration
    const isTheVm = isLatest && !over.has(seen.status) && seen.status !== 'paused'
    return isTheVm ? { kind: 'believe', hostId: seen.hostId } : { kind: 'ghost' }
  }
  const isNews = seen.generation > known.observedGeneration
  const isOwner = seen.hostId === known.hostId && !isNews
  if (seen.status === 'down') return judgeDown(seen, known, isNews, isOwner)
  if (isNews || isOwner) return { kind: 'believe', hostId: seen.hostId }
  if (seen.status === 'migrating_to') {
    // A silent source still may have it: a destination where memory arrives, or arrived no more, owns nothing.
    const isNobodys = over.has(known.status) && known.status !== 'unknown'
    return isNobodys ? { kind: 'believe', hostId: seen.hostId } : { kind: 'arriving' }
  }
  // A source that is late with its news says that it is leaving when the VM has long arrived.
  if (seen.status === 'migrating_from') return { kind: 'ignore' }
  // While the source leaves for a host that nobody has named yet, whoever runs it is that host.
  const hasArrived = known.status === 'migrating_from' && known.migratingToHostId === null
  // After a restore the record may be of before a migration. One start of a VM runs on one host: whoever says
  // that it runs is right, unless it is a source that is late, and then the host on record speaks for itself.
  const isUncontested = over.has(known.status) || !known.isHostHeard
  const mayHaveIt = known.migratingToHostId === seen.hostId || isUncontested || hasArrived
  return mayHaveIt ? { kind: 'believe', hostId: seen.hostId } : { kind: 'ignore' }
}

/**
 * Whether the same word has to be judged again. A host says a thing once: what it said of a VM that it runs while
 * its former host still seemed to have it is right as soon as that one has told that the VM left.
 */
export const isUnbelieved = (verdict: Verdict, { status }: Pick<Sighting, 'status'>): boolean =>
  verdict.kind === 'ignore' && status !== 'down'

function judgeDown(seen: Sighting, known: Recorded, isNews: boolean, isOwner: boolean): Verdict {
  // A later start cannot have come and gone while the VM is seen running: it never began.
  const isElsewhere = seen.hostId !== known.hostId && known.isHostHeard && !over.has(known.status)
  if (isNews && isElsewhere) return { kind: 'ignore' }
  if ((isNews || isOwner) && seen.exitReason === 'migrated') return { kind: 'left' }
  // The host of a crash is remembered: it is the first choice for the restart.
  if (isNews || isOwner)
    return { kind: 'believe', hostId: seen.exitReason === 'crashed' ? seen.hostId : null }
  return known.migratingToHostId === seen.hostId ? { kind: 'notArriving' } : { kind: 'ignore' }
}
