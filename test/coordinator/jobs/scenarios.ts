import type { JobKind } from '../../../coordinator/jobs/kinds.js'
import { furnish, idOf, type Fixture } from './fixture.js'
import { diskScenarios } from './scenarios/disk.js'
import type { Scenario } from './scenarios/furniture.js'
import { hostScenarios } from './scenarios/host.js'
import { storageDomainScenarios } from './scenarios/storage-domain.js'
import { vmScenarios } from './scenarios/vm.js'

export { type Scenario } from './scenarios/furniture.js'

// Every kind of job, ordered as its service would order it, in a house that is furnished for it.

export const scenarios: Scenario[] = [
  ...vmScenarios,
  ...diskScenarios,
  ...storageDomainScenarios,
  ...hostScenarios
]

/** The house of a scenario, and its job: created, and not begun. */
export function prepare(
  house: Fixture,
  { vm, furnish: more, order }: Scenario
): { jobId: string; kind: JobKind } {
  furnish(house, vm)
  more?.(house)
  const { kind, context, reserve } = order()
  const jobId = idOf(`job ${kind}`)
  house.before = house.dump()
  house.store.transaction(tx => {
    reserve?.(tx)
    house.jobs.create(tx, kind, { id: jobId, context, objects: {}, claims: [], actor: 'local' } as never)
  })
  return { jobId, kind }
}
