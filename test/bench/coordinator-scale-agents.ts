import { pino } from 'pino'
import { systemClock } from '../../common/clock.js'
import { derivedId } from '../../common/ids.js'
import type { Handler } from '../../common/rpc.js'
import { RpcServer } from '../../common/server.js'
import type { Certificates } from '../../common/tls.js'
import { ownContractHash } from '../../coordinator/agent-contracts.js'
import { agentServices, descriptorSet, standardServices } from '../../proto/load.js'
import { FakeWatch } from '../fakes/fake-watch.js'

// Simulated agents of coordinator-scale, in a process of their own: the real gRPC server, TLS and contract, and
// behind each a watch stream that tells of VMs which are rows of a table.

type Wire = Record<string, any> // eslint-disable-line @typescript-eslint/no-explicit-any
export type AgentOrder = { hostId: string; port: number; certificates: Certificates; vms: number }
export type Order = { installationId: string; agents: AgentOrder[]; changesPerSecond: number }

export const vmOf = (hostId: string, index: number): string => derivedId(hostId, `vm/${index}`)

const log = pino({ level: 'silent' })
const GiB = 2 ** 30

const answering = (answer: (request: Wire) => Wire): Handler => ({
  kind: 'unary',
  bind: message => async () => answer(message as Wire)
})

async function serve(installationId: string, { hostId, port, certificates, vms }: AgentOrder) {
  const watch = new FakeWatch()
  const capabilities = {
    ...{
      hardwareId: hostId,
      hostname: hostId,
      agentVersion: '0.0.0',
      libvirtVersion: '9.0.0',
      bootId: hostId
    },
    ...{
      cpus: 64,
      cpuModel: 'Skylake-Server',
      usableCpuModels: [],
      memoryBytes: String(1024 * GiB),
      kvm: true
    },
    ...{ haLeases: true, machineTypes: ['pc-q35-7.2'], bridges: ['br0'], fenceAgents: [] }
  }
  const about = () => ({
    ...{
      hostId,
      hostGeneration: '1',
      coordinatorEpoch: '1',
      incarnation: watch.incarnation,
      recovering: false
    },
    ...{
      capabilities,
      stats: { memoryAvailableBytes: String(512 * GiB), memoryTotalBytes: String(1024 * GiB) }
    }
  })
  const vm = (index: number, description: string) => ({
    ...{ vmId: vmOf(hostId, index), name: `vm-${index}`, status: 'VM_STATUS_UP', vmGeneration: '1' },
    guest: { connected: true, hostname: description, osName: 'Debian', addresses: [] }
  })
  watch.publish('host', { host: about() })
  for (let index = 0; index < vms; index++) watch.publish(`vm/${vmOf(hostId, index)}`, { vm: vm(index, 'a') })
  const watching: Handler = {
    kind: 'serverStream',
    bind:
      message =>
      ({ signal }) =>
        watch.stream(
          message as Wire,
          () => ({
            hostGeneration: '1',
            bootId: hostId,
            agentVersion: '0.0.0',
            contractHash: ownContractHash()
          }),
          signal
        )
  }
  const server = new RpcServer({
    ...{ log, clock: systemClock, contract: { descriptorSet, standardServices } },
    trust: { installation: () => installationId, denies: () => false }
  })
  server
    .add(agentServices.host, {
      getHost: answering(about),
      welcome: answering(() => ({ incarnation: watch.incarnation })),
      updateDenyList: answering(() => ({}))
    } as never)
    .add(agentServices.task, { listTasks: answering(() => ({ tasks: [] })) } as never)
    .add(agentServices.watch, { watch: watching } as never)
    .addStandard()
  await server.listenTls({ host: '127.0.0.1', port, certificates, allowAnonymous: false })
  server.health.ready = true
  let turn = 0
  return () => {
    const index = turn++ % Math.max(1, vms)
    if (vms > 0) watch.publish(`vm/${vmOf(hostId, index)}`, { vm: vm(index, `turn ${turn}`) })
  }
}

async function serveAll({ installationId, agents, changesPerSecond }: Order): Promise<void> {
  const changes: Array<() => void> = []
  for (const agent of agents) changes.push(await serve(installationId, agent))
  let next = 0
  setInterval(() => {
    for (let count = 0; count < changesPerSecond / 10; count++) changes[next++ % changes.length]?.()
  }, 100)
  process.send?.('ready')
}

if (process.argv[2] === 'serve-agents') process.on('message', (order: Order) => void serveAll(order))
