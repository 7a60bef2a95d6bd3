import t from 'tap'
import { throwIfStale, type Rule, type Standing } from '../../agent/gate.js'
import type { Reason } from '../../common/fault.js'
import { Fault } from '../../common/fault.js'

const rule: Rule = { hostGeneration: 4, coordinatorEpoch: 7 }
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

for (const [why, standing, coordinatorEpoch, hostGeneration, reason] of cases) {
  t.test(why, async t => {
    const decide = () => {
      try {
        throwIfStale({ coordinatorEpoch, hostGeneration }, standing, rule)
        return null
      } catch (error) {
        return error instanceof Fault ? error.reason : error
      }
    }
    t.equal(decide(), reason)
  })
}
