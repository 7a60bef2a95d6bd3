import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { planConsolidation } from '../../coordinator/power-saver/consolidate.js'
import { leastHosts, type Packing } from '../../coordinator/power-saver/pack.js'
import {
  cpuOf,
  hostReserve,
  memoryNeeded,
  type ClusterSnapshot
} from '../../coordinator/scheduler/cluster.js'
import type { BenchResult } from './bench.js'
import { unevenCluster } from './cluster-maker.js'

// On how few hosts all VMs of a cluster fit, against the bound that cbc (Debian: coinor-cbc) proves for the same
// packing as an integer program, and against the bound of each dimension alone where that is too large for cbc.

const limit = Number(process.env['DROVER_BENCH_SECONDS'] ?? 300)
const cpuPercent = 70
const sizes = [
  [6, 60],
  [10, 120],
  [16, 240]
] as const
const run_ = promisify(execFile)

export async function run(): Promise<BenchResult> {
  const folder = await mkdtemp(join(tmpdir(), 'drover-bench-'))
  try {
    let isGood = true
    const rows: object[] = []
    for (const [hosts, vms] of sizes) {
      const { used, problem, seconds } = consolidated(hosts, vms)
      const bound = await cbcBound(problem, folder)
      if (bound.isProven) isGood &&= used === bound.hosts
      console.log(
        `${hosts} hosts, ${vms} VMs: ours ${used} (${seconds.toFixed(2)} CPU-s); cbc ${bound.hosts}${bound.isProven ? ', proven' : ' at least'}`
      )
      rows.push({ hosts, vms, used, bound: bound.hosts, isProven: bound.isProven, seconds })
    }
    const { used, problem, seconds } = consolidated(1000, 10_000)
    const bound = leastHosts(problem)
    console.log(`1000 hosts, 10000 VMs: ours ${used} (${seconds.toFixed(2)} CPU-s), at least ${bound}`)
    return {
      ...{ bench: 'consolidate', ok: isGood && used <= bound + 1 && limit >= 300, ratio: used / bound },
      reference: 'bound by cbc; at 1,000 hosts that of each dimension alone',
      goal: '= bound where cbc proves it; at most 1 host over at 1,000 hosts',
      ...{ sizes: rows, largest: { used, bound, seconds } }
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function consolidated(hosts: number, vms: number) {
  const { snapshot, movables } = unevenCluster(hosts, vms, 3)
  const began = process.cpuUsage()
  const plan = planConsolidation(snapshot, movables, { keptHostIds: new Set(), cpuPercent })
  const { user, system } = process.cpuUsage(began)
  const used = plan?.usedHostIds.length ?? hosts
  return { used, problem: packingOf(snapshot), seconds: (user + system) / 1e6 }
}

/** The same numbers as the plan works with: no rules but room. */
function packingOf({ hosts, policy }: ClusterSnapshot): Packing {
  const vms = hosts.flatMap(({ running }) => running)
  return {
    ...{ hosts: hosts.length, dimensions: 3, isKept: new Uint8Array(hosts.length), allows: () => true },
    room: Float64Array.from(
      hosts.flatMap(({ cpus, memory }) => [
        cpuPercent * cpus,
        (memory * policy.memoryOvercommitPercent) / 100 - hostReserve,
        (cpus * policy.cpuOvercommitPercent) / 100
      ])
    ),
    demand: Float64Array.from(vms.flatMap(vm => [cpuOf(vm), memoryNeeded(vm), vm.vcpus]))
  }
}

/** minimize sum y(h); each VM on one host; what is on a host <= its room x y(h). */
async function cbcBound(problem: Packing, folder: string): Promise<{ hosts: number; isProven: boolean }> {
  const { hosts, dimensions, room, demand } = problem
  const vms = demand.length / dimensions
  const all = Array.from({ length: hosts }, (_, h) => h)
  const every = Array.from({ length: vms }, (_, v) => v)
  const scale = [1, 1 / 2 ** 20, 1]
  const lines = ['Minimize', ` obj: ${all.map(h => `y${h}`).join(' + ')}`, 'Subject To']
  for (const v of every) lines.push(` v${v}: ${all.map(h => `x${v}_${h}`).join(' + ')} = 1`)
  for (const h of all) {
    for (let d = 0; d < dimensions; d++) {
      const parts = every.map(
        v => `${((demand[v * dimensions + d] ?? 0) * (scale[d] ?? 1)).toFixed(3)} x${v}_${h}`
      )
      const most = ((room[h * dimensions + d] ?? 0) * (scale[d] ?? 1)).toFixed(3)
      lines.push(` r${h}_${d}: ${parts.join(' + ')} - ${most} y${h} <= 0`)
    }
    // Hosts are alike: used in their order.
    if (h > 0) lines.push(` s${h}: y${h} - y${h - 1} <= 0`)
  }
  lines.push('Binary', ...all.map(h => ` y${h}`), ...every.flatMap(v => all.map(h => ` x${v}_${h}`)), 'End')
  const path = join(folder, 'packing.lp')
  await writeFile(path, `${lines.join('\n')}\n`)
  const { stdout } = await run_('cbc', [path, 'sec', String(limit), 'solve', 'quit'], { maxBuffer: 2 ** 26 })
  const isProven = /Optimal solution found/.test(stdout)
  const objective = Number(/Objective value:\s+([\d.]+)/.exec(stdout)?.[1] ?? NaN)
  const lower = Number(/Lower bound:\s+([\d.]+)/.exec(stdout)?.[1] ?? leastHosts(problem))
  return { hosts: isProven ? Math.round(objective) : Math.ceil(lower - 1e-6), isProven }
}
