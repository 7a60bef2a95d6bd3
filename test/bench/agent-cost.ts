import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout } from 'node:timers/promises'
import type { Answer } from '../host/agent/client.js'
import { AgentHost } from './agent-host.js'
import { type BenchResult, inTurns, median, show } from './bench.js'
import { cpuOf, memoryOf } from './cpu.js'
import { root } from '../root.js'

// What it costs to know how a host's guests are: the agent, which samples every second and tells a watcher,
// against python3-libvirt asking for everything every 15 s. Both on the same libvirtd and guests, in turns;
// counted is the CPU time of the asker and of libvirtd, per second. Guests run their firmware under emulation,
// each with one disk.

const guests = Number(process.env['DROVER_BENCH_GUESTS'] ?? 100)
const rounds = Number(process.env['DROVER_BENCH_ROUNDS'] ?? 3)
/** A multiple of the reference's interval, so that both sides do whole rounds. */
const windowSeconds = Number(process.env['DROVER_BENCH_SECONDS'] ?? 60)
const intervalSeconds = 15
const settleSeconds = 12
const mostMiB = 120
/** Rounds a second below which it is no sampling every second; a busy machine loses some. */
const leastRate = 0.8

export async function run(): Promise<BenchResult> {
  await using host = await AgentHost.start()
  console.log(`starting ${guests} guests through the agent`)
  await startGuests(host)
  await host.stopAgent()
  console.log('guests run')

  const parts = { agent: [] as number[], agentLibvirtd: [] as number[], referenceLibvirtd: [] as number[] }
  const memory: number[] = []
  const rates: number[] = []
  const ours = async () => {
    await host.startAgent()
    const watched = watch(host)
    await setTimeout(settleSeconds * 1000)
    const pids = [await host.agentPid(), await host.libvirtdPid()]
    const before = watched.count()
    const [agent = 0, libvirtd = 0] = await costOf(pids)
    const rate = (watched.count() - before) / windowSeconds
    rates.push(rate)
    memory.push((await memoryOf(pids[0] ?? 0)).now)
    watched.end()
    await host.stopAgent()
    if (rate < leastRate || watched.guests() !== guests)
      throw new Error(`${rate} rounds a second of ${watched.guests()} guests came: that is no sampling`)
    parts.agent.push(agent)
    parts.agentLibvirtd.push(libvirtd)
    console.log(`agent ${agent.toFixed(2)} + libvirtd ${libvirtd.toFixed(2)} ms/s`)
    return agent + libvirtd
  }
  const reference = async () => {
    const asker = await startReference(host)
    // Half an interval: no round lies on the edge of the window.
    await setTimeout((settleSeconds + intervalSeconds / 2) * 1000)
    const [python = 0, libvirtd = 0] = await costOf([asker.pid, await host.libvirtdPid()])
    await asker.end()
    parts.referenceLibvirtd.push(libvirtd)
    console.log(`python ${python.toFixed(2)} + libvirtd ${libvirtd.toFixed(2)} ms/s`)
    return python + libvirtd
  }
  const sides = await inTurns(rounds, ours, reference)
  const ratio = show(`CPU with ${guests} guests`, sides, 'ms/s')
  const rss = Math.max(...memory)
  const agentCpu = median(parts.agent)
  console.log(
    `ours: agent ${agentCpu.toFixed(2)}, libvirtd ${median(parts.agentLibvirtd).toFixed(2)} ms/s; ` +
      `reference: libvirtd ${median(parts.referenceLibvirtd).toFixed(2)} ms/s; agent RSS ${rss.toFixed(0)} MiB`
  )
  return {
    bench: 'agent-cost',
    ok: ratio < 1 && rss <= mostMiB && guests >= 100 && rounds >= 3,
    ratio,
    reference: `python3-libvirt, all statistics in bulk every ${intervalSeconds} s`,
    goal: `less CPU (agent + libvirtd) at 1 s sampling; RSS <= ${mostMiB} MiB; 100 guests`,
    guests,
    cpuMsPerSecond: median(sides.ours),
    referenceCpuMsPerSecond: median(sides.reference),
    agentCpuMsPerSecond: agentCpu,
    rssMiB: rss,
    roundsPerSecond: median(rates)
  }
}

/** Milliseconds of CPU per second over one window, of each process. */
async function costOf(pids: number[]): Promise<number[]> {
  const began = performance.now()
  const before = await Promise.all(pids.map(cpuOf))
  await setTimeout(windowSeconds * 1000)
  const after = await Promise.all(pids.map(cpuOf))
  const passed = (performance.now() - began) / 1000
  return after.map((used, index) => (used - (before[index] ?? 0)) / passed)
}

async function startGuests({ client, root }: AgentHost): Promise<void> {
  const storageDomainId = randomUUID()
  const path = join(root, 'storage')
  await mkdir(path, { mode: 0o777 })
  const task = async (service: 'storage' | 'vm', name: string, request: object) => {
    const { state, failure } = await client.task(service, name, request)
    if (state !== 'TASK_STATE_SUCCEEDED') throw new Error(`${name}: ${JSON.stringify(failure)}`)
  }
  const about = { storageDomainId, connection: { posix: { path } }, description: 'bench' }
  await task('storage', 'CreateStorageDomain', { ...about, dataCenterId: randomUUID() })
  await task('storage', 'ActivateStorageDomain', { storageDomainId, sanlockHostId: 1 })
  const startOne = async (index: number) => {
    const disk = { diskId: randomUUID(), storageDomainId, imageId: randomUUID(), volumeId: randomUUID() }
    const volume = { storageDomainId, imageId: disk.imageId, volumeId: disk.volumeId }
    const format = { format: 'DISK_FORMAT_QCOW2', description: 'bench', capacity: String(16 * 2 ** 20) }
    await task('storage', 'CreateVolume', { ...volume, ...format })
    const size = { vcpus: 1, memoryBytes: String(32 * 2 ** 20) }
    const spec = { vmId: randomUUID(), name: `guest-${index}`, ...size, disks: [{ ...disk, slot: 1 }] }
    await task('vm', 'StartVm', { vmGeneration: '1', spec })
  }
  let next = 0
  const worker = async () => {
    while (next < guests) await startOne(next++)
  }
  await Promise.all(Array.from({ length: 4 }, worker))
}

/** Listens as the coordinator would. */
function watch({ client }: AgentHost) {
  let count = 0
  let guests = 0
  const stream = client.stream('watch', 'Watch', {})
  stream.on('data', ({ samples }: Answer) => {
    if (!samples) return
    count++
    guests = samples['vmIds'].length
  })
  stream.on('error', () => {})
  return { count: () => count, guests: () => guests, end: () => stream.cancel() }
}

async function startReference({ libvirtd }: AgentHost) {
  const script = join(root, 'test/bench/agent-cost-reference.py')
  const address = `qemu+unix:///system?socket=${libvirtd.socket}`
  const child = spawn('/usr/bin/python3', [script, address, String(intervalSeconds)], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const ended = new Promise(resolve => child.once('exit', resolve))
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  if ((await lines.next()).value !== 'ready') throw new Error('python3-libvirt does not reach libvirtd')
  const seen = Number((await lines.next()).value)
  if (seen !== guests) throw new Error(`the reference sees ${seen} guests of ${guests}`)
  const end = async () => {
    child.kill()
    await ended
  }
  return { pid: child.pid ?? 0, end }
}
