import t from 'tap'
import fc from 'fast-check'
import { brokenRules, decideEnforcement } from '../../../coordinator/affinity/enforce.js'
import type { AffinityGroup, ClusterSnapshot } from '../../../coordinator/scheduler/cluster.js'
import { lookAt } from '../../../coordinator/scheduler/look.js'
import { moved, movablesOf } from '../balance/moving.js'
import { cluster, group, host, load } from '../scheduler/make.js'

const world = (hosts: Record<string, string[]>, ...affinity: AffinityGroup[]): ClusterSnapshot => ({
  ...cluster(...Object.entries(hosts).map(([id, vms]) => host(id, { running: vms.map(vmId => load(vmId)) }))),
  affinity
})

const repairs: Array<[what: string, world: ClusterSnapshot, moves: Array<[vmId: string, to: string]>]> = [
  [
    'VMs that belong apart are parted',
    world({ a: ['x', 'y'], b: [] }, group({ vmRule: 'negative', vmIsHard: true, vmIds: ['x', 'y'] })),
    [['x', 'b']]
  ],
  [
    'VMs that belong together come to where most of them are',
    world({ a: ['x', 'y'], b: ['z'] }, group({ vmRule: 'positive', vmIsHard: true, vmIds: ['x', 'y', 'z'] })),
    [['z', 'a']]
  ],
  [
    'a VM returns to the hosts that it belongs on',
    world(
      { a: ['x'], b: [] },
      group({ hostRule: 'positive', hostIsHard: true, vmIds: ['x'], hostIds: ['b'] })
    ),
    [['x', 'b']]
  ],
  [
    'a VM leaves a host that it does not belong on',
    world({ a: ['x'], b: [] }, group({ hostRule: 'negative', vmIds: ['x'], hostIds: ['a'] })),
    [['x', 'b']]
  ],
  [
    'nothing moves while all rules are kept',
    world({ a: ['x'], b: ['y'] }, group({ vmRule: 'negative', vmIds: ['x', 'y'] })),
    []
  ],
  [
    'a wish is not granted at the price of a rule',
    world(
      { a: ['x'], b: [] },
      group({ groupId: 'h', hostRule: 'positive', hostIsHard: true, vmIds: ['x'], hostIds: ['a'] }),
      group({ groupId: 's', hostRule: 'positive', vmIds: ['x'], hostIds: ['b'], priority: 9 })
    ),
    []
  ]
]
for (const [what, snapshot, expected] of repairs) {
  t.test(what, async t => {
    const { moves } = decideEnforcement(snapshot, movablesOf(snapshot), 4)
    t.strictSame(
      moves.map(({ vmId, toHostId }) => [vmId, toHostId]),
      expected
    )
  })
}

t.test('no more moves than allowed, hard rules before wishes', async t => {
  const snapshot = world(
    { a: ['w', 'x', 'y'], b: [], c: [] },
    group({ groupId: 's', hostRule: 'negative', vmIds: ['w'], hostIds: ['a'], priority: 9 }),
    group({ groupId: 'h', vmRule: 'negative', vmIsHard: true, vmIds: ['x', 'y'] })
  )
  t.match(decideEnforcement(snapshot, movablesOf(snapshot), 1).moves, [{ vmId: 'x' }])
})

t.test('rules that contradict each other are named and move nothing for ever', async t => {
  const snapshot = world(
    { a: ['x', 'y'], b: [] },
    group({ groupId: 'p', vmRule: 'positive', vmIsHard: true, vmIds: ['x', 'y'] }),
    group({ groupId: 'n', vmRule: 'negative', vmIsHard: true, vmIds: ['x', 'y'] })
  )
  const { moves, unsolved } = decideEnforcement(snapshot, movablesOf(snapshot), 4)
  t.strictSame(moves, [])
  t.ok(unsolved.length > 0)
})

t.test('enforcing again and again comes to an end, with fewer rules broken than before', async t => {
  const rule = fc.constantFrom('none' as const, 'positive' as const, 'negative' as const)
  const anyGroup = fc.record({
    ...{ vmRule: rule, vmIsHard: fc.boolean(), hostRule: rule, hostIsHard: fc.boolean() },
    priority: fc.integer({ min: 0, max: 2 }),
    vmIds: fc.uniqueArray(fc.constantFrom('v0', 'v1', 'v2', 'v3', 'v4', 'v5'), { maxLength: 4 }),
    hostIds: fc.uniqueArray(fc.constantFrom('h0', 'h1', 'h2'), { maxLength: 2 })
  })
  const places = fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 6, maxLength: 6 })
  fc.assert(
    fc.property(fc.array(anyGroup, { maxLength: 4 }), places, (groups, at) => {
      let snapshot = world(
        Object.fromEntries([0, 1, 2].map(h => [`h${h}`, at.flatMap((to, v) => (to === h ? [`v${v}`] : []))])),
        ...groups.map((each, i) => group({ ...each, groupId: `g${i}`, name: `g${i}` }))
      )
      const hard = (of: ClusterSnapshot) =>
        brokenRules(lookAt(of)).filter(({ level }) => level === 'hard-host').length
      const before = hard(snapshot)
      for (let round = 0; round < 40; round++) {
        const { moves } = decideEnforcement(snapshot, movablesOf(snapshot), 1)
        if (moves.length === 0) return hard(snapshot) <= before
        snapshot = moved(snapshot, moves)
      }
      return false
    }),
    { numRuns: 200 }
  )
})
