import t from 'tap'
import { seconds } from '../../../common/units.js'
import { orphansOf, type UnknownVm } from '../../../coordinator/ha/orphans.js'

const vm: UnknownVm = { vmId: 'v', since: seconds(0) }
const cases: Array<[why: string, vm: UnknownVm, areAllHeard: boolean, now: number, lost: string[]]> = [
  ['its host let it go a minute ago, and no other has it', vm, true, 60, ['v']],
  ['it may be on its way', vm, true, 59, []],
  ['a host is silent, and may have it', vm, false, 600, []]
]
for (const [why, unknown, areAllHeard, now, lost] of cases) {
  t.test(`a VM of which nobody knows is ${lost.length > 0 ? 'lost' : 'waited for'}: ${why}`, async t => {
    t.strictSame(orphansOf([unknown], areAllHeard, seconds(now)), lost)
  })
}
