import t from 'tap'
import fc from 'fast-check'
import { GiB } from '../../../common/units.js'
import { decidePower, type HostPower, type PowerSaverInput } from '../../../coordinator/power-saver/decide.js'
import { inOrder, planConsolidation } from '../../../coordinator/power-saver/consolidate.js'
import { leastHosts, pack } from '../../../coordinator/power-saver/pack.js'
import { scheduleAt } from '../../../coordinator/power-saver/schedule.js'
import {
  defaultPolicy,
  type ClusterSnapshot,
  type SchedulableHost
} from '../../../coordinator/scheduler/cluster.js'
import { builtInPolicies } from '../../../coordinator/scheduler/policy.js'
import { moved, movablesOf } from '../balance/moving.js'
import { cluster, host, load, request } from '../scheduler/make.js'

const plainPower: HostPower = {
  ...{ hasPower: true, keepsPower: false, isManager: false, isBusy: false, hasExternalVms: false }
}
const policy = { ...defaultPolicy, ...builtInPolicies.power_saving }
const vms = (count: number, cpuPercent: number, name = 'v') =>
  Array.from({ length: count }, (_, i) => ({ ...load(`${name}${i}`), cpuPercent }))

function input(hosts: SchedulableHost[], change: Partial<PowerSaverInput> = {}): PowerSaverInput {
  const snapshot = { ...cluster(...hosts), policy }
  return {
    ...{ snapshot, movables: movablesOf(snapshot), haVms: [], haReservedHosts: 0, resting: [], underWay: 0 },
    ...{ waiting: [], hostsInReserve: 0, switchesHosts: true, cpuPerMinute: 0 },
    power: new Map(hosts.map(({ hostId }) => [hostId, plainPower])),
    ...change
  }
}
const with_ = (hostId: string, change: Partial<HostPower>, ...others: string[]) =>
  new Map([[hostId, { ...plainPower, ...change }], ...others.map(id => [id, plainPower] as const)])
const asleep = { hostId: 'z', name: 'host-z', state: 'off' as const }
const rests = (hostId: string, change: Partial<SchedulableHost> = {}) =>
  host(hostId, { status: 'maintenance', storageDomainIds: [], ...change })
const homeless = (name: string, memory = GiB(2)) => request({}, { vmId: name, name, memory })
const busy = [host('a', { running: vms(2, 100) }), host('b')]

const decisions: Array<[what: string, input: PowerSaverInput, expected: object]> = [
  ['an empty host above the reserve rests', input(busy), { kind: 'rest', hostId: 'b' }],
  ['the last host never rests', input([host('b')]), { kind: 'nothing' }],
  ['the reserve stays', input(busy, { hostsInReserve: 1 }), { kind: 'nothing' }],
  [
    'a host without a power device never rests',
    input(busy, { power: with_('b', { hasPower: false }, 'a') }),
    { kind: 'nothing' }
  ],
  [
    'a host that a person keeps never rests',
    input(busy, { power: with_('b', { keepsPower: true }, 'a') }),
    { kind: 'nothing' }
  ],
  ['while one is on its way nothing else is begun', input(busy, { underWay: 1 }), { kind: 'nothing' }],
  [
    'nothing rests at times when hosts are not switched',
    input(busy, { switchesHosts: false }),
    { kind: 'nothing' }
  ],
  [
    'of two empty hosts the one without storage domains to manage rests',
    input([busy[0]!, host('b'), host('c')], { power: with_('c', { isManager: true }, 'a', 'b') }),
    { kind: 'rest', hostId: 'b' }
  ],
  [
    'a missing reserve wakes a host',
    input([busy[0]!], { hostsInReserve: 1, resting: [asleep] }),
    { kind: 'wake', hostId: 'z', how: 'powerOn' }
  ],
  [
    'a load that grows wakes a host before it is there',
    input([host('a', { running: vms(2, 100) })], { cpuPerMinute: 15, resting: [asleep] }),
    { kind: 'wake', hostId: 'z' }
  ],
  [
    'one in maintenance is woken before one without power',
    input([busy[0]!], {
      hostsInReserve: 1,
      resting: [asleep, { ...asleep, hostId: 'y', state: 'maintenance' }]
    }),
    { kind: 'wake', hostId: 'y', how: 'activate' }
  ],
  [
    'a VM that finds no host wakes one that could take it, and not the one that is back sooner',
    input([host('a', { running: vms(7, 1) }), rests('y', { bridges: [] }), rests('z')], {
      waiting: [homeless('big')],
      resting: [{ ...asleep, hostId: 'y', state: 'maintenance' }, asleep]
    }),
    { kind: 'wake', hostId: 'z', how: 'powerOn', reason: 'VM big finds no other host' }
  ],
  [
    'a VM that no resting host could take wakes none',
    input([host('a', { running: vms(2, 100) }), rests('z')], {
      waiting: [homeless('huge', GiB(900))],
      resting: [asleep]
    }),
    { kind: 'nothing' }
  ],
  [
    'nothing is put to rest while a VM that waited is about to start',
    input(busy, { waiting: [homeless('small')] }),
    { kind: 'nothing', reason: 'VM small is about to start' }
  ],
  [
    'of two that rest in maintenance one loses its power',
    input(busy, {
      hostsInReserve: 1,
      power: new Map(['a', 'b', 'x', 'y'].map(id => [id, plainPower])),
      resting: ['x', 'y'].map(hostId => ({ hostId, name: hostId, state: 'maintenance' as const }))
    }),
    { kind: 'powerOff', hostId: 'x' }
  ],
  [
    'a host that is hardly used is emptied onto one that is used',
    input([host('a', { running: vms(2, 80) }), host('b', { running: vms(1, 20, 'w') })]),
    { kind: 'empty', hostId: 'b', moves: [{ vmId: 'w0', toHostId: 'a' }] }
  ],
  [
    'two hosts whose load together would be too much both stay',
    input([host('a', { running: vms(2, 140) }), host('b', { running: vms(1, 70, 'w') })]),
    { kind: 'nothing' }
  ]
]
for (const [what, given, expected] of decisions) {
  t.test(what, async t => {
    t.match(decidePower(given), expected)
  })
}

t.test('a host with a pinned VM is never emptied', async t => {
  const hosts = [host('a', { running: vms(2, 80) }), host('b', { running: vms(1, 20, 'w') })]
  const given = input(hosts)
  const pinned = movablesOf(given.snapshot, vmId => (vmId === 'w0' ? { pinnedHostIds: ['b'] } : {}))
  t.match(decidePower({ ...given, movables: pinned }), { kind: 'nothing' })
  t.match(decidePower({ ...given, movables: given.movables.slice(0, 2) }), { kind: 'nothing' })
})

t.test('a host whose room the reservation needs does not rest', async t => {
  const running = vms(1, 20, 'h').map(vm => ({ ...vm, isHa: true, memory: GiB(10) }))
  const full = [{ ...load('f', GiB(10)), isHa: false }]
  const hosts = [host('a', { running }), host('b', { running: full }), host('c')]
  const haVms = [
    {
      hostId: 'a',
      request: {
        ...movablesOf(cluster(host('a', { running })))[0]!.request,
        currentHostId: null,
        isRelaxed: true
      }
    }
  ]
  t.match(decidePower(input(hosts)), { kind: 'rest', hostId: 'c' })
  t.match(decidePower(input(hosts, { haVms, haReservedHosts: 1 })), { kind: 'nothing' })
})

t.test('resting and waking do not chase each other under a steady load', async t => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 3, maxLength: 6 }),
      fc.integer({ min: 0, max: 2 }),
      (counts, reserve) => {
        let snapshot: ClusterSnapshot = {
          ...cluster(...counts.map((count, i) => host(`h${i}`, { running: vms(count, 40, `v${i}-`) }))),
          policy
        }
        const resting: Array<typeof asleep> = []
        const steps: string[] = []
        for (let round = 0; round < 30; round++) {
          const up = snapshot.hosts.filter(({ hostId }) => resting.every(each => each.hostId !== hostId))
          const decision = decidePower(input([...up], { hostsInReserve: reserve, resting }))
          if (decision.kind === 'nothing') return true
          steps.push(decision.kind)
          if (decision.kind === 'empty') snapshot = moved(snapshot, decision.moves)
          else if (decision.kind === 'rest') resting.push({ ...asleep, hostId: decision.hostId })
          else if (steps.includes('rest')) return false
          else resting.splice(0, 1)
        }
        return false
      }
    )
  )
})

t.test('a packing holds all VMs, overfills no host, and is not below the bound', async t => {
  const anyPacking = fc.record({
    rooms: fc.array(fc.tuple(fc.integer({ min: 4, max: 20 }), fc.integer({ min: 4, max: 20 })), {
      minLength: 1,
      maxLength: 8
    }),
    demands: fc.array(fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 4 })), {
      maxLength: 16
    })
  })
  fc.assert(
    fc.property(anyPacking, ({ rooms, demands }) => {
      const problem = {
        ...{ hosts: rooms.length, dimensions: 2, isKept: new Uint8Array(rooms.length), allows: () => true },
        ...{ room: Float64Array.from(rooms.flat()), demand: Float64Array.from(demands.flat()) }
      }
      const packed = pack(problem)
      if (!packed) return true
      return (
        packed.used >= leastHosts(problem) &&
        rooms.every((room, at) =>
          [0, 1].every(
            d =>
              demands.reduce((sum, vm, v) => sum + (packed.hostOf[v] === at ? (vm[d] ?? 0) : 0), 0) <=
              (room[d] ?? 0)
          )
        )
      )
    })
  )
})

t.test('a consolidation can be carried out move by move', async t => {
  const hosts = ['a', 'b', 'c', 'd'].map(id => host(id, { running: vms(2, 30, id) }))
  const snapshot = { ...cluster(...hosts), policy }
  const plan = planConsolidation(snapshot, movablesOf(snapshot), { keptHostIds: new Set(), cpuPercent: 70 })
  t.equal(plan?.usedHostIds.length, 2, 'memory for seven VMs of 2 GiB each')
  t.equal(inOrder(snapshot, movablesOf(snapshot), plan?.moves ?? []).length, plan?.moves.length)
})

t.test('a schedule holds on its days, over midnight too', async t => {
  const night = {
    weekdays: [5],
    beginMinute: 22 * 60,
    endMinute: 6 * 60,
    hostsInReserve: 2,
    switchesHosts: true
  }
  const at = (text: string) => scheduleAt([night], Date.parse(text)) !== null
  t.equal(at('2026-11-27T21:59:00Z'), false)
  t.equal(at('2026-11-27T22:00:00Z'), true, 'Friday evening')
  t.equal(at('2026-11-28T05:59:00Z'), true, 'Saturday morning belongs to Friday night')
  t.equal(at('2026-11-28T06:00:00Z'), false)
  t.equal(at('2026-11-28T22:30:00Z'), false)
})
