import t from 'tap'
import { GiB } from '../../../common/units.js'
import {
  firstPace,
  nextLeaving,
  nextPace,
  stuckOf,
  type Leaving,
  type Pace
} from '../../../coordinator/jobs/evacuation.js'

const vm = (vmId: string, change: Partial<Leaving> = {}): Leaving => ({
  ...{ vmId, memoryBytes: 100, priority: 50, failures: 0, isMoving: false },
  ...change
})

/** Large ones: a link is full with few of them. */
const pace = (atOnce: number, best: number | null = null): Pace => ({ atOnce, best, lightAtOnce: 0 })
const first = firstPace(32)

const cases: Array<[why: string, vms: Leaving[], pace: Pace, expected: string[]]> = [
  [
    'two large ones leave at first',
    ['a', 'b', 'c'].map(id => vm(id, { memoryBytes: GiB(4) })),
    first,
    ['a', 'b']
  ],
  [
    'as many small ones as are no more than one large one',
    ['a', 'b', 'c', 'd', 'e'].map(id => vm(id, { memoryBytes: GiB(1) })),
    first,
    ['a', 'b', 'c', 'd']
  ],
  [
    'no more small ones than the host has CPUs',
    ['a', 'b', 'c', 'd'].map(id => vm(id)),
    firstPace(3),
    ['a', 'b', 'c']
  ],
  ['eight at the most', Array.from('abcdefghij', id => vm(id)), first, [...'abcdefgh']],
  ['those under way count', [vm('a', { isMoving: true }), vm('b'), vm('c')], pace(2), ['b']],
  ['higher priorities first', [vm('a', { priority: 100 }), vm('b', { priority: 1 })], pace(1, 0), ['b']],
  ['small ones first', [vm('a', { memoryBytes: 200 }), vm('b')], pace(1, 0), ['b']],
  ['what failed comes last', [vm('a', { failures: 1 }), vm('b')], pace(1, 0), ['b']],
  ['what failed three times stays', [vm('a', { failures: 3 })], first, []]
]
for (const [why, vms, pace, expected] of cases) {
  t.test(`VMs leave a host: ${why}`, async t => t.strictSame(nextLeaving(vms, pace), expected))
}

t.test('a VM that failed three times is named, once it does not move any more', async t => {
  t.strictSame(stuckOf([vm('a', { failures: 3 }), vm('b', { failures: 3, isMoving: true }), vm('c')]), ['a'])
})

const paces: Array<[why: string, before: Pace, seen: { rate: number; failed: boolean }, atOnce: number]> = [
  ['the first figure', first, { rate: 100, failed: false }, 3],
  ['more moves more', pace(3, 100), { rate: 150, failed: false }, 4],
  ['more moves the same', pace(4, 150), { rate: 150, failed: false }, 4],
  ['more moves less', pace(5, 150), { rate: 100, failed: false }, 4],
  ['a migration failed', pace(5, 150), { rate: 300, failed: true }, 4],
  ['one is the least', pace(1, 150), { rate: 10, failed: true }, 1],
  ['eight are the most', pace(8, 150), { rate: 900, failed: false }, 8]
]
for (const [why, before, seen, atOnce] of paces) {
  t.test(`how many leave at once after: ${why}`, async t => t.equal(nextPace(before, seen).atOnce, atOnce))
}

t.test('after a failure small ones are no exception any more', async t => {
  const after = nextPace(first, { rate: 100, failed: true })
  t.strictSame(nextLeaving([vm('a'), vm('b')], after), ['a'])
})
