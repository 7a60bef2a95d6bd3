import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { pino } from 'pino'
import { placeAll } from '../../coordinator/scheduler/batch.js'
import { defaultPolicy, type ClusterSnapshot, type WantedVm } from '../../coordinator/scheduler/cluster.js'
import { lookAt } from '../../coordinator/scheduler/look.js'
import { unitsOf } from '../../coordinator/scheduler/judge.js'
import { placeIn } from '../../coordinator/scheduler/place.js'
import { insertCluster } from '../../coordinator/store/clusters.js'
import { addDecision } from '../../coordinator/store/decisions.js'
import { insertHost } from '../../coordinator/store/hosts.js'
import { insertJob } from '../../coordinator/store/jobs.js'
import { reserve } from '../../coordinator/store/pending.js'
import { Store } from '../../coordinator/store/store.js'
import { insertVm } from '../../coordinator/store/vms.js'
import { systemClock } from '../../common/clock.js'
import { quantile, median, type BenchResult } from './bench.js'
import { asLoad, benchHost, benchVm, chance, groupsFor, pick, requestFor } from './cluster-maker.js'

// Placements a second at 1,000 hosts with 20,000 VMs, with all filters and weights of the standard policy and
// rules of affinity for one VM in fifty; the VMs are of 16 kinds: a batch decided in memory as a boot storm is, the same
// committed to the store with pending room and decision for each, and a single one with its whole story. hspace of ganeti-htools places VMs of one
// size in a cluster of a tenth of the hosts beside it. CPU time is taken: the machine may be busy.

const hosts = 1000
const running = 20_000
const batch = Number(process.env['DROVER_BENCH_GUESTS'] ?? 20_000)
const rounds = Number(process.env['DROVER_BENCH_ROUNDS'] ?? 5)
const run_ = promisify(execFile)

export async function run(): Promise<BenchResult> {
  const { snapshot, vms } = busyCluster()
  const decided: number[] = []
  const durable: number[] = []
  for (let round = 0; round < rounds; round++) {
    const requests = vms.map(vm => requestFor(vm))
    const began = process.cpuUsage()
    const { placements } = placeAll(snapshot, requests)
    decided.push(batch / cpuSeconds(began))
    const left = placements.filter(({ hostId }) => hostId === null)
    if (left.length > 0) throw new Error(`${left.length} VMs found no host`)
    durable.push(await commitAll(snapshot, vms))
    console.log(`decided ${decided.at(-1)?.toFixed(0)}/s, durable ${durable.at(-1)?.toFixed(0)}/s`)
  }
  const singles = singleTimes(snapshot, vms)
  const p99 = quantile(singles, 0.99)
  const theirs = await hspace()
  console.log(
    `a single one with its story: median ${median(singles).toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`
  )
  console.log(`hspace at 100 hosts: ${theirs.toFixed(0)} placements a CPU-second`)
  const [ours, committed] = [median(decided), median(durable)]
  return {
    ...{ bench: 'schedule', ratio: theirs / ours, reference: 'hspace of ganeti-htools at 100 hosts' },
    ok: ours >= 50_000 && committed >= 10_000 && p99 < 5 && batch >= 20_000 && rounds >= 3,
    goal: '>= 50,000 decided and 10,000 durable a CPU-second; p99 of a single one < 5 ms',
    ...{ hosts, running, batch, decidedPerSecond: ours, durablePerSecond: committed, singleP99Ms: p99 },
    hspacePerSecond: theirs
  }
}

function busyCluster(): { snapshot: ClusterSnapshot; vms: WantedVm[] } {
  const random = chance(11)
  const perHost = running / hosts
  let number = 0
  const all = Array.from({ length: hosts }, (_, at) => {
    const own = Array.from({ length: perHost }, () => ({
      ...benchVm(number++, random),
      memory: benchVm(0, random).memory
    }))
    return { ...benchHost(at), memory: benchHost(at).memory, running: own.map(asLoad) }
  })
  // Of 16 kinds, and small: the batch is to fit beside what runs.
  const kinds = Array.from({ length: 16 }, () => benchVm(0, random))
  const vms = Array.from({ length: batch }, () => {
    const { vmId, name } = benchVm(number++, random)
    const kind = pick(random, kinds)
    return { ...kind, vmId, name, memory: (kind.memory / 8) as typeof kind.memory, cpuPercent: null }
  })
  return { snapshot: { policy: defaultPolicy, hosts: all, affinity: groupsFor(vms) }, vms }
}

/** All decided together, and written in transactions of 500. */
async function commitAll(snapshot: ClusterSnapshot, vms: readonly WantedVm[]): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'drover-bench-'))
  const store = await Store.open(join(folder, 'store.db'), pino({ level: 'silent' }))
  try {
    fill(store, snapshot, vms)
    const began = process.cpuUsage()
    const { placements } = placeAll(
      snapshot,
      vms.map(vm => requestFor(vm))
    )
    for (let at = 0; at < vms.length; at += 500) {
      store.transaction(tx => {
        const now = systemClock.wall()
        for (const [offset, vm] of vms.slice(at, at + 500).entries()) {
          const hostId = placements[at + offset]?.hostId ?? ''
          const { vmId, vcpus, memory: memoryBytes } = vm
          const decision = {
            vmId,
            purpose: 'start',
            hostId,
            summary: `${vm.name} goes to ${hostId}`,
            time: now
          }
          addDecision(tx, { ...decision, jobId: 'j', recordId: null, ordinal: 0, verdicts: [] })
          // Only so many hosts have rows.
          const rowId = Number(hostId.slice(-5)) < 249 ? hostId : 'host-00000'
          reserve(tx, { vmId, hostId: rowId, jobId: 'j', vcpus, memoryBytes, created: now })
        }
      })
    }
    return vms.length / cpuSeconds(began)
  } finally {
    store.close()
    await rm(folder, { recursive: true, force: true })
  }
}

function fill(store: Store, snapshot: ClusterSnapshot, vms: readonly WantedVm[]): void {
  const created = systemClock.wall()
  store.transaction(tx => {
    insertCluster(tx, {
      ...{ id: 'c', name: 'c', description: '', cpuModel: '', cpuWeight: 2, memoryWeight: 1, created },
      ...{ memoryOvercommitPercent: 100, cpuOvercommitPercent: 1000, silenceSeconds: 60, fencingEnabled: 0 },
      ...{ statusGapSeconds: 1, skipFencingWhileLeaseLives: 1, startGraceSeconds: 300 }
    })
    // Numbers in lockspaces end at 249; the rows of the others are not needed for what is measured.
    for (const [at, { hostId, name }] of snapshot.hosts.slice(0, 249).entries()) {
      insertHost(tx, {
        ...{ id: hostId, name, clusterId: 'c', sanlockHostId: at + 1, mode: 'active', health: 'up', created },
        ...{ healthSince: created, powerEnabled: 0, powerJson: '[]', capabilitiesJson: null, lastSeen: null },
        ...{ address: '', proof: '', lastFence: null }
      })
    }
    insertJob(tx, {
      ...{ id: 'j', kind: 'vm.start', kindVersion: 1, objects: {}, context: {}, steps: [], claims: [] },
      ...{ actor: 'local', requestId: '', epoch: 1, created }
    })
    for (const { vmId, name, vcpus, memory } of vms) {
      insertVm(tx, {
        ...{ id: vmId, name, description: '', clusterId: 'c', cpuModel: '', leaseStorageDomainId: null },
        ...{ templateId: null, vcpus, memoryBytes: memory, firmware: 'bios', isHa: 0, priority: 50 },
        ...{ phase: 'ok', status: 'down', restartsJson: null, hostId: null, migratingToHostId: null },
        ...{ failureJson: null, guestJson: null, migrationJson: null, started: null, created }
      })
    }
  })
}

/** Milliseconds of single placements into one look, each judged on every host, with scores and reasons. */
function singleTimes(snapshot: ClusterSnapshot, vms: readonly WantedVm[]): number[] {
  const look = lookAt(snapshot)
  const units = unitsOf(snapshot.policy)
  return vms.slice(0, 400).map(vm => {
    const began = process.cpuUsage()
    placeIn(look, units, requestFor(vm))
    return 1000 * cpuSeconds(began)
  })
}

/** VMs of one size into an empty cluster until it is full, as hspace counts capacity. */
async function hspace(): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'drover-bench-'))
  try {
    const time = join(folder, 'time')
    const args = ['--simulate=preferred,100,10000000,131072,32', '--disk-template=sharedfile', '-l', '500']
    const { stdout } = await run_('/usr/bin/time', [
      '-o',
      time,
      '-f',
      '%U %S',
      'hspace',
      '--machine-readable=yes',
      ...args
    ])
    const cpu = (await readFile(time, 'utf8'))
      .trim()
      .split(' ')
      .reduce((sum, part) => sum + Number(part), 0)
    const placed = [...stdout.matchAll(/HTS_(?:TRL_|FIN_|)INST_CNT=(\d+)/g)].map(match => Number(match[1]))
    return Math.max(1, ...placed) / cpu
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function cpuSeconds(began: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(began)
  return (user + system) / 1e6
}
