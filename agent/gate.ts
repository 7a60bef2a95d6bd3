import { Fault } from '../common/fault.js'
import type { Fields } from '../common/fields.js'
import type { Gate } from '../common/implement.js'
import { checked } from '../common/rpc.js'

/** What the agent knows about who rules it; durable (identity.ts). */
export type Rule = {
  /** Number of this host's life, as counted by the coordinator; 0 before the first Welcome. */
  readonly hostGeneration: number
  /** Highest epoch of a coordinator seen so far. */
  readonly coordinatorEpoch: number
  /** The life of a coordinator that greeted first at this epoch; empty where none said. */
  readonly coordinatorIncarnation: string
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
  if (standing.isRecovering) throwRecovering()
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

/**
 * Two stores that are copies of each other count alike, so two coordinators can come to the same epoch. The
 * first that greets has the host; the other one needs a person.
 */
export function throwIfTwin(epoch: number, incarnation: string, rule: Rule): void {
  const first = rule.coordinatorIncarnation
  if (epoch !== rule.coordinatorEpoch || first === '' || incarnation === '' || incarnation === first) return
  throw new Fault('STALE_COORDINATOR', `another coordinator has epoch ${epoch} as well, and greeted first`, {
    facts: { coordinatorEpoch: String(epoch) }
  })
}

/** What is remembered of a coordinator that was let in. The same rule: nothing new. */
export function ruleAfter<R extends Omit<Rule, 'hostGeneration'>>(
  rule: R,
  epoch: number,
  incarnation: string
): R {
  const isNew = epoch > rule.coordinatorEpoch
  const isNamed = epoch === rule.coordinatorEpoch && rule.coordinatorIncarnation === '' && incarnation !== ''
  return isNew || isNamed ? { ...rule, coordinatorEpoch: epoch, coordinatorIncarnation: incarnation } : rule
}

/** A greeting that was made for an earlier life of this host. */
export function throwIfStaleWelcome(hostGeneration: number, rule: Rule): void {
  if (hostGeneration >= rule.hostGeneration) return
  throw new Fault(
    'STALE_GENERATION',
    `this host is at generation ${rule.hostGeneration}; ${hostGeneration} is over`
  )
}

type Gated = {
  rule(): Rule
  isRecovering(): boolean
  rememberEpoch(epoch: number, incarnation: string): Promise<void>
}

// These set or guard what the others are checked against, so they come through in any state of the agent.
const whileRecovering = ['Welcome', 'UpdateDenyList']

/** The agent's check between policy and fields (common/implement.ts). Reads only what every command has. */
export function agentGate({ rule, isRecovering, rememberEpoch }: Gated): Gate {
  return async ({ message, policy, path, caller }) => {
    if (policy.readOnly || caller.role === 'HOST') return
    const method = path.slice(path.lastIndexOf('/') + 1)
    const isCoordinator = caller.role === 'COORDINATOR'
    const isOpen = whileRecovering.includes(method)
    const standing = { isCoordinator, isRecovering: isRecovering() && !isOpen }
    if (!('coordinatorEpoch' in message)) {
      if (standing.isRecovering) throwRecovering()
      return
    }
    const { coordinatorEpoch, hostGeneration } = tokensOf(message)
    const incarnation = incarnationOf(message)
    if (method === 'Welcome') {
      throwIfStaleEpoch(coordinatorEpoch, standing, rule())
      throwIfTwin(coordinatorEpoch, incarnation, rule())
    } else throwIfStale({ coordinatorEpoch, hostGeneration }, standing, rule())
    if (isCoordinator) await rememberEpoch(coordinatorEpoch, incarnation)
  }
}

/** The same tokens with the request id, for the check of a method. */
export function stampOf(fields: Fields): Stamp {
  return {
    requestId: fields.uuid('requestId'),
    coordinatorEpoch: Number(fields.int64('coordinatorEpoch', 0n, most)),
    hostGeneration: Number(fields.int64('hostGeneration', 0n, most))
  }
}

const most = BigInt(Number.MAX_SAFE_INTEGER)

function tokensOf(message: object): Omit<Stamp, 'requestId'> {
  return checked(message, fields => ({
    coordinatorEpoch: Number(fields.int64('coordinatorEpoch', 0n, most)),
    hostGeneration: Number(fields.int64('hostGeneration', 0n, most))
  }))
}

/** Only a greeting names it; coordinators of earlier versions do not. */
const incarnationOf = (message: object): string =>
  checked(message, fields => fields.optionalUuid('coordinatorIncarnation')) ?? ''

function throwRecovering(): never {
  throw new Fault('RECOVERING', 'the agent is still finding out what runs here')
}
