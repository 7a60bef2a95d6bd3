import { status } from '@grpc/grpc-js'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:tls'
import t from 'tap'
import { identityUri } from '../../../common/identity.js'
import type { Refused } from './client.js'
import { cluster, stamped, type ClusterHost } from './cluster.js'

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
