import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect as connectPlain } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import t from 'tap'
import { RpcClient } from '../../common/client.js'
import { systemClock } from '../../common/clock.js'
import { Fault, type Reason } from '../../common/fault.js'
import { identityUri } from '../../common/identity.js'
import { bidi, unary } from '../../common/rpc.js'
import { listenUnix } from '../../common/unix-socket.js'
import { seconds } from '../../common/units.js'
import { agentServices, standardServices } from '../../proto/load.js'
import { authority } from '../fakes/authority.js'
import { hostId, installation, never, world } from './world.js'

const { vm } = agentServices
const getVm = unary({ check: () => null, method: async (_, { caller }) => ({ name: caller.role }) })
const handlers = { getVm }
const coordinatorUri = identityUri(installation, 'COORDINATOR', randomUUID())

async function outcome(client: RpcClient): Promise<string> {
  return client.call(vm.GetVm, {}, never, seconds(3)).then(
    ({ name }) => name,
    (error: unknown) => (error instanceof Fault ? error.reason : String(error))
  )
}

t.test('only certificates of this installation with exactly one drover name are believed', async t => {
  const { ca, over } = await world(t, handlers)
  const yesterday = new Date(Date.now() - 86_400_000)
  const tomorrow = new Date(Date.now() + 3_600_000)
  const foreign = await authority()
  const cases: Array<
    [what: string, certificate: Parameters<typeof over>[0], outcome: 'COORDINATOR' | Reason]
  > = [
    ['the coordinator', await ca.issue({ uris: [coordinatorUri] }), 'COORDINATOR'],
    ['nobody', null, 'UNAUTHENTICATED'],
    ['another authority', await foreign.issue({ uris: [coordinatorUri] }), 'UNAUTHENTICATED'],
    ['an expired one', await ca.issue({ uris: [coordinatorUri], notAfter: yesterday }), 'UNAUTHENTICATED'],
    ['a future one', await ca.issue({ uris: [coordinatorUri], notBefore: tomorrow }), 'UNAUTHENTICATED'],
    ['two names', await ca.issue({ uris: [coordinatorUri, coordinatorUri] }), 'UNAUTHENTICATED'],
    ['no name', await ca.issue({ uris: [], commonName: coordinatorUri }), 'UNAUTHENTICATED'],
    ['https', await ca.issue({ uris: ['https://example.org/coordinator'] }), 'UNAUTHENTICATED'],
    [
      'another installation',
      await ca.issue({ uris: [identityUri(randomUUID(), 'COORDINATOR', randomUUID())] }),
      'UNAUTHENTICATED'
    ],
    [
      'a host',
      await ca.issue({ uris: [identityUri(installation, 'HOST', randomUUID())] }),
      'PERMISSION_DENIED'
    ],
    ['a host without UUID', await ca.issue({ uris: [`drover://${installation}/host/x`] }), 'UNAUTHENTICATED']
  ]
  for (const [what, certificate, expected] of cases) {
    const seen = await outcome(over(certificate && { ...certificate, trust: ca.trust }))
    t.equal(seen, expected, what)
  }
})

t.test('a revoked certificate is refused on a connection that was open before', async t => {
  const { as, denied } = await world(t, handlers)
  const id = randomUUID()
  const client = await as('COORDINATOR', id)
  t.equal(await outcome(client), 'COORDINATOR')
  denied.add(id)
  t.equal(await outcome(client), 'UNAUTHENTICATED')
})

t.test('a stream that a revoked certificate has open is ended', async t => {
  const openConsole = bidi({
    check: () => null,
    method: async function* (_, { signal }) {
      yield {}
      await new Promise(resolve => signal.addEventListener('abort', resolve, { once: true }))
    }
  })
  const { as, denied } = await world(t, { openConsole })
  const id = randomUUID()
  const client = await as('COORDINATOR', id)
  const silent = async function* () {
    await new Promise(() => {})
    yield {}
  }
  const seen: object[] = []
  const reading = async () => {
    for await (const message of client.bidi(vm.OpenConsole, silent(), never)) {
      seen.push(message)
      denied.add(id)
    }
  }
  await t.rejects(reading(), { name: 'Fault' })
  t.equal(seen.length, 1)
})

t.test('a certificate that expires while its connection is open is refused from then on', async t => {
  let ahead = 0
  const clock = { ...systemClock, wall: () => Date.now() + ahead }
  const { ca, over } = await world(t, handlers, { clock })
  const client = over(await ca.issue({ uris: [coordinatorUri] }))
  t.equal(await outcome(client), 'COORDINATOR')
  ahead = 2 * 86_400_000
  t.match(await outcome(client), /UNAUTHENTICATED|DEADLINE/)
})

t.test('where enrolment is open, callers without certificate reach what is meant for them only', async t => {
  const { ca, over } = await world(t, handlers, { allowAnonymous: true })
  t.equal(await outcome(over(null)), 'UNAUTHENTICATED')
  const foreign = await authority()
  const other = { ...(await foreign.issue({ uris: [coordinatorUri] })), trust: ca.trust }
  const refused = over(other).call(vm.GetVm, {}, never, seconds(3))
  await t.rejects(refused, {
    ...{ reason: 'UNAUTHENTICATED', message: 'the certificate was not issued by this installation' }
  })
  t.equal(await outcome(over(await ca.issue({ uris: [coordinatorUri] }))), 'COORDINATOR')
})

t.test('who is refused and asks nothing is shown out', async t => {
  const { ca, port } = await world(t, handlers)
  const socket = connect({
    port,
    ca: ca.trust,
    host: 'localhost',
    ALPNProtocols: ['h2'],
    checkServerIdentity: () => undefined
  })
  socket.on('error', () => {}).resume()
  await once(socket, 'close')
  t.ok(socket.destroyed)
})

t.test('TLS 1.2 is refused', async t => {
  const { ca, port } = await world(t, handlers)
  const { certificate, key } = await ca.issue({ uris: [coordinatorUri] })
  const socket = connect({ port, ca: ca.trust, cert: certificate, key, maxVersion: 'TLSv1.2' })
  const [error] = await once(socket, 'error')
  t.match(error, { code: /ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION|ECONNRESET/ })
})

t.test('connections that say nothing block nobody, and are ended', async t => {
  const { as, port } = await world(t, handlers, { frontLimits: { perAddress: 40, handshakeMs: 1000 } })
  const silent = Array.from({ length: 30 }, () => connectPlain(port, '127.0.0.1').on('error', () => {}))
  const closed = silent.map(socket => once(socket, 'close'))
  for (const socket of silent) socket.resume()
  t.equal(await outcome(await as('COORDINATOR')), 'COORDINATOR')
  await Promise.all(closed)
})

t.test('one address gets so many connections and no more', async t => {
  const { port } = await world(t, handlers, { frontLimits: { perAddress: 5 } })
  const sockets = Array.from({ length: 8 }, () => connectPlain(port, '127.0.0.1').on('error', () => {}))
  let ended = 0
  await new Promise<void>(resolve => {
    for (const socket of sockets) {
      socket.resume()
      socket.once('close', () => ++ended === 3 && resolve())
    }
  })
  t.equal(ended, 3)
  for (const socket of sockets) socket.destroy()
})

t.test('a new certificate is used by new connections while old ones go on', async t => {
  const { ca, as, server, port } = await world(t, handlers)
  const before = await as('COORDINATOR')
  t.equal(await outcome(before), 'COORDINATOR')
  const other = randomUUID()
  server.reload(await ca.issue({ uris: [identityUri(installation, 'HOST', other)] }))
  const identity = await ca.issue({ uris: [coordinatorUri] })
  const expect = ({ id }: { id: string }) => id === other
  using after = new RpcClient(
    { address: `127.0.0.1:${port}`, trust: ca.trust, identity, expect },
    systemClock
  )
  t.equal(await outcome(after), 'COORDINATOR')
  t.equal(await outcome(before), 'COORDINATOR')
})

t.test('a client does not talk to a server that is not the one it means', async t => {
  const { ca, over } = await world(t, handlers)
  const identity = await ca.issue({ uris: [coordinatorUri] })
  t.equal(await outcome(over(identity, randomUUID())), 'HOST_UNREACHABLE')
  t.equal(await outcome(over(identity, hostId)), 'COORDINATOR')
})

t.test('the unix socket is for its owner alone, and one daemon at a time serves it', async t => {
  const { local, unixPath } = await world(t, handlers)
  t.equal(statSync(unixPath).mode & 0o777, 0o600)
  t.equal(await outcome(local()), 'LOCAL_ADMIN')
  await t.rejects(
    listenUnix(unixPath, 0o600, () => {}),
    { name: 'Fault', reason: 'ALREADY_EXISTS' }
  )
})

t.test('a socket that a dead daemon left behind is replaced', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'drover-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'left.sock')
  writeFileSync(path, '')
  const server = await listenUnix(path, 0o660, () => {})
  t.equal(statSync(path).mode & 0o777, 0o660)
  server.close()
})

t.test('health says what the daemon says, service by service', async t => {
  const { local, server } = await world(t, handlers)
  const check = async (service: string) => {
    const answer = await local().call(standardServices.health['Check']!, { service }, never)
    return (answer as { status: string }).status
  }
  t.equal(await check(''), 'NOT_SERVING')
  server.health.ready = true
  t.equal(await check('drover.agent.v1.VmService'), 'SERVING')
  await t.rejects(check('drover.agent.v1.Nothing'), { name: 'Fault', reason: 'NOT_FOUND' })
})
