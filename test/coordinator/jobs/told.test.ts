import t from 'tap'
import { toldOf } from '../../../coordinator/jobs/told.js'

const cases: Array<[told: string, ...of: Parameters<typeof toldOf>]> = [
  ['VM web was started', 'vm.start', 'VM web', null],
  ['VM web was not started: no room', 'vm.start', 'VM web', 'no room'],
  ['host h1 was switched on', 'host.fence', 'host h1', null, 'switched on'],
  ['host h1 was not reached by its power devices: no answer', 'host.fence', 'host h1', 'no answer']
]
for (const [told, ...of] of cases) t.test(`people read "${told}"`, async t => t.equal(toldOf(...of), told))
