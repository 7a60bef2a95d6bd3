import t from 'tap'
import fc from 'fast-check'
import { GiB, MiB } from '../../../common/units.js'
import {
  defaultPolicy,
  memoryNeeded,
  committedMemory,
  type ClusterSnapshot,
  type PlacementRequest,
  type SchedulableHost
} from '../../../coordinator/scheduler/cluster.js'
import { place } from '../../../coordinator/scheduler/place.js'
import { summarize } from '../../../coordinator/scheduler/explain.js'

const host = (hostId: string, change: Partial<SchedulableHost> = {}): SchedulableHost => ({
  hostId,
  name: `host-${hostId}`,
  status: 'up',
  problem: '',
  cpus: 4,
  memory: GiB(16),
  memoryAvailable: GiB(14),
  cpuModel: 'EPYC',
  usableCpuModels: ['EPYC', 'qemu64'],
  machineTypes: ['pc-q35-7.2'],
  bridges: ['br0'],
  isKvm: true,
  hasHaLeases: true,
  hasUefi: true,
  storageDomainIds: ['s1'],
  managedStorageDomains: 0,
  running: [],
  pending: [],
  ...change
})

const vm: PlacementRequest['vm'] = {
  vmId: 'v1',
  name: 'web',
  vcpus: 2,
  memory: GiB(2),
  cpuModel: '',
  machineType: '',
  needsUefi: false,
  needsLease: true,
  bridges: ['br0'],
  storageDomainIds: ['s1'],
  pinnedHostIds: [],
  isHa: true
}
const request = (
  change: Partial<PlacementRequest> = {},
  of: Partial<PlacementRequest['vm']> = {}
): PlacementRequest => ({
  purpose: 'start',
  vm: { ...vm, ...of },
  currentHostId: null,
  preferredHostId: null,
  onlyHostId: null,
  excluded: new Map(),
  ...change
})
const cluster = (...hosts: SchedulableHost[]): ClusterSnapshot => ({ policy: defaultPolicy, hosts })
const load = (vmId: string, memory = GiB(2)) => ({ vmId, vcpus: 2, memory, cpuPercent: 100, isHa: false })

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
