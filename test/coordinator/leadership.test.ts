import t from 'tap'
import { mayActUnasked } from '../../coordinator/leadership.js'

const cases: Array<[string, obeying: number, refusing: number, boolean]> = [
  ['a coordinator that nobody refuses restarts VMs, also where it reaches nobody', 0, 0, true],
  ['one host that obeys another coordinator does not stop it', 3, 1, true],
  ['where hosts are shared evenly, neither restarts', 2, 2, false],
  ['of two that share the hosts, the one with fewer leaves restarts to the other', 1, 3, false],
  ['a restored one that is refused by all waits for its operator', 0, 4, false]
]

for (const [why, obeying, refusing, expected] of cases) {
  t.test(why, async t => t.equal(mayActUnasked({ obeying, refusing }), expected))
}
