import { ruleAfter } from '../../../agent/gate.js'
import { Fault } from '../../../common/fault.js'
import type { Machine } from './machine.js'
import type { SimWorld } from './world.js'

/** What became of one call to an agent: its answer, or nothing was heard. */
export type Answer = { kind: 'ok'; word: string } | { kind: 'refused'; reason: string } | { kind: 'silent' }

export const isAwake = (world: SimWorld, host: Machine) =>
  host.isOn && world.now >= host.frozenUntil && world.now >= host.hungUntil

/** Whether its heartbeats arrive. */
export const isHeard = (world: SimWorld, host: Machine) => isAwake(world, host) && host.netOut

/**
 * One command, over a network that may lose it or its answer, through the agent's own gate and its ledger: a
 * request id that was seen has no second effect.
 */
export function command(
  world: SimWorld,
  host: Machine,
  { epoch, generation }: { epoch: number; generation: number },
  requestId: string,
  effect: () => string
): Answer {
  if (!isAwake(world, host) || !host.netIn) return { kind: 'silent' }
  const answer = attempt()
  return host.netOut ? answer : { kind: 'silent' }

  function attempt(): Answer {
    const { rules } = world
    try {
      const standing = { isCoordinator: true, isRecovering: world.now < host.recoversUntil }
      rules.throwIfStale({ coordinatorEpoch: epoch, hostGeneration: generation }, standing, host.rule)
    } catch (error) {
      if (error instanceof Fault) return { kind: 'refused', reason: error.reason }
      throw error
    }
    remember(host, epoch)
    const known = rules.remembersRequests ? host.ledger.get(requestId) : undefined
    const word = known ?? effect()
    host.ledger.set(requestId, word)
    return { kind: 'ok', word }
  }
}

/** The greeting that makes an agent listen to a coordinator. */
export function welcome(
  world: SimWorld,
  host: Machine,
  { epoch, generation, incarnation }: { epoch: number; generation: number; incarnation: string }
): Answer {
  if (!isAwake(world, host) || !host.netIn) return { kind: 'silent' }
  try {
    world.rules.throwIfStaleEpoch(epoch, { isCoordinator: true, isRecovering: false }, host.rule)
    world.rules.throwIfTwin(epoch, incarnation, host.rule)
    world.rules.throwIfStaleWelcome(generation, host.rule)
  } catch (error) {
    if (error instanceof Fault) return { kind: 'refused', reason: error.reason }
    throw error
  }
  remember(host, epoch, incarnation)
  host.rule = { ...host.rule, hostGeneration: generation }
  return { kind: 'ok', word: '' }
}

/** As agent/identity.ts. */
function remember(host: Machine, epoch: number, incarnation = ''): void {
  host.durableEpoch = Math.max(host.durableEpoch, epoch)
  host.rule = ruleAfter(host.rule, epoch, incarnation)
}
