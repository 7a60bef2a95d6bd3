import t from 'tap'
import fc from 'fast-check'
import { bytes, GiB, MiB } from '../../../common/units.js'
import {
  committedMemory,
  defaultPolicy,
  memoryNeeded,
  type PlacementRequest,
  type SchedulableHost
} from '../../../coordinator/scheduler/cluster.js'
import { builtInPolicies } from '../../../coordinator/scheduler/policy.js'
import { place } from '../../../coordinator/scheduler/place.js'
import { summarize } from '../../../coordinator/scheduler/explain.js'
import { cluster, group, host, load, request } from './make.js'

const refusals: Array<
  [why: string, host: Partial<SchedulableHost>, request: PlacementRequest, filter: string]
> = [
  ['another host was named', {}, request({ onlyHostId: 'b' }), 'named-host'],
  ['the host is in maintenance', { status: 'maintenance' }, request(), 'status'],
  ['the host has a problem', { problem: 'libvirtd is away' }, request(), 'status'],
  [
    'the VM failed to start there before',
    {},
    request({ excluded: new Map([['a', 'no bridge']]) }),
    'failed-here'
  ],
  ['the VM runs there already', {}, request({ currentHostId: 'a' }), 'current-host'],
  ['the VM is pinned elsewhere', {}, request({}, { pinnedHostIds: ['z'] }), 'pinned-hosts'],
  ['the CPU model is not offered', {}, request({}, { cpuModel: 'Skylake' }), 'cpu-model'],
  ['the VM has more CPUs than the host', { cpus: 1 }, request(), 'cpu-topology'],
  [
    'too many virtual CPUs are promised',
    { cpus: 2, running: Array.from({ length: 10 }, (_, i) => load(`x${i}`, MiB(16))) },
    request(),
    'cpu-overcommit'
  ],
  ['the machine type is unknown there', {}, request({}, { machineType: 'pc-q35-9.0' }), 'machine-type'],
  ['UEFI is not installed', { hasUefi: false }, request({}, { needsUefi: true }), 'firmware'],
  ['a storage domain is not active there', { storageDomainIds: [] }, request(), 'storage'],
  ['a device is missing', {}, request({}, { hostDevices: ['pci_0000_81_00_0'] }), 'host-devices'],
  ['it swaps', { swapUsed: GiB(20) }, request(), 'swap'],
  ['huge pages are short', { hugePages: { 2048: 100 } }, request({}, { hugePageKib: 2048 }), 'huge-pages'],
  [
    'its NUMA nodes are too small',
    {
      numaNodes: [
        { cpus: 2, memoryFree: GiB(1) },
        { cpus: 2, memoryFree: GiB(1) }
      ]
    },
    request({}, { numaNodes: [GiB(2)] }),
    'numa'
  ],
  ['there is no watchdog for leases', { hasHaLeases: false }, request(), 'lease'],
  ['a bridge is missing', { bridges: [] }, request(), 'network'],
  ['memory is short', { memoryAvailable: GiB(2) }, request(), 'memory'],
  [
    'pending VMs have taken the memory',
    { memoryAvailable: GiB(4), pending: [load('p')] },
    request(),
    'memory'
  ],
  [
    'memory is promised already',
    { running: Array.from({ length: 7 }, (_, i) => load(`x${i}`)) },
    request(),
    'memory-overcommit'
  ]
]

for (const [why, change, asked, filter] of refusals) {
  t.test(`a host is refused when ${why}`, async t => {
    const placement = place(cluster(host('a', change)), asked)
    t.equal(placement.kind, 'none')
    t.equal(placement.verdicts[0]?.filter, filter)
    t.match(summarize(asked, placement), /web cannot start; host-a: .+\(/)
  })
}

t.test('a migration stays on the same CPU and accelerator', async t => {
  const current = host('a')
  const migrate = request({ purpose: 'migrate', currentHostId: 'a' })
  for (const other of [host('b', { cpuModel: 'Opteron' }), host('b', { isKvm: false })]) {
    t.equal(place(cluster(current, other), migrate).verdicts[1]?.filter, 'cpu-model')
  }
  t.match(place(cluster(current, host('b')), migrate), { kind: 'placed', hostId: 'b' })
})

t.test('nodes of a VM are laid into those of the host so that the largest finds room', async t => {
  const numaNodes = [GiB(4), GiB(2)].map(memoryFree => ({ cpus: 2, memoryFree }))
  const asked = request({}, { numaNodes: [GiB(2), GiB(4)] })
  t.match(place(cluster(host('a', { numaNodes })), asked), { kind: 'placed' })
})

t.test(
  'a host with overloaded CPUs is no choice beside one without, and the choice where all are',
  async t => {
    const busy = host('a', { overloadedSeconds: 180 })
    const placement = place(cluster(busy, host('b')), request())
    t.match(placement, { kind: 'placed', hostId: 'b' })
    t.equal(placement.verdicts[0]?.filter, 'cpu-overloaded')
    t.match(place(cluster(busy), request()), { kind: 'placed', hostId: 'a' })
    t.match(
      place(cluster(busy, host('b')), request({ onlyHostId: 'a' })),
      { hostId: 'a' },
      'a person chose it'
    )
  }
)

t.test('in a cluster in maintenance only HA VMs start', async t => {
  const snapshot = {
    ...cluster(host('a')),
    policy: { ...defaultPolicy, ...builtInPolicies.cluster_maintenance }
  }
  t.match(place(snapshot, request({}, { isHa: false })).verdicts[0], { filter: 'cluster-maintenance' })
  t.match(place(snapshot, request({}, { isHa: true })), { kind: 'placed' })
  t.match(place(snapshot, request({ purpose: 'migrate' }, { isHa: false })), { kind: 'placed' })
})

t.test('power saving fills the fullest host that stays below its bound', async t => {
  const policy = { ...defaultPolicy, ...builtInPolicies.power_saving }
  const hosts = [
    host('a'),
    host('b', { running: [{ ...load('x'), cpuPercent: 200 }] }),
    host('c', { running: [{ ...load('y'), cpuPercent: 310 }] })
  ]
  t.match(place({ ...cluster(...hosts), policy }, request()), { hostId: 'b' })
})

t.test('ranks choose as documented: CPU 10, 20, 20 and memory 5, 1, 9 go to the first', async t => {
  const policy = {
    ...{ ...defaultPolicy, selector: 'ranked' as const },
    weights: { 'cpu-even': 2, 'memory-even': 1 }
  }
  const sized = (id: string, cpuPercent: number, gib: number) =>
    host(id, {
      running: [{ vmId: `x${id}`, vcpus: 1, memory: bytes(gib * 2 ** 30), cpuPercent, isHa: false }]
    })
  const placement = place(
    { ...cluster(sized('a', 10, 5), sized('b', 20, 1), sized('c', 20, 9)), policy },
    request()
  )
  t.match(placement, { hostId: 'a' })
  t.strictSame(
    placement.verdicts.map(({ score }) => -score),
    [8, 7, 5]
  )
})

t.test('hard rules of affinity refuse, soft ones only weigh', async t => {
  const other = load('other')
  const hosts = [host('a', { running: [other] }), host('b')]
  const apart = group({ vmRule: 'negative', vmIds: ['v1', 'other'] })
  const together = group({ vmRule: 'positive', vmIds: ['v1', 'other'] })
  const chosen = (change: Partial<typeof apart>, asked = request()) => {
    const placement = place({ ...cluster(...hosts), affinity: [{ ...apart, ...change }] }, asked)
    return [placement.kind === 'placed' ? placement.hostId : null, ...placement.verdicts.map(v => v.filter)]
  }
  t.strictSame(chosen({ vmIsHard: true }), ['b', 'affinity-vms', null])
  t.strictSame(chosen({ vmIsHard: false }), ['b', null, null])
  t.strictSame(chosen({ ...together, vmIsHard: true }), ['a', null, 'affinity-vms'])
  t.strictSame(chosen({ ...together, vmIsHard: false }), ['a', null, null])
  t.strictSame(chosen({ ...together, vmIsHard: true }, request({ isRelaxed: true })), ['a', null, null])
  const hostRule = { vmRule: 'none', hostRule: 'positive', hostIds: ['b'] } as const
  t.strictSame(chosen({ ...hostRule, hostIsHard: true }), ['b', 'affinity-hosts', null])
  t.strictSame(chosen({ ...hostRule, hostRule: 'negative', hostIsHard: true }), ['a', null, 'affinity-hosts'])
  t.strictSame(chosen({ ...hostRule, hostIsHard: false }), ['b', null, null])
})

t.test('one wish of a higher priority outweighs all lower ones', async t => {
  const hosts = [host('a'), host('b')]
  const wish = (name: string, priority: number, hostId: string) =>
    group({ groupId: name, name, priority, hostRule: 'positive', hostIds: [hostId], vmIds: ['v1'] })
  const affinity = [wish('high', 2, 'b'), ...[1, 2, 3].map(i => wish(`low${i}`, 1, 'a'))]
  t.match(place({ ...cluster(...hosts), affinity }, request()), { hostId: 'b' })
})

t.test('the emptier host is chosen, and the sentence says so', async t => {
  const asked = request()
  const placement = place(cluster(host('a', { running: [load('x')] }), host('b')), asked)
  t.match(placement, { kind: 'placed', hostId: 'b' })
  t.match(summarize(asked, placement), /web goes to host-b: CPU .+, better than host-a/)
})

t.test('a preferred host wins unless it is refused', async t => {
  const busy = host('a', { running: [load('x')] })
  t.match(place(cluster(busy, host('b')), request({ preferredHostId: 'a' })), { hostId: 'a' })
  const away = host('a', { status: 'non_responsive' })
  t.match(place(cluster(away, host('b')), request({ preferredHostId: 'a' })), { hostId: 'b' })
})

t.test('equal hosts are told apart by id, whatever their order', async t => {
  t.match(place(cluster(host('b'), host('a')), request()), { hostId: 'a' })
})

t.test('no placement promises more memory than the host has', async t => {
  const anyHost = fc.record({
    id: fc.uuid(),
    gib: fc.integer({ min: 1, max: 64 }),
    vms: fc.array(fc.integer({ min: 1, max: 16 }), { maxLength: 8 })
  })
  fc.assert(
    fc.property(fc.array(anyHost, { maxLength: 6 }), fc.integer({ min: 1, max: 32 }), (hosts, wanted) => {
      const snapshot = cluster(
        ...hosts.map(({ id, gib, vms }) =>
          host(id, {
            memory: GiB(gib),
            memoryAvailable: GiB(gib),
            running: vms.map((m, i) => load(`${id}${i}`, GiB(m)))
          })
        )
      )
      const asked = request({}, { memory: GiB(wanted) })
      const placement = place(snapshot, asked)
      if (placement.kind === 'none') return true
      const chosen = snapshot.hosts.find(({ hostId }) => hostId === placement.hostId)
      return chosen !== undefined && committedMemory(chosen) + memoryNeeded(asked.vm) <= chosen.memory
    })
  )
})
