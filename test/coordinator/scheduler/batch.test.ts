import t from 'tap'
import fc from 'fast-check'
import { bytes, GiB, MiB } from '../../../common/units.js'
import { placeAll } from '../../../coordinator/scheduler/batch.js'
import {
  defaultPolicy,
  hostReserve,
  memoryNeeded,
  type ClusterSnapshot,
  type PlacementRequest
} from '../../../coordinator/scheduler/cluster.js'
import { unitsOf } from '../../../coordinator/scheduler/judge.js'
import { lookAt } from '../../../coordinator/scheduler/look.js'
import { Planner } from '../../../coordinator/scheduler/planner.js'
import { place, placeIn } from '../../../coordinator/scheduler/place.js'
import { builtInPolicies } from '../../../coordinator/scheduler/policy.js'
import { recordOf, replay } from '../../../coordinator/scheduler/record.js'
import { cluster, group, host, load, request } from './make.js'

const anyCluster = fc
  .record({
    hosts: fc.array(
      fc.record({
        gib: fc.integer({ min: 2, max: 32 }),
        cpus: fc.integer({ min: 1, max: 16 }),
        vms: fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 4 })
      }),
      { minLength: 1, maxLength: 6 }
    ),
    policy: fc.constantFrom(...Object.values(builtInPolicies)),
    groups: fc.array(
      fc.record({
        vmRule: fc.constantFrom('none' as const, 'positive' as const, 'negative' as const),
        vmIsHard: fc.boolean(),
        hostRule: fc.constantFrom('none' as const, 'positive' as const, 'negative' as const),
        hostIsHard: fc.boolean(),
        vms: fc.array(fc.integer({ min: 0, max: 7 }), { maxLength: 4 }),
        hosts: fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 3 })
      }),
      { maxLength: 3 }
    )
  })
  .map(({ hosts, policy, groups }): ClusterSnapshot => ({
    policy: { ...defaultPolicy, ...policy },
    hosts: hosts.map(({ gib, cpus, vms }, i) =>
      host(`h${i}`, {
        ...{ cpus, memory: GiB(gib), memoryAvailable: GiB(gib) },
        running: vms.map((m, j) => load(`r${i}-${j}`, GiB(m)))
      })
    ),
    affinity: groups.map(({ vms, hosts, ...rules }, i) =>
      group({
        ...{ ...rules, groupId: `g${i}`, name: `g${i}`, priority: i },
        vmIds: [...new Set(vms)].map(v => `v${v}`),
        hostIds: [...new Set(hosts)].map(h => `h${h}`)
      })
    )
  }))
const anyRequests = fc
  .array(
    fc.record({
      gib: fc.integer({ min: 1, max: 8 }),
      vcpus: fc.integer({ min: 1, max: 4 }),
      isHa: fc.boolean()
    }),
    {
      maxLength: 8
    }
  )
  .map(vms =>
    vms.map(({ gib, vcpus, isHa }, i) =>
      request({}, { vmId: `v${i}`, name: `v${i}`, vcpus, isHa, memory: GiB(gib) })
    )
  )

/** The slow way: a snapshot with what was placed before, and a single placement. */
function withPending(snapshot: ClusterSnapshot, placed: Array<[string, PlacementRequest]>): ClusterSnapshot {
  return {
    ...snapshot,
    hosts: snapshot.hosts.map(each => ({
      ...each,
      pending: placed.flatMap(([hostId, { vm }]) => (hostId === each.hostId ? [vm] : []))
    }))
  }
}

t.test('the planner places each VM where a single placement would', async t => {
  fc.assert(
    fc.property(anyCluster, anyRequests, (snapshot, requests) => {
      const planner = new Planner(lookAt(snapshot))
      const haVms = planner.look.haVms
      const placed: Array<[string, PlacementRequest]> = []
      for (const asked of requests) {
        const now = lookAt(withPending(snapshot, placed))
        const single = placeIn({ ...now, haVms }, unitsOf(snapshot.policy), asked)
        const found = planner.place(asked)
        if (found !== (single.kind === 'placed' ? single.hostId : null)) return false
        if (found !== null) placed.push([found, asked])
      }
      return true
    }),
    { numRuns: 300 }
  )
})

t.test('a batch promises no more than there is, and breaks no hard rule between VM and host', async t => {
  fc.assert(
    fc.property(anyCluster, anyRequests, (snapshot, requests) => {
      const { placements } = placeAll(snapshot, requests)
      const placed = placements.flatMap(({ vmId, hostId }) => {
        const asked = requests.find(({ vm }) => vm.vmId === vmId)
        return hostId !== null && asked ? [[hostId, asked] as [string, PlacementRequest]] : []
      })
      return snapshot.hosts.every(each => {
        const own = placed.filter(([hostId]) => hostId === each.hostId)
        const came = own.reduce((sum, [, { vm }]) => sum + memoryNeeded(vm), 0)
        const before = each.running.reduce((sum, vm) => sum + memoryNeeded(vm), 0)
        const keepsRules = own.every(([hostId, { vm }]) =>
          snapshot.affinity.every(
            ({ vmIds, hostRule, hostIsHard, hostIds }) =>
              !hostIsHard ||
              hostRule === 'none' ||
              hostIds.length === 0 ||
              !vmIds.includes(vm.vmId) ||
              hostIds.includes(hostId) === (hostRule === 'positive')
          )
        )
        return keepsRules && (came === 0 || before + came <= each.memory - hostReserve)
      })
    }),
    { numRuns: 300 }
  )
})

t.test('a large VM is not stranded by small ones that were asked for first', async t => {
  const hosts = [
    host('a', { memory: GiB(8), memoryAvailable: GiB(8) }),
    host('b', { memory: GiB(8), memoryAvailable: GiB(8) })
  ]
  const small = [1, 2, 3, 4].map(i => request({}, { vmId: `s${i}`, memory: GiB(1) }))
  const large = request({}, { vmId: 'large', memory: GiB(6) })
  const { placements } = placeAll(cluster(...hosts), [...small, large])
  t.ok(placements.every(({ hostId }) => hostId !== null))
})

t.test('one that finds no room gets it by another being placed elsewhere', async t => {
  // y fits on both, x only on b, where y alone would go: y is larger, so it comes first.
  const hosts = [
    host('a', { bridges: ['br0'], memory: GiB(8), memoryAvailable: GiB(8) }),
    host('b', { bridges: ['br0', 'br1'], memory: GiB(9), memoryAvailable: GiB(9), cpus: 16 })
  ]
  const y = request({}, { vmId: 'y', memory: GiB(7) })
  const x = request({}, { vmId: 'x', memory: GiB(6), bridges: ['br1'] })
  t.strictSame(placeAll(cluster(...hosts), [y, x]).placements, [
    { vmId: 'y', hostId: 'a' },
    { vmId: 'x', hostId: 'b' }
  ])
})

t.test('members of a group that must stay apart are spread by one batch', async t => {
  const snapshot = {
    ...cluster(host('a'), host('b'), host('c')),
    affinity: [group({ vmRule: 'negative', vmIsHard: true, vmIds: ['v1', 'v2', 'v3', 'v4'] })]
  }
  const requests = [1, 2, 3, 4].map(i => request({}, { vmId: `v${i}` }))
  const found = placeAll(snapshot, requests).placements.map(({ hostId }) => hostId)
  t.strictSame(found.toSorted(), ['a', 'b', 'c', null])
})

t.test('a decision is made again from its record, after a journey through JSON', async t => {
  fc.assert(
    fc.property(anyCluster, anyRequests, (snapshot, requests) => {
      const { placements } = placeAll(snapshot, requests)
      const record = JSON.parse(JSON.stringify(recordOf(snapshot, requests))) as ReturnType<typeof recordOf>
      return placements.every(({ hostId }, ordinal) => replay(record, ordinal)?.hostId === hostId)
    }),
    { numRuns: 100 }
  )
  const snapshot = cluster(host('a', { running: [load('x')] }), host('b'))
  const asked = request({}, { memory: bytes(MiB(512)) })
  t.strictSame(replay(recordOf(snapshot, [asked]))?.placement, place(snapshot, asked))
})
