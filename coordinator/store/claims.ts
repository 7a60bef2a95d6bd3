import { Fault } from '../../common/fault.js'
import { sql, type Reader, type Tx } from './query.js'

// "Busy" is never a status: an object is busy because a claim of a live job says so. Claims are taken in the
// transaction that creates the job and go in the one that ends it; the refusal names the job.

export type ClaimedType = 'vm' | 'disk' | 'template' | 'snapshot' | 'storageDomain' | 'host' | 'cluster'

/**
 * read       the object stays as it is: templates and parents that others build on, hosts that are worked with
 * copy       its data is read for long
 * backup     its data is read at one point in time
 * change     exclusive: start, stop, migrate, resize, snapshot, merge
 * remove     exclusive, and for good
 */
export type ClaimMode = 'read' | 'copy' | 'backup' | 'change' | 'remove'

export type Claim = { type: ClaimedType; id: string; mode: ClaimMode }

// Which modes get along with each other on one object.
const shared: ReadonlySet<ClaimMode> = new Set(['read', 'copy', 'backup'])
const compatible: Record<ClaimMode, ReadonlySet<ClaimMode>> = {
  read: shared,
  copy: shared,
  backup: new Set<ClaimMode>(['read', 'copy']),
  change: new Set(),
  remove: new Set()
}

/** All of them, or a BUSY that names the job in the way. */
export function claim(tx: Tx, jobId: string, claims: readonly Claim[]): void {
  for (const { type, id, mode } of claims) {
    throwIfClaimed(tx, { type, id, mode }, jobId)
    tx.run(
      sql
        .insertInto('claim')
        .values({ objectType: type, objectId: id, mode, jobId })
        .onConflict(conflict => conflict.columns(['objectType', 'objectId', 'jobId']).doUpdateSet({ mode }))
    )
  }
}

/** For short changes that are no jobs: refused while a job holds the object in a way that forbids them. */
export function throwIfClaimed(reader: Reader, { type, id, mode }: Claim, ownJobId = ''): void {
  const held = reader.all(
    sql
      .selectFrom('claim')
      .innerJoin('job', 'job.id', 'claim.jobId')
      .select(['claim.mode', 'claim.jobId', 'job.kind'])
      .where('claim.objectType', '=', type)
      .where('claim.objectId', '=', id)
      .where('claim.jobId', '<>', ownJobId)
  )
  const obstacle = held.find(other => !compatible[mode].has(other.mode as ClaimMode))
  if (!obstacle) return
  throw new Fault('BUSY', `${wordOf(type)} ${id} is held by job ${obstacle.jobId} (${obstacle.kind})`, {
    facts: { [type]: id, job: obstacle.jobId, kind: obstacle.kind }
  })
}

export function releaseClaims(tx: Tx, jobId: string): void {
  tx.run(sql.deleteFrom('claim').where('jobId', '=', jobId))
}

/** The jobs that hold an object in any way. */
export const holdersOf = (reader: Reader, type: ClaimedType, id: string): string[] =>
  reader
    .all(sql.selectFrom('claim').select('jobId').where('objectType', '=', type).where('objectId', '=', id))
    .map(row => row.jobId)

const wordOf = (type: ClaimedType) =>
  type === 'storageDomain' ? 'storage domain' : type === 'vm' ? 'VM' : type
