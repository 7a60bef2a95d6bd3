import t from 'tap'
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

const cases: Array<[why: string, vms: Leaving[], pace: Pace, expected: string[]]> = [
  ['two leave at first', [vm('a'), vm('b'), vm('c')], firstPace, ['a', 'b']],
  ['those under way count', [vm('a', { isMoving: true }), vm('b'), vm('c')], firstPace, ['b']],
  [
    'higher priorities first',
    [vm('a', { priority: 100 }), vm('b', { priority: 1 })],
    { atOnce: 1, best: 0 },
    ['b']
  ],
  ['small ones first', [vm('a', { memoryBytes: 200 }), vm('b')], { atOnce: 1, best: 0 }, ['b']],
  ['what failed comes last', [vm('a', { failures: 1 }), vm('b')], { atOnce: 1, best: 0 }, ['b']],
  ['what failed three times stays', [vm('a', { failures: 3 })], firstPace, []]
]
for (const [why, vms, pace, expected] of cases) {
  t.test(`VMs leave a host: ${why}`, async t => t.strictSame(nextLeaving(vms, pace), expected))
}

t.test('a VM that failed three times is named, once it does not move any more', async t => {
  t.strictSame(stuckOf([vm('a', { failures: 3 }), vm('b', { failures: 3, isMoving: true }), vm('c')]), ['a'])
})

const paces: Array<[why: string, before: Pace, seen: { rate: number; failed: boolean }, atOnce: number]> = [
  ['the first figure', firstPace, { rate: 100, failed: false }, 3],
  ['more moves more', { atOnce: 3, best: 100 }, { rate: 150, failed: false }, 4],
  ['more moves the same', { atOnce: 4, best: 150 }, { rate: 150, failed: false }, 4],
  ['more moves less', { atOnce: 5, best: 150 }, { rate: 100, failed: false }, 4],
  ['a migration failed', { atOnce: 5, best: 150 }, { rate: 300, failed: true }, 4],
  ['one is the least', { atOnce: 1, best: 150 }, { rate: 10, failed: true }, 1],
  ['eight are the most', { atOnce: 8, best: 150 }, { rate: 900, failed: false }, 8]
]
for (const [why, before, seen, atOnce] of paces) {
  t.test(`how many leave at once after: ${why}`, async t => t.equal(nextPace(before, seen).atOnce, atOnce))
}
