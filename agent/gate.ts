import { Fault } from '../common/fault.js'

/** What the agent knows about who rules it; durable (identity.ts). */
export type Rule = {
  /** Number of this host's life, as counted by the coordinator; 0 before the first Welcome. */
  readonly hostGeneration: number
  /** Highest epoch of a coordinator seen so far. */
  readonly coordinatorEpoch: number
}

/** The tokens of a mutation, as read from its message. */
export type Stamp = { requestId: string; coordinatorEpoch: number; hostGeneration: number }

export type Standing = { isCoordinator: boolean; isRecovering: boolean }

/** A typo or an attack with a huge epoch would lock out every later coordinator. */
export const largestEpochJump = 1_000_000

/**
 * Whether a mutation may go on, after its caller's role was accepted and before its fields are looked at. Of
 * a command that is refused here nothing is remembered.
 */
export function throwIfStale(stamp: Omit<Stamp, 'requestId'>, standing: Standing, rule: Rule): void {
  if (standing.isRecovering) throw new Fault('RECOVERING', 'the agent is still finding out what runs here')
  throwIfStaleEpoch(stamp.coordinatorEpoch, standing, rule)
  if (!standing.isCoordinator && stamp.hostGeneration === 0) return
  if (stamp.hostGeneration !== rule.hostGeneration) {
    throw new Fault(
      'STALE_GENERATION',
      `the command is for generation ${stamp.hostGeneration} of this host, which is at ${rule.hostGeneration}`,
      { facts: { hostGeneration: String(rule.hostGeneration) } }
    )
  }
}

/** The first half, for Welcome, which sets the generation. The local administrator speaks for no coordinator. */
export function throwIfStaleEpoch(epoch: number, { isCoordinator }: Standing, rule: Rule): void {
  if (!isCoordinator && epoch === 0) return
  const facts = { coordinatorEpoch: String(rule.coordinatorEpoch) }
  if (epoch < rule.coordinatorEpoch) {
    throw new Fault(
      'STALE_COORDINATOR',
      `epoch ${epoch} is older than ${rule.coordinatorEpoch}, which this host has seen`,
      { facts }
    )
  }
  if (epoch > rule.coordinatorEpoch + largestEpochJump) {
    throw new Fault(
      'STALE_COORDINATOR',
      `epoch ${epoch} is more than ${largestEpochJump} above ${rule.coordinatorEpoch}: an operator has to enrol this host again`,
      { facts }
    )
  }
}
