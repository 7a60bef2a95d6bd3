import { credentials, status } from '@grpc/grpc-js'
import { X509Certificate } from 'node:crypto'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { chmod, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { connect } from 'node:tls'
import { promisify } from 'node:util'
import t from 'tap'
import { identityUri } from '../../../common/identity.js'
import { AgentClient, type Refused } from './client.js'
import { cluster, stamped, type ClusterHost } from './cluster.js'

t.setTimeout(280_000)

const house = await cluster(1)
t.teardown(() => house[Symbol.asyncDispose]())
const [{ coordinator, address, hostId, world }] = house.hosts as [ClusterHost]

/** Serial number of the certificate that new connections see. */
async function shownSerial(): Promise<string> {
  const [host = '', port] = address.split(':')
  const socket = connect({ host, port: Number(port), rejectUnauthorized: false, ALPNProtocols: ['h2'] })
  await once(socket, 'secureConnect')
  const { raw } = socket.getPeerCertificate()
  socket.destroy()
  return new X509Certificate(raw).serialNumber.toLowerCase()
}
const own = identityUri(house.installation, 'HOST', hostId)

t.test('a certificate is renewed with a new key, and no connection is dropped', async t => {
  const before = await shownSerial()
  const { csr } = await coordinator.mutate('host', 'BeginCertificateRenewal', stamped({}))
  const certificatePem = await house.root.sign(csr, own)
  const complete = { certificatePem, trustPem: house.root.trust }
  await coordinator.mutate('host', 'CompleteCertificateRenewal', stamped(complete))
  t.not(await shownSerial(), before)
  t.equal(await shownSerial(), new X509Certificate(certificatePem).serialNumber.toLowerCase())
  t.equal((await coordinator.call('host', 'GetHost'))['hostId'], hostId, 'over the same connection')
  await world.agentEnds('SIGKILL')
  await world.startAgent()
  t.equal(
    await shownSerial(),
    new X509Certificate(certificatePem).serialNumber.toLowerCase(),
    'after a restart too'
  )
})

t.test("QEMU's user can read the key for migrations, and nobody else's can", async t => {
  const [folder, key] = [join(world.root, 'pki'), join(world.root, 'pki/server-key.pem')]
  const { mode } = await stat(key)
  t.equal(mode & 0o777, 0o640)
  // The test's own directories are closed to others.
  for (const path of [world.root, folder]) await chmod(path, 0o755)
  const readBy = (user: string) =>
    promisify(execFile)('setpriv', [
      '--reuid',
      user,
      '--regid',
      user === 'nobody' ? 'nogroup' : user,
      '--init-groups',
      'cat',
      key
    ]).then(
      ({ stdout }) => stdout.includes('PRIVATE KEY'),
      () => false
    )
  t.equal(await readBy('libvirt-qemu'), true)
  t.equal(await readBy('nobody'), false)
})

t.test('a certificate for another key is refused, and the old one stays', async t => {
  const before = await shownSerial()
  await coordinator.mutate('host', 'BeginCertificateRenewal', stamped({}))
  const { certificate } = await house.root.issue({ uris: [own] })
  const complete = { certificatePem: certificate, trustPem: house.root.trust }
  const error = await coordinator
    .mutate('host', 'CompleteCertificateRenewal', stamped(complete))
    .catch((failure: Refused) => failure)
  t.match(error, { code: status.INVALID_ARGUMENT, fields: ['certificate_pem'] })
  t.equal(await shownSerial(), before)
})

const soon = () => new Date(Date.now() + 4000)
const secure = (own: { key: string; certificate: string } | null) =>
  credentials.createSsl(
    Buffer.from(house.root.trust),
    own && Buffer.from(own.key),
    own && Buffer.from(own.certificate),
    { checkServerIdentity: () => undefined }
  )
async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (await isSo()) return
    await setTimeout(100)
  }
  throw new Error(`never: ${what}`)
}

t.test(
  'a caller whose certificate ends is refused from then on, over the connection that it has',
  async t => {
    const uris = [identityUri(house.installation, 'COORDINATOR', '22222222-2222-4222-8222-222222222222')]
    const client = new AgentClient(address, secure(await house.root.issue({ uris, notAfter: soon() })))
    t.equal((await client.call('host', 'GetHost'))['hostId'], hostId)
    await until('refused', () =>
      client.call('host', 'GetHost', {}, 5).then(
        () => false,
        ({ code }: Refused) => code === status.UNAUTHENTICATED
      )
    )
    client.close()
    t.equal((await coordinator.call('host', 'GetHost'))['hostId'], hostId, 'others are not meant')
  }
)

t.test(
  'a host whose certificate has ended is not believed, runs on, and takes a new one without a restart',
  async t => {
    const { csr } = await coordinator.mutate('host', 'BeginCertificateRenewal', stamped({}))
    const certificatePem = await house.root.sign(csr, own, soon())
    const trustPem = house.root.trust
    await coordinator.mutate('host', 'CompleteCertificateRenewal', stamped({ certificatePem, trustPem }))
    const ruler = { uris: [identityUri(house.installation, 'COORDINATOR', house.installation)] }
    const asked = async () => {
      const client = new AgentClient(address, secure(await house.root.issue(ruler)))
      const answer = await client.call('host', 'GetHost', {}, 3).then(
        () => status.OK,
        ({ code }: Refused) => code
      )
      client.close()
      return answer
    }
    await until('not believed', async () => (await asked()) !== status.OK)
    t.equal((await world.client.call('host', 'GetHost'))['hostId'], hostId, 'the local door is open')

    // What `drover-agent recover` leaves: a new certificate with its key.
    const fresh = await house.root.issue({ uris: [own], addresses: ['127.0.0.1'] })
    const tls = join(world.root, 'state/tls')
    await writeFile(join(tls, 'host.key'), fresh.key)
    await writeFile(join(tls, 'host.pem'), fresh.certificate)
    await until('believed again', async () => (await asked()) === status.OK)
  }
)

t.test('a welcome sets generation and peers; one for an earlier life is refused', async t => {
  const welcome = (hostGeneration: string, coordinatorEpoch = '4') =>
    coordinator.mutate('host', 'Welcome', { coordinatorEpoch, hostGeneration, sanlockHostId: 7, peers: [] })
  await welcome('3')
  t.match(await coordinator.call('host', 'GetHost'), { hostGeneration: '3', coordinatorEpoch: '4' })
  t.match(await welcome('2').catch((failure: Refused) => failure), { code: status.ABORTED })
  t.match(await welcome('3', '3').catch((failure: Refused) => failure), { code: status.ABORTED })
  await world.agentEnds('SIGKILL')
  await world.startAgent()
  t.match(
    await coordinator.call('host', 'GetHost'),
    { hostGeneration: '3', coordinatorEpoch: '4' },
    'durable'
  )
})

t.test('of two coordinators with one epoch the first has the host, also after a restart', async t => {
  const greet = (coordinatorIncarnation: string) =>
    coordinator.mutate('host', 'Welcome', {
      ...{ coordinatorEpoch: '4', hostGeneration: '3', sanlockHostId: 7, peers: [], coordinatorIncarnation }
    })
  const [first, second] = ['aaaaaaaa', 'bbbbbbbb'].map(word => `${word}-0000-4000-8000-000000000000`)
  await greet(first ?? '')
  await greet(first ?? '')
  t.match(await greet(second ?? '').catch((failure: Refused) => failure), { code: status.ABORTED })
  t.match(await greet('x/../y').catch((failure: Refused) => failure), { code: status.INVALID_ARGUMENT })
  await world.agentEnds('SIGKILL')
  await world.startAgent()
  t.match(await greet(second ?? '').catch((failure: Refused) => failure), { code: status.ABORTED }, 'durable')
  await greet(first ?? '')
})

t.test('who is denied is refused at the next call, on the connection that it has', async t => {
  const tokens = { coordinatorEpoch: '4', hostGeneration: '3' }
  const refused = await house.root.issue({
    uris: [identityUri(house.installation, 'COORDINATOR', '11111111-1111-4111-8111-111111111111')]
  })
  const serial = new X509Certificate(refused.certificate).serialNumber
  await coordinator.mutate('host', 'UpdateDenyList', {
    ...tokens,
    deniedSerials: [serial],
    deniedHostIds: []
  })
  t.equal((await coordinator.call('host', 'GetHost'))['hostId'], hostId, 'others are not meant')
  await coordinator.mutate('host', 'UpdateDenyList', {
    ...tokens,
    deniedSerials: [house.rulerSerial],
    deniedHostIds: []
  })
  const error = await coordinator.call('host', 'GetHost').catch((failure: Refused) => failure)
  t.match(error, { code: status.UNAUTHENTICATED })
})
