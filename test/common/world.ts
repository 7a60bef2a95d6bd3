import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import type { AuditEntry } from '../../common/audit.js'
import { RpcClient } from '../../common/client.js'
import { systemClock } from '../../common/clock.js'
import { identityUri } from '../../common/identity.js'
import type { CallerRole } from '../../common/policy.js'
import { RpcServer, type Handlers, type RpcServerOptions } from '../../common/server.js'
import type { Certificates } from '../../common/tls.js'
import { seconds } from '../../common/units.js'
import { agentServices, descriptorSet, standardServices } from '../../proto/load.js'
import { authority } from '../fakes/authority.js'

export const installation = '11111111-1111-4111-8111-111111111111'
export const hostId = '22222222-2222-4222-8222-222222222222'
export const never = new AbortController().signal

type Tap = { teardown(fn: () => unknown): void }
type VmHandlers = Handlers<typeof agentServices.vm>

/** A real server with both doors and a way to call it as anybody; all of it ends with the test. */
export async function world(
  t: Tap,
  handlers: VmHandlers,
  options: Partial<RpcServerOptions> & { allowAnonymous?: boolean } = {}
) {
  const folder = mkdtempSync(join(tmpdir(), 'drover-rpc-'))
  const ca = await authority()
  const audit: AuditEntry[] = []
  const denied = new Set<string>()
  const host = await ca.issue({ uris: [identityUri(installation, 'HOST', hostId)] })
  const server = new RpcServer({
    contract: { descriptorSet, standardServices },
    trust: { installation: () => installation, denies: ({ id }) => denied.has(id) },
    log: pino({ level: 'silent' }),
    clock: systemClock,
    audit: entry => void audit.push(entry),
    ...options
  })
  server.add(agentServices.vm, handlers).addStandard()
  const allowAnonymous = options.allowAnonymous ?? false
  const port = await server.listenTls({ host: '127.0.0.1', port: 0, certificates: host, allowAnonymous })
  const unixPath = join(folder, 'agent.sock')
  await server.listenUnix(unixPath)
  const clients: RpcClient[] = []
  t.teardown(async () => {
    for (const client of clients) client.close()
    await server.stop(seconds(0.1))
    rmSync(folder, { recursive: true, force: true })
  })

  const kept = (client: RpcClient) => {
    clients.push(client)
    return client
  }
  /** Over TLS with a given certificate, or with none. */
  const over = (identity: Certificates | null, expectId = hostId) =>
    kept(
      new RpcClient(
        {
          address: `127.0.0.1:${port}`,
          trust: ca.trust,
          ...(identity && { identity }),
          expect: ({ role, id }) => role === 'HOST' && id === expectId
        },
        systemClock
      )
    )
  return {
    ca,
    host,
    server,
    port,
    unixPath,
    audit,
    denied,
    over,
    /** Over TLS as a role of this installation. */
    as: async (role: CallerRole, id: string = randomUUID()) =>
      over(await ca.issue({ uris: [identityUri(installation, role, id)] })),
    local: () => kept(new RpcClient({ unixPath }, systemClock))
  }
}
