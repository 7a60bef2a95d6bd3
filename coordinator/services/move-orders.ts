import { Fault } from '../../common/fault.js'
import type { Move } from '../balance/plan.js'
import type { Loads } from '../jobs/world.js'
import { throwIfClaimed } from '../store/claims.js'
import type { Tx } from '../store/query.js'
import type { Workshop } from './ordered-job.js'
import { orderMigration, type Who } from './vm-orders.js'

export type Ordered = { move: Move; jobId: string }

/**
 * Orders the migrations of a plan in the transaction of the decision. The plan was made from a look at all of
 * the cluster; a VM that cannot go there any more, or that a job holds, stays where it is.
 */
export function orderMoves(
  workshop: Pick<Workshop, 'jobs'>,
  tx: Tx,
  loads: Loads,
  moves: readonly Move[],
  who: Who,
  idOf: (move: Move) => string
): Ordered[] {
  return moves.flatMap(move => {
    try {
      // Both are refused before anything is written.
      throwIfClaimed(tx, { type: 'vm', id: move.vmId, mode: 'change' })
      const wanted = { vmId: move.vmId, hostId: move.toHostId, bandwidth: 0 }
      return [{ move, jobId: orderMigration(workshop, tx, loads, wanted, { ...who, id: idOf(move) }) }]
    } catch (error) {
      if (Fault.is(error, 'NO_HOST') || Fault.is(error, 'BUSY') || Fault.is(error, 'WRONG_STATE')) return []
      throw error
    }
  })
}
