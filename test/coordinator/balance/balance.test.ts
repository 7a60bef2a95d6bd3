import t from 'tap'
import fc from 'fast-check'
import { GiB } from '../../../common/units.js'
import { decideBalance } from '../../../coordinator/balance/decide.js'
import { planBalance, type Move } from '../../../coordinator/balance/plan.js'
import { BusyMinutes, Smoothed } from '../../../coordinator/balance/smoothed.js'
import { brokenRules } from '../../../coordinator/affinity/enforce.js'
import { defaultPolicy, type ClusterSnapshot } from '../../../coordinator/scheduler/cluster.js'
import { lookAt } from '../../../coordinator/scheduler/look.js'
import { builtInPolicies } from '../../../coordinator/scheduler/policy.js'
import { cluster, group, host, load } from '../scheduler/make.js'
import { moved, movablesOf } from './moving.js'

const even = { ...defaultPolicy, ...builtInPolicies.evenly_distributed }
const big = { memory: GiB(64), memoryAvailable: GiB(64), cpus: 8 }

const anyLoads = fc.record({
  hosts: fc.array(fc.array(fc.integer({ min: 5, max: 150 }), { maxLength: 6 }), {
    minLength: 2,
    maxLength: 6
  }),
  apart: fc.array(fc.integer({ min: 0, max: 8 }), { maxLength: 3 }),
  isHard: fc.boolean()
})
const snapshotOf = ({
  hosts,
  apart,
  isHard
}: {
  hosts: number[][]
  apart: number[]
  isHard: boolean
}): ClusterSnapshot => {
  let next = 0
  return {
    policy: even,
    hosts: hosts.map((vms, i) =>
      host(`h${i}`, { ...big, running: vms.map(cpuPercent => ({ ...load(`v${next++}`), cpuPercent })) })
    ),
    affinity: [group({ vmRule: 'negative', vmIsHard: isHard, vmIds: [...new Set(apart)].map(i => `v${i}`) })]
  }
}
const brokenIn = (snapshot: ClusterSnapshot) => brokenRules(lookAt(snapshot)).length

t.test('a plan evens out, breaks no rule, and made again finds nothing to do', async t => {
  fc.assert(
    fc.property(anyLoads, given => {
      const snapshot = snapshotOf(given)
      const plan = planBalance(snapshot, movablesOf(snapshot), { mostMoves: 100 })
      const after = moved(snapshot, plan.moves)
      const again = planBalance(after, movablesOf(after), { mostMoves: 100 })
      return (
        plan.scoreAfter <= plan.scoreBefore &&
        again.moves.length === 0 &&
        Math.abs(again.scoreBefore - plan.scoreAfter) < 1e-6 &&
        brokenIn(after) <= brokenIn(snapshot)
      )
    }),
    { numRuns: 200 }
  )
})

t.test('with steady loads balancing comes to rest, and no VM returns to where it was', async t => {
  fc.assert(
    fc.property(anyLoads, given => {
      let snapshot = snapshotOf(given)
      const visited = new Map<string, Set<string>>()
      let isAtIt = false
      for (let round = 0; round < 60; round++) {
        const decision = decideBalance({
          ...{ snapshot, movables: movablesOf(snapshot), busyHostIds: new Set<string>() },
          ...{ migrations: 0, isAtIt }
        })
        isAtIt = decision.isAtIt
        const moves = decision.plan?.moves ?? []
        if (moves.length === 0) return true
        for (const { vmId, fromHostId, toHostId } of moves) {
          const known = (visited.get(vmId) ?? new Set()).add(fromHostId)
          if (known.has(toHostId)) return false
          visited.set(vmId, known)
        }
        snapshot = moved(snapshot, moves)
      }
      return false
    }),
    { numRuns: 200 }
  )
})

t.test('noise of a tenth around an even load moves nothing', async t => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0.9, max: 1.1, noNaN: true }), { minLength: 16, maxLength: 16 }),
      noise => {
        const hosts = [0, 1, 2, 3].map(i =>
          host(`h${i}`, {
            ...big,
            running: [0, 1, 2, 3].map(j => ({
              ...load(`v${i}${j}`),
              cpuPercent: 80 * (noise[4 * i + j] ?? 1)
            }))
          })
        )
        const snapshot = { ...cluster(...hosts), policy: even }
        const input = {
          snapshot,
          movables: movablesOf(snapshot),
          busyHostIds: new Set<string>(),
          migrations: 0
        }
        return decideBalance({ ...input, isAtIt: false }).plan === null
      }
    )
  )
})

t.test(
  'under loads that swing, a VM that moved rests, so each moves once in ten minutes at most',
  async t => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 5, max: 300 }), { minLength: 200, maxLength: 200 }), swings => {
        let snapshot: ClusterSnapshot = {
          ...cluster(
            ...[0, 1, 2].map(i => host(`h${i}`, { ...big, running: [0, 1, 2].map(j => load(`v${i}${j}`)) }))
          ),
          policy: even
        }
        const lastMove = new Map<string, number>()
        for (let minute = 0; minute < 20; minute++) {
          let at = minute * 9
          snapshot = {
            ...snapshot,
            hosts: snapshot.hosts.map(each => ({
              ...each,
              running: each.running.map(vm => ({ ...vm, cpuPercent: swings[at++] ?? 0 }))
            }))
          }
          const movables = movablesOf(snapshot).map(movable => ({
            ...movable,
            secondsSinceMove: 60 * (minute - (lastMove.get(movable.request.vm.vmId) ?? -100))
          }))
          const input = { snapshot, movables, busyHostIds: new Set<string>(), migrations: 0, isAtIt: false }
          const moves: Move[] = decideBalance(input).plan?.moves ?? []
          for (const { vmId } of moves) {
            if (minute - (lastMove.get(vmId) ?? -100) < 10) return false
            lastMove.set(vmId, minute)
          }
          snapshot = moved(snapshot, moves)
        }
        return true
      }),
      { numRuns: 100 }
    )
  }
)

t.test('hosts that migrate already, and more moves than are allowed at once, wait', async t => {
  const hosts = [
    host('a', { ...big, running: [1, 2, 3, 4, 5].map(i => ({ ...load(`v${i}`), cpuPercent: 150 })) }),
    host('b', big)
  ]
  const snapshot = { ...cluster(...hosts), policy: even }
  const input = {
    snapshot,
    movables: movablesOf(snapshot),
    busyHostIds: new Set<string>(),
    migrations: 0,
    isAtIt: false
  }
  t.equal(decideBalance(input).plan?.moves.length, 2)
  t.equal(decideBalance({ ...input, migrations: 1 }).plan?.moves.length, 1)
  t.equal(decideBalance({ ...input, migrations: 2 }).plan, null)
  t.equal(decideBalance({ ...input, busyHostIds: new Set(['b']) }).plan, null)
})

t.test('a policy without a balancer never moves anything', async t => {
  const hosts = [
    host('a', { ...big, running: [1, 2, 3].map(i => ({ ...load(`v${i}`), cpuPercent: 250 })) }),
    host('b', big)
  ]
  const snapshot = cluster(...hosts)
  const input = {
    snapshot,
    movables: movablesOf(snapshot),
    busyHostIds: new Set<string>(),
    migrations: 0,
    isAtIt: true
  }
  t.match(decideBalance(input), { plan: null, reason: 'the policy balances nothing' })
})

t.test('even guests: begins at the number and the difference that the policy says', async t => {
  const policy = { ...defaultPolicy, ...builtInPolicies.vm_evenly_distributed }
  const withVms = (count: number) => {
    const running = Array.from({ length: count }, (_, i) => ({ ...load(`v${i}`, GiB(1)), cpuPercent: 1 }))
    const snapshot = { ...cluster(host('a', { ...big, running }), host('b', big)), policy }
    return decideBalance({
      ...{
        snapshot,
        movables: movablesOf(snapshot),
        busyHostIds: new Set<string>(),
        migrations: 0,
        isAtIt: false
      }
    })
  }
  t.equal(withVms(9).plan, null)
  t.equal(withVms(12).plan?.moves.length, 2)
})

t.test('an average follows slowly, and minutes without a break are counted', async t => {
  const smoothed = new Smoothed()
  smoothed.note(0, 0)
  smoothed.note(100, 1)
  t.ok((smoothed.value ?? 0) < 2)
  for (let second = 2; second < 600; second++) smoothed.note(100, second)
  t.ok((smoothed.value ?? 0) > 99)
  const busy = new BusyMinutes()
  for (let second = 0; second < 300; second += 10) busy.note(second < 60 ? 10 : 90, second)
  t.equal(busy.secondsAbove(80), 240)
  t.equal(busy.secondsAbove(95), 0)
  busy.note(90, 700)
  t.equal(busy.secondsAbove(80), 60, 'a gap ends it')
})
