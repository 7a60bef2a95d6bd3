import { credentials } from '@grpc/grpc-js'
import { randomUUID, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { identityUri } from '../../../common/identity.js'
import { authority } from '../../fakes/authority.js'
import { AgentClient } from './client.js'
import { AgentWorld, type Settings } from './world.js'

export type ClusterHost = { world: AgentWorld; hostId: string; address: string; coordinator: AgentClient }

/** Enrolled hosts on one machine, each with a libvirtd of its own, and a coordinator's view of each. */
export async function cluster(
  count: number,
  settings: Settings = {},
  mountsOf: (sanlockHostId: number) => number | null = () => null
) {
  const installation = randomUUID()
  const root = await authority()
  const peers = await Promise.all(
    Array.from({ length: count }, async (_, index) => ({
      hostId: randomUUID() as string,
      address: `127.0.0.1:${await freePort()}`,
      sanlockHostId: index + 1
    }))
  )
  const ruler = await root.issue({ uris: [identityUri(installation, 'COORDINATOR', randomUUID())] })
  const asCoordinator = credentials.createSsl(
    Buffer.from(root.trust),
    Buffer.from(ruler.key),
    Buffer.from(ruler.certificate),
    { checkServerIdentity: () => undefined }
  )
  const started = await Promise.allSettled(
    peers.map(async ({ hostId, address, sanlockHostId }): Promise<ClusterHost> => {
      const own = await root.issue({
        uris: [identityUri(installation, 'HOST', hostId)],
        addresses: ['127.0.0.1'],
        commonName: hostId
      })
      const identity = {
        ...{ installationId: installation, hostId, hostGeneration: 1, coordinatorEpoch: 1, address },
        ...{ sanlockHostId, peers, deniedSerials: [], deniedHostIds: [] }
      }
      const mounts = mountsOf(sanlockHostId)
      const enrolled = async (state: string) => {
        await writeFile(join(state, 'identity.json'), JSON.stringify(identity))
        await mkdir(join(state, 'tls'))
        await writeFile(join(state, 'tls/host.pem'), own.certificate)
        await writeFile(join(state, 'tls/trust.pem'), own.trust)
        await writeFile(join(state, 'tls/host.key'), own.key)
      }
      const world = await AgentWorld.start({ listen: address, ...settings }, {}, enrolled, mounts)
      return { world, hostId, address, coordinator: new AgentClient(address, asCoordinator) }
    })
  )
  const hosts = started.flatMap(host => (host.status === 'fulfilled' ? [host.value] : []))
  const end = async () => {
    for (const { coordinator } of hosts) coordinator.close()
    await Promise.all(hosts.map(({ world }) => world[Symbol.asyncDispose]()))
  }
  const failed = started.find(host => host.status === 'rejected')
  if (failed) {
    await end()
    throw failed.reason
  }
  const rulerSerial = new X509Certificate(ruler.certificate).serialNumber
  return { hosts, root, installation, rulerSerial, [Symbol.asyncDispose]: end }
}

/** The tokens that every command of the test's coordinator carries. */
export const stamped = (request: object) => ({ coordinatorEpoch: '1', hostGeneration: '1', ...request })

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}
