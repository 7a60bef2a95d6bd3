import t from 'tap'
import { throwIfStale, throwIfTwin, type Rule, type Standing } from '../../agent/gate.js'
import type { Reason } from '../../common/fault.js'
import { Fault } from '../../common/fault.js'

const rule: Rule = { hostGeneration: 4, coordinatorEpoch: 7, coordinatorIncarnation: 'first' }
const coordinator: Standing = { isCoordinator: true, isRecovering: false }
const local: Standing = { isCoordinator: false, isRecovering: false }

const cases: Array<[string, Standing, epoch: number, generation: number, Reason | null]> = [
  ['the ruling coordinator may command', coordinator, 7, 4, null],
  ['a newer coordinator may command', coordinator, 8, 4, null],
  ['an older coordinator is refused', coordinator, 6, 4, 'STALE_COORDINATOR'],
  ['a coordinator without epoch is refused', coordinator, 0, 4, 'STALE_COORDINATOR'],
  ['an epoch out of reach is refused', coordinator, 1_000_008, 4, 'STALE_COORDINATOR'],
  ['the largest jump is accepted', coordinator, 1_000_007, 4, null],
  ['a command from before the fence is refused', coordinator, 7, 3, 'STALE_GENERATION'],
  ['a command without generation is refused', coordinator, 7, 0, 'STALE_GENERATION'],
  ['the local administrator needs neither', local, 0, 0, null],
  ['the local administrator cannot speak for an old coordinator', local, 6, 4, 'STALE_COORDINATOR'],
  ['nothing is changed while the agent recovers', { ...coordinator, isRecovering: true }, 7, 4, 'RECOVERING']
]

const reasonOf = (decide: () => void): unknown => {
  try {
    decide()
    return null
  } catch (error) {
    return error instanceof Fault ? error.reason : error
  }
}

for (const [why, standing, coordinatorEpoch, hostGeneration, reason] of cases) {
  t.test(why, async t => {
    const decide = () => throwIfStale({ coordinatorEpoch, hostGeneration }, standing, rule)
    t.equal(reasonOf(decide), reason)
  })
}

const unnamed: Rule = { ...rule, coordinatorIncarnation: '' }
const greetings: Array<[string, epoch: number, incarnation: string, Rule, Reason | null]> = [
  ['a coordinator greets as often as it likes', 7, 'first', rule, null],
  ['a newer reign greets, whoever it is', 8, 'second', rule, null],
  ['of two coordinators with one epoch the first has the host', 7, 'second', rule, 'STALE_COORDINATOR'],
  ['who does not say who it is, is of an earlier version', 7, '', rule, null],
  ['where nobody said so yet, nobody was first', 7, 'second', unnamed, null]
]

for (const [why, epoch, incarnation, known, reason] of greetings) {
  t.test(why, async t =>
    t.equal(
      reasonOf(() => throwIfTwin(epoch, incarnation, known)),
      reason
    )
  )
}
