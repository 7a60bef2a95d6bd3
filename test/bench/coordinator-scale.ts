import { fork, spawn, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { pino } from 'pino'
import { RpcClient } from '../../common/client.js'
import { systemClock } from '../../common/clock.js'
import { insertCluster } from '../../coordinator/store/clusters.js'
import { insertHost } from '../../coordinator/store/hosts.js'
import { Store } from '../../coordinator/store/store.js'
import { insertVm } from '../../coordinator/store/vms.js'
import { CertificateAuthority } from '../../coordinator/trust/ca.js'
import { coordinatorServices as services } from '../../proto/load.js'
import { root } from '../root.js'
import { median, quantile, timed, type BenchResult } from './bench.js'
import { vmOf, type AgentOrder, type Order } from './coordinator-scale-agents.js'

// A whole coordinator in a process of its own, agents in another, over real gRPC streams with mutual TLS: how
// long from its start until it knows every VM as its host tells it, what reads and writes of the API take while
// VMs change all the time, and what memory it needs.

const wantedHosts = 2500
/** What a lockspace has numbers for: an installation has no more hosts than that. */
const mostHosts = 249
const hosts = Math.min(mostHosts, Number(process.env['DROVER_BENCH_HOSTS'] ?? wantedHosts))
const guests = Number(process.env['DROVER_BENCH_GUESTS'] ?? 40_000)
const calls = 100 * Number(process.env['DROVER_BENCH_ROUNDS'] ?? 5)
const changesPerSecond = Math.ceil(guests / 100)
const never = new AbortController().signal

export async function run(): Promise<BenchResult> {
  const folder = await mkdtemp(join(tmpdir(), 'drover-bench-'))
  const children: ChildProcess[] = []
  try {
    const config = await configure(folder)
    const first = await startCoordinator(config, children)
    await stop(first)
    const orders = await furnish(folder)
    await startAgents(folder, orders, children)
    const began = performance.now()
    const coordinator = await startCoordinator(config, children)
    await untilAllUp(folder)
    const start = (performance.now() - began) / 1000
    coordinator.kill('SIGKILL')
    await ended(coordinator)
    const again = performance.now()
    const second = await startCoordinator(config, children)
    // What it knew is in the store; it is consistent when every stream has told what it has.
    await untilAllHeard(folder)
    const restart = (performance.now() - again) / 1000
    const { reads, writes } = await load(folder)
    const memory = await peakMemory(second.pid ?? 0)
    return result({ start, restart, reads, writes, memory })
  } finally {
    for (const child of children) child.kill('SIGKILL')
    await rm(folder, { recursive: true, force: true })
  }
}

type Figures = { start: number; restart: number; reads: number[]; writes: number[]; memory: number }

function result({ start, restart, reads, writes, memory }: Figures): BenchResult {
  const [readP99, writeP99] = [quantile(reads, 0.99), quantile(writes, 0.99)]
  const gib = memory / 2 ** 30
  console.log(`${hosts} hosts, ${guests} VMs, ${changesPerSecond} changes a second`)
  console.log(
    `first view ${start.toFixed(1)} s, after SIGKILL ${restart.toFixed(1)} s, peak RSS ${gib.toFixed(2)} GiB`
  )
  console.log(`reads median ${median(reads).toFixed(1)} ms, p99 ${readP99.toFixed(1)} ms`)
  console.log(`writes median ${median(writes).toFixed(1)} ms, p99 ${writeP99.toFixed(1)} ms`)
  const isFast = readP99 <= 10 && writeP99 <= 50 && restart <= 5 && gib <= 2
  return {
    ...{
      bench: 'coordinator-scale',
      ratio: readP99 / 10,
      reference: 'the goal itself: nothing else does this'
    },
    ok: isFast && hosts >= wantedHosts && guests >= 40_000,
    goal: '2,500 hosts, 40,000 VMs: reads p99 <= 10 ms, writes p99 <= 50 ms, restart <= 5 s, RSS <= 2 GiB',
    ...(hosts < wantedHosts && { short: `${hosts} hosts: an installation has at most ${mostHosts}` }),
    ...{
      hosts,
      guests,
      changesPerSecond,
      firstViewSeconds: start,
      restartSeconds: restart,
      rssBytes: memory
    },
    ...{
      readMedianMs: median(reads),
      readP99Ms: readP99,
      writeMedianMs: median(writes),
      writeP99Ms: writeP99
    }
  }
}

async function configure(folder: string): Promise<string> {
  const file = join(folder, 'coordinator.toml')
  const settings = { state_directory: `${folder}/state`, socket: `${folder}/c.sock`, listen: '127.0.0.1:0' }
  const lines = Object.entries(settings).map(([name, value]) => `${name} = "${value}"\n`)
  await writeFile(file, [...lines, 'log_level = "error"\n'].join(''))
  return file
}

async function startCoordinator(config: string, children: ChildProcess[]): Promise<ChildProcess> {
  const main = join(root, 'dist/coordinator/main.js')
  const child = spawn(process.execPath, [main, 'serve', '--config', config], {
    stdio: ['ignore', 'ignore', 'inherit']
  })
  children.push(child)
  using client = clientOf(config.slice(0, config.lastIndexOf('/')))
  for (let tries = 0; tries < 600; tries++) {
    if (child.exitCode !== null) throw new Error(`the coordinator ended with ${child.exitCode}`)
    const answers = await client.client.call(services.coordinator.GetCoordinator, {}, never).then(
      () => true,
      () => false
    )
    if (answers) return child
    await pause(50)
  }
  throw new Error('the coordinator did not start')
}

const clientOf = (folder: string) => {
  const client = new RpcClient({ unixPath: `${folder}/c.sock` }, systemClock)
  return { client, [Symbol.dispose]: () => client.close() }
}

const ended = (child: ChildProcess) =>
  new Promise<void>(resolve => (child.exitCode === null ? child.once('exit', () => resolve()) : resolve()))

async function stop(child: ChildProcess): Promise<void> {
  child.kill('SIGTERM')
  await ended(child)
}

/** Hosts and VMs as rows, and a certificate for each host: what enrolling them one by one would leave. */
async function furnish(folder: string): Promise<AgentOrder[]> {
  const log = pino({ level: 'silent' })
  const ca = await CertificateAuthority.open(`${folder}/state/trust`, systemClock)
  const store = await Store.open(`${folder}/state/store.db`, log)
  const created = systemClock.wall()
  const ports = await freePorts(hosts)
  const orders: AgentOrder[] = []
  for (let index = 0; index < hosts; index++) {
    const hostId = randomUUID()
    const subject = { role: 'HOST', id: hostId, names: ['127.0.0.1'], usages: ['server', 'client'] } as const
    const { certificates } = await ca.issueWithKey(subject, 86_400)
    const vms = Math.floor(guests / hosts) + (index < guests % hosts ? 1 : 0)
    orders.push({ hostId, port: ports[index] ?? 0, certificates, vms })
  }
  store.transaction(tx => {
    insertCluster(tx, {
      ...{ id: 'c', name: 'c', description: '', cpuModel: '', cpuWeight: 2, memoryWeight: 1, created },
      ...{ memoryOvercommitPercent: 100, cpuOvercommitPercent: 1000, silenceSeconds: 60, fencingEnabled: 0 },
      ...{ statusGapSeconds: 1, skipFencingWhileLeaseLives: 1, startGraceSeconds: 300 }
    })
    for (const [index, { hostId, port }] of orders.entries()) {
      insertHost(tx, {
        ...{ id: hostId, name: `h${index}`, clusterId: 'c', sanlockHostId: index + 1, mode: 'active' },
        ...{ health: 'initializing', healthSince: created, created, powerEnabled: 0, powerJson: '[]' },
        ...{
          capabilitiesJson: null,
          lastSeen: null,
          address: `127.0.0.1:${port}`,
          proof: '',
          lastFence: null
        },
        generation: 1
      })
    }
  })
  for (const { hostId, vms } of orders) {
    store.transaction(tx => {
      for (let index = 0; index < vms; index++) {
        const id = vmOf(hostId, index)
        insertVm(tx, {
          ...{ id, name: id, description: '', clusterId: 'c', cpuModel: '', leaseStorageDomainId: null },
          ...{ templateId: null, vcpus: 1, memoryBytes: 2 ** 29, firmware: 'bios', isHa: 0, priority: 50 },
          ...{ phase: 'ok', status: 'unknown', restartsJson: null, hostId, migratingToHostId: null },
          ...{ failureJson: null, guestJson: null, migrationJson: null, started: null, created },
          ...{ generation: 1, wantedRunning: 1 }
        })
      }
    })
  }
  store.close()
  return orders
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>(resolve => {
          const server = createServer()
          server.listen(0, '127.0.0.1', () => resolve(server))
        })
    )
  )
  const ports = servers.map(server => (server.address() as { port: number }).port)
  await Promise.all(servers.map(server => new Promise(resolve => server.close(resolve))))
  return ports
}

async function startAgents(folder: string, agents: AgentOrder[], children: ChildProcess[]): Promise<void> {
  const ca = await CertificateAuthority.open(`${folder}/state/trust`, systemClock)
  const file = join(import.meta.dirname, `coordinator-scale-agents${import.meta.filename.slice(-3)}`)
  const child = fork(file, ['serve-agents'])
  children.push(child)
  const ready = new Promise<void>((resolve, reject) => {
    child.once('message', () => resolve())
    child.once('exit', code => reject(new Error(`the agents ended with ${code}`)))
  })
  child.send({ installationId: ca.installationId, agents, changesPerSecond } satisfies Order)
  await ready
}

/** None is left of which the coordinator does not know where it runs. */
async function untilAllUp(folder: string): Promise<void> {
  using session = clientOf(folder)
  for (let tries = 0; tries < 2400; tries++) {
    const request = { pageSize: 1, filter: 'status = UNKNOWN' }
    const { vms } = await session.client.call(services.vm.ListVms, request, never)
    if (vms.length === 0) return
    await pause(50)
  }
  throw new Error('not every VM was told of')
}

async function untilAllHeard(folder: string): Promise<void> {
  using session = clientOf(folder)
  for (let tries = 0; tries < 1200; tries++) {
    const { json } = await session.client.call(services.coordinator.Dump, {}, never)
    const { hosts: seen } = JSON.parse(json) as {
      hosts: Array<{ isConnected: boolean; lastHeard: number | null }>
    }
    if (seen.filter(({ isConnected, lastHeard }) => isConnected && lastHeard !== null).length >= hosts) return
    await pause(50)
  }
  throw new Error('not every host was heard again')
}

async function load(folder: string): Promise<{ reads: number[]; writes: number[] }> {
  using session = clientOf(folder)
  const { client } = session
  const { vms } = await client.call(services.vm.ListVms, { pageSize: 1000 }, never)
  const any = () => vms[Math.floor(systemClock.random() * vms.length)]?.vmId ?? ''
  const [reads, writes]: [number[], number[]] = [[], []]
  for (let count = 0; count < calls; count++) {
    reads.push(await timed(() => client.call(services.vm.GetVm, { vmId: any() }, never)))
    reads.push(await timed(() => client.call(services.vm.ListVms, { pageSize: 50 }, never)))
    reads.push(await timed(() => client.call(services.host.ListHosts, { pageSize: 50 }, never)))
    const vm = { vmId: any(), description: `turn ${count}` }
    const request = { requestId: systemClock.newId(), vm, updateMask: { paths: ['description'] } }
    writes.push(await timed(() => client.call(services.vm.UpdateVm, request, never)))
  }
  return { reads, writes }
}

async function peakMemory(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return 1024 * Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0)
}
