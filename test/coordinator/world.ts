import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino, type Logger } from 'pino'
import { RpcClient, type Method } from '../../common/client.js'
import { systemClock } from '../../common/clock.js'
import { within } from '../../common/deadline.js'
import { seconds } from '../../common/units.js'
import { checkConfig, type CoordinatorConfig } from '../../coordinator/config.js'
import { startCoordinator, type RunningCoordinator } from '../../coordinator/coordinator.js'
import type { Reader } from '../../coordinator/store/query.js'
import { CertificateAuthority } from '../../coordinator/trust/ca.js'
import { coordinatorServices } from '../../proto/load.js'
import { FakeAgent, type Wire } from '../fakes/fake-agent.js'

type Tap = { teardown(fn: () => unknown): void }

export const never = new AbortController().signal
/** What a promise was rejected with. */
export const failure = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => new Error('it did not fail'),
    (error: unknown) => error
  )

const quiet = pino({ level: process.env['TEST_LOG'] ?? 'silent' })

/** A whole coordinator with both doors, on files and ports of its own; all of it ends with the test. */
export async function coordinatorWorld(t: Tap, given: Record<string, unknown> = {}, log: Logger = quiet) {
  const folder = mkdtempSync(join(tmpdir(), 'drover-coordinator-'))
  const config: CoordinatorConfig = checkConfig({
    ...{ listen: '127.0.0.1:0', state_directory: `${folder}/state`, backup_directory: `${folder}/backups` },
    socket: `${folder}/coordinator.sock`,
    ...given
  })
  const agents: FakeAgent[] = []
  const clients: RpcClient[] = []
  let running: RunningCoordinator | null = await startCoordinator(config, log)
  let local = new RpcClient({ unixPath: config.socket }, systemClock)

  t.teardown(async () => {
    local.close()
    for (const client of clients) client.close()
    await running?.stop()
    for (const agent of agents) await agent.die()
    rmSync(folder, { recursive: true, force: true })
  })

  const call = <Q, R>(method: Method<Q, R>, request: Q): Promise<R> => local.call(method, request, never)
  const mutate = <Q, R>(method: Method<Q, R>, request: Q, requestId = randomUUID()): Promise<R> =>
    local.call(method, { requestId, ...request }, never)

  const world = {
    folder,
    config,
    call,
    mutate,
    agents,
    get local() {
      return local
    },
    get running(): RunningCoordinator {
      if (!running) throw new Error('the coordinator does not run')
      return running
    },
    get read(): Reader {
      return world.running.store.read
    },
    trust: async () =>
      (await CertificateAuthority.open(`${config.state_directory}/trust`, systemClock)).trust,
    /** Over TLS, with a certificate of this installation or with none. */
    over: async (subject: { role: 'ADMIN' | 'VIEWER' | 'HOST'; id: string } | null) => {
      const ca = await CertificateAuthority.open(`${config.state_directory}/trust`, systemClock)
      const made = subject && (await ca.issueWithKey({ ...subject, names: [], usages: ['client'] }, 3600))
      const client = new RpcClient(
        {
          address: `127.0.0.1:${world.running.tlsPort}`,
          trust: ca.trust,
          ...(made && { identity: made.certificates }),
          expect: ({ role }) => role === 'COORDINATOR'
        },
        systemClock
      )
      clients.push(client)
      return { client, serial: made?.issued.serial ?? '' }
    },
    stop: async () => {
      local.close()
      await running?.stop()
      running = null
    },
    /** Another life on the same files. */
    start: async () => {
      running = await startCoordinator(config, log)
      local = new RpcClient({ unixPath: config.socket }, systemClock)
    },
    createCluster: async (name = 'c1'): Promise<string> => {
      const { clusterId } = await mutate(coordinatorServices.cluster.CreateCluster, { cluster: { name } })
      return clusterId
    },
    /** A host with a fake agent that is up. */
    addHost: async (clusterId: string, name: string, agent = new FakeAgent()): Promise<FakeAgent> => {
      const host = { name, clusterId }
      const { token } = await mutate(coordinatorServices.host.CreateHost, { host })
      await agent.enrol({ port: world.running.tlsPort, trust: await world.trust() }, token)
      agents.push(agent)
      await world.until(async () => {
        const { status } = await call(coordinatorServices.host.GetHost, { hostId: agent.hostId })
        return status === 'HOST_STATUS_UP'
      })
      return agent
    },
    /** Looks again whenever the store has changed, until it is so. */
    until: async (isSo: () => boolean | Promise<boolean>, limit = 15): Promise<void> => {
      const signal = within(seconds(limit), never)
      while (!(await isSo())) {
        await new Promise<void>((resolve, reject) => {
          signal.throwIfAborted()
          const stop = world.running.store.listen(done)
          // What is not in the store is looked at now and then.
          const cancel = systemClock.after(seconds(0.2), done)
          function done() {
            stop()
            cancel()
            resolve()
          }
          signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
        })
      }
    },
    events: async (): Promise<Wire[]> =>
      (await call(coordinatorServices.event.ListEvents, { pageSize: 1000 })).events as Wire[]
  }
  return world
}

export type CoordinatorWorld = Awaited<ReturnType<typeof coordinatorWorld>>
