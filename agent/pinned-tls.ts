import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { connect, type DetailedPeerCertificate } from 'node:tls'
import { orAborted } from '../common/deadline.js'
import { Fault } from '../common/fault.js'
import { readCertificateIdentity } from '../common/identity.js'

export type Pinned = { trust: string; localAddress: string }

/**
 * What may be trusted of a server of which only the fingerprint of its CA is known: that CA, once the server
 * has shown a chain that leads to it. A look at the chain needs a connection; nothing is said over it.
 */
export async function trustByFingerprint(
  { host, port, fingerprint }: { host: string; port: number; fingerprint: string },
  signal: AbortSignal
): Promise<Pinned> {
  const options = {
    host,
    port,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['h2']
  } as const
  const socket = connect(options)
  try {
    await orAborted(once(socket, 'secureConnect'), signal)
    const chain = chainOf(socket.getPeerCertificate(true))
    const trust = trustIn(chain, fingerprint)
    const { role } = readCertificateIdentity(chain[0]?.raw ?? Buffer.alloc(0))
    if (role !== 'COORDINATOR') throw new Fault('UNAUTHENTICATED', `${host}:${port} is no coordinator`)
    return { trust, localAddress: socket.localAddress ?? '' }
  } catch (error) {
    if (error instanceof Fault) throw error
    throw new Fault('HOST_UNREACHABLE', `the coordinator at ${host}:${port} cannot be reached`, {
      cause: error
    })
  } finally {
    socket.destroy()
  }
}

/** The pinned certificate, with those above it: TLS wants a whole chain. Each link is checked by its signature. */
export function trustIn(chain: X509Certificate[], fingerprint: string): string {
  const wanted = fingerprint
    .replace(/^sha256:/i, '')
    .replaceAll(':', '')
    .toLowerCase()
  for (const [index, certificate] of chain.entries()) {
    const next = chain[index + 1]
    if (index > 0 && certificate.ca && digestOf(certificate) === wanted) {
      return [certificate, ...(next && certificate.verify(next.publicKey) ? [next] : [])].map(pemOf).join('')
    }
    if (!next || !certificate.verify(next.publicKey)) break
  }
  throw new Fault('UNAUTHENTICATED', 'the coordinator has no certificate of the CA with this fingerprint')
}

function chainOf(leaf: DetailedPeerCertificate): X509Certificate[] {
  const chain: X509Certificate[] = []
  for (let next: DetailedPeerCertificate | undefined = leaf; next?.raw && chain.length < 8;) {
    chain.push(new X509Certificate(next.raw))
    next = next.issuerCertificate === next ? undefined : next.issuerCertificate
  }
  return chain
}

const digestOf = ({ fingerprint256 }: X509Certificate) => fingerprint256.replaceAll(':', '').toLowerCase()
const pemOf = (certificate: X509Certificate) => `${certificate.toString().trimEnd()}\n`
