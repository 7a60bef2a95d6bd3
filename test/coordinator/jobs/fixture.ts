import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { systemClock, type Clock } from '../../../common/clock.js'
import { derivedId } from '../../../common/ids.js'
import { seconds } from '../../../common/units.js'
import type { Power } from '../../../coordinator/jobs/host-power.js'
import type { Hosts } from '../../../coordinator/jobs/hosts.js'
import type { AllJobs, JobContexts, JobKind } from '../../../coordinator/jobs/kinds.js'
import { registerJobs } from '../../../coordinator/register-jobs.js'
import type { Loads } from '../../../coordinator/jobs/world.js'
import { insertCluster } from '../../../coordinator/store/clusters.js'
import { insertDisk, insertVolume } from '../../../coordinator/store/disks.js'
import { insertHost, noteHost } from '../../../coordinator/store/hosts.js'
import { jobSteps, type Job } from '../../../coordinator/store/jobs.js'
import {
  deleteHostView,
  insertStorageDomain,
  putHostView,
  storageDomainOrNull
} from '../../../coordinator/store/storage-domains.js'
import { sql } from '../../../coordinator/store/query.js'
import { newStore } from '../new-store.js'
import { Store } from '../../../coordinator/store/store.js'
import { insertTemplate } from '../../../coordinator/store/templates.js'
import type { StorageDomainHealth, VmStatus } from '../../../coordinator/store/tables.js'
import { insertVm, insertVmDisk, noteVm, vmOrNull } from '../../../coordinator/store/vms.js'
import { fakeHosts } from './fake-hosts.js'
import { FakeWorld } from './fake-world.js'

// A small installation: a store, two hosts, a storage domain on both, a template, and jobs that run.

export const idOf = (name: string) => derivedId('00000000-0000-4000-8000-000000000000', name)

export const ids = {
  cluster: idOf('cluster'),
  hostA: idOf('hostA'),
  hostB: idOf('hostB'),
  domain: idOf('domain'),
  template: idOf('template'),
  templateDisk: idOf('templateDisk'),
  templateVolume: idOf('templateVolume'),
  vm: idOf('vm'),
  vmDisk: idOf('vmDisk'),
  vmVolume: idOf('vmVolume')
}
export const log = pino({ level: process.env['TEST_LOG'] ?? 'silent' })

/** Time that is as real as it must be, but does not wait long. */
export const hastyClock: Clock = {
  ...systemClock,
  after: (delay, run) => systemClock.after(seconds(Math.min(delay, 0.002)), run)
}

/** Limits of steps are long waits; the hasty clock would end them at once. */
export const testClock: Clock = {
  ...systemClock,
  after: (delay, run) =>
    delay >= 60 ? systemClock.after(delay, run) : systemClock.after(seconds(Math.min(delay, 0.002)), run)
}

export type Fixture = {
  path: string
  store: Store
  world: FakeWorld
  loads: Loads
  hosts: Hosts
  jobs: AllJobs
  /** What dump() said before the job of a scenario was ordered. */
  before: string
  /** All that a job may change, in store and world, as text: two that are the same differ in nothing. */
  dump(): string
  /** Runs a job to its end, as a caller would ask for it. */
  run<K extends JobKind>(kind: K, context: JobContexts[K], objects?: Record<string, string>): Promise<Job>
  close(): Promise<void>
}

export async function fixture({
  world = new FakeWorld(),
  path = '',
  hosts = fakeHosts(world),
  clock = testClock,
  start = true
}: {
  world?: FakeWorld
  path?: string
  hosts?: Hosts
  clock?: Clock
  start?: boolean
} = {}): Promise<Fixture> {
  const folder = path === '' ? await mkdtemp(join(tmpdir(), 'drover-jobs-')) : null
  const store = await Store.open(path || join(folder ?? '', 'store.db'), log)
  observe(store, world)
  const loads: Loads = {
    ...{ memoryAvailable: () => null, cpuPercent: () => null, swapUsed: () => null },
    ...{ hostCpuPercent: () => null, secondsAbove: () => 0 }
  }
  const power = powerOf(world)
  const { jobs } = registerJobs({ store, hosts, power, loads, stale: newStore(), clock, log, epoch: 1 })
  if (start) jobs.start()
  tell(world)
  return {
    path: store.path,
    store,
    world,
    loads,
    hosts,
    jobs,
    before: '',
    dump: () => dumpOf(store, world),
    run: async (kind, context, objects = {}) => {
      const id = store.transaction(tx =>
        jobs.create(tx, kind, { context, objects, claims: [], actor: 'local' })
      )
      return jobs.untilOver(id, AbortSignal.timeout(20_000))
    },
    close: async () => {
      await jobs.stop()
      store.close()
      if (folder) await rm(folder, { recursive: true, force: true })
    }
  }
}

/** Power devices that do as they are told. */
const powerOf = (world: FakeWorld): Power => ({
  read: async hostId => [world.powerOff.has(hostId) ? 'off' : 'on'],
  switch: async (hostId, action) => {
    if (action === 'off') world.powerOff.add(hostId)
    else world.powerOff.delete(hostId)
  }
})

/** What a coordinator hears when it begins: everything as it is now. */
function tell(world: FakeWorld): void {
  for (const [hostId, { vms }] of world.hosts) {
    for (const vm of vms.values()) world.onVm(hostId, vm, vm.vmId)
  }
}

const counters: ReadonlySet<string> = new Set([
  'version',
  'generation',
  'observedGeneration',
  'created',
  'exitReason'
])

function dumpOf(store: Store, world: FakeWorld): string {
  const lines: string[] = []
  for (const [table, rows] of allRows(store)) {
    for (const row of rows) {
      const kept = Object.entries(row).filter(([name]) => !counters.has(name))
      lines.push(`${table} ${JSON.stringify(Object.fromEntries(kept))}`)
    }
  }
  for (const [id, { volumes, leases, dataCenterId, devices = [] }] of world.storage) {
    lines.push(`storage ${id} ${dataCenterId} leases ${[...leases].toSorted().join(',')}`)
    lines.push(`storage ${id} devices ${[...devices].toSorted().join(',')}`)
    for (const volume of volumes.values()) lines.push(`volume ${JSON.stringify(volume)}`)
  }
  for (const [id, { vms, active, connected, incoming, upgrades }] of world.hosts) {
    const sets = [active, connected, incoming].map(all => [...all].toSorted().join(','))
    lines.push(`host ${id} ${sets.join(' | ')} ${upgrades.join(',')}`)
    for (const { vmId, status, cds } of vms.values())
      if (status !== 'down') lines.push(`running ${vmId} ${id} ${status} ${JSON.stringify(cds ?? {})}`)
  }
  return lines.toSorted().join('\n')
}

const tables = [
  ...['cluster', 'host', 'storageDomain', 'storageDomainHost', 'disk', 'volume', 'template', 'templateDisk'],
  ...[
    'vm',
    'vmDisk',
    'vmCdDrive',
    'vmNic',
    'vmPinnedHost',
    'lease',
    'claim',
    'pending',
    'snapshot',
    'snapshotDisk'
  ]
] as const

const allRows = (store: Store) =>
  tables.map(table => [table, store.read.all(sql.selectFrom(table as 'vm').selectAll())] as const)

/** What observe.ts does with deltas, as far as jobs depend on it. */
function observe(store: Store, world: FakeWorld): void {
  world.onVm = (hostId, vm, vmId) => {
    store.transaction(tx => {
      const row = vmOrNull(tx, vmId)
      if (!row || (vm && vm.generation < row.generation)) return
      const isElsewhere = row.hostId !== null && row.hostId !== hostId && row.status !== 'down'
      if ((!vm || vm.status === 'down') && isElsewhere) return
      const status = (vm?.status ?? 'down') as VmStatus
      noteVm(tx, vmId, {
        status,
        hostId: status === 'down' ? null : hostId,
        exitReason: vm?.exitReason ?? '',
        ...(vm && { observedGeneration: vm.generation })
      })
    })
  }
  world.onBoot = (hostId, before) =>
    store.transaction(tx => noteHost(tx, hostId, { bootId: `after ${before}` }))
  world.onStorageDomain = (hostId, storageDomainId, health) =>
    store.transaction(tx => {
      if (!storageDomainOrNull(tx, storageDomainId)) return
      if (health === 'removed') deleteHostView(tx, storageDomainId, hostId)
      else noteView(tx, storageDomainId, hostId, health as StorageDomainHealth)
    })
}

type Tx = Parameters<typeof putHostView>[0]

export function noteView(tx: Tx, storageDomainId: string, hostId: string, health: StorageDomainHealth): void {
  putHostView(tx, {
    ...{ storageDomainId, hostId, health, problem: '', totalBytes: 2 ** 40, freeBytes: 2 ** 39 },
    ...{ readLatencyMs: 1, hostIdHeld: 1, lastOk: 1, leasesJson: '[]' }
  })
}

const capabilities = {
  cpus: 4,
  cpuModel: 'Haswell',
  usableCpuModels: ['Haswell'],
  memoryBytes: String(16 * 2 ** 30),
  kvm: true,
  machineTypes: ['pc-q35-7.2'],
  haLeases: true,
  bridges: ['br0'],
  uefi: true
}

/** Fills store and world with the installation described above; with `vm`, with a VM made from the template too. */
export function furnish({ store, world }: Fixture, vm: 'none' | 'down' | 'running' = 'none'): void {
  world.storage.set(ids.domain, {
    dataCenterId: idOf('dataCenter'),
    description: 'domain',
    volumes: new Map(),
    leases: new Set()
  })
  const volume = (volumeId: string, imageId: string, parentId: string, role: 'LEAF' | 'SHARED') =>
    world.storage.get(ids.domain)?.volumes.set(volumeId, {
      ...{ volumeId, imageId, parentId, role, capacity: String(2 ** 30) },
      ...{ format: 'DISK_FORMAT_QCOW2', allocation: 'ALLOCATION_POLICY_THIN' }
    })
  volume(ids.templateVolume, ids.templateDisk, '', 'SHARED')
  store.transaction(tx => {
    insertCluster(tx, {
      ...{ id: ids.cluster, name: 'cluster', description: '', cpuModel: '', cpuWeight: 2, memoryWeight: 1 },
      ...{ memoryOvercommitPercent: 100, cpuOvercommitPercent: 1000, silenceSeconds: 60, fencingEnabled: 1 },
      ...{ statusGapSeconds: 1, skipFencingWhileLeaseLives: 1, startGraceSeconds: 300, created: 1 }
    })
    for (const [index, id] of [ids.hostA, ids.hostB].entries()) {
      insertHost(tx, {
        ...{ id, name: `host${index}`, clusterId: ids.cluster, sanlockHostId: index + 1, powerEnabled: 0 },
        ...{
          powerJson: '[]',
          mode: 'active',
          health: 'up',
          healthSince: 1,
          lastFence: null,
          address: '',
          proof: '',
          lastSeen: 1
        },
        ...{ capabilitiesJson: JSON.stringify(capabilities), created: 1 }
      })
      const host = world.addHost(id)
      host.connected.add(ids.domain)
      host.active.add(ids.domain)
    }
    insertStorageDomain(tx, {
      ...{ id: ids.domain, name: 'domain', connectionJson: '{"kind":"posix","path":"/srv/x"}' },
      ...{ phase: 'active', ioTimeoutSeconds: 10, blockSize: 512, criticalBytes: 0, metadataJson: null },
      created: 1
    })
    for (const id of [ids.hostA, ids.hostB]) noteView(tx, ids.domain, id, 'active')
    const disk = {
      storageDomainId: ids.domain,
      capacity: 2 ** 30,
      format: 'qcow2',
      allocation: 'thin'
    } as const
    const rows = { capacity: 2 ** 30, format: 'qcow2', allocation: 'thin', created: 1 } as const
    insertDisk(tx, {
      ...{ ...disk, id: ids.templateDisk, name: 'template', status: 'ok', volumeId: ids.templateVolume },
      created: 1
    })
    insertVolume(tx, {
      ...{ ...rows, id: ids.templateVolume, diskId: ids.templateDisk, parentId: null, isShared: 1 }
    })
    insertTemplate(
      tx,
      {
        ...{ id: ids.template, name: 'template', description: '', vcpus: 1, memoryBytes: 2 ** 29 },
        ...{ firmware: 'bios', status: 'ok', created: 1 }
      },
      [ids.templateDisk]
    )
    if (vm === 'none') return
    insertDisk(tx, {
      ...{ ...disk, id: ids.vmDisk, name: 'vm', status: 'ok', volumeId: ids.vmVolume, created: 1 }
    })
    insertVolume(tx, {
      ...{ ...rows, id: ids.vmVolume, diskId: ids.vmDisk, parentId: ids.templateVolume, isShared: 0 }
    })
    insertVmRow(tx, ids.vm, 'ok')
    insertVmDisk(tx, {
      ...{ vmId: ids.vm, diskId: ids.vmDisk, ordinal: 0, bus: 'virtio', slot: 1, isReadOnly: 0, isCdrom: 0 }
    })
  })
  if (vm === 'none') return
  volume(ids.vmVolume, ids.vmDisk, ids.templateVolume, 'LEAF')
  if (vm === 'down') return
  const running = { vmId: ids.vm, generation: 1, status: 'up', exitReason: '', spec: {} }
  store.transaction(tx => noteVm(tx, ids.vm, { generation: 1, wantedRunning: 1, machineType: 'pc-q35-7.2' }))
  world.hosts.get(ids.hostA)?.vms.set(ids.vm, running)
  world.onVm(ids.hostA, running, ids.vm)
}

export function insertVmRow(tx: Tx, id: string, phase: 'creating' | 'ok'): void {
  insertVm(tx, {
    ...{ id, name: id, description: '', clusterId: ids.cluster, templateId: ids.template, vcpus: 1 },
    ...{ memoryBytes: 2 ** 29, firmware: 'bios', isHa: 0, priority: 50, leaseStorageDomainId: null },
    ...{ cpuModel: '', phase, restartsJson: null, status: phase === 'ok' ? 'down' : 'creating' },
    ...{ hostId: null, migratingToHostId: null, failureJson: null, guestJson: null, migrationJson: null },
    ...{ started: null, created: 1 }
  })
}

/** How a job went, in one line a step: for assertions that show what is wrong. */
export const storyOf = ({ store }: Pick<Fixture, 'store'>, { id, state, turnedBack }: Job): string[] => [
  turnedBack ? `${state}: ${turnedBack.reason} ${turnedBack.message}` : state,
  ...jobSteps(store.read, id).map(
    ({ name, state: step, attempt, fault }) => `${name} ${step} ${attempt}${fault ? ` ${fault.message}` : ''}`
  )
]
