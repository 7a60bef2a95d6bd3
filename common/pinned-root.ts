import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { connect, type DetailedPeerCertificate } from 'node:tls'
import type { HostPort } from './address-rules.js'
import { Fault } from './fault.js'

/**
 * Fetches the root certificate of a server that nobody knows yet, and believes it by its fingerprint alone
 * ("sha256:" and 64 hexadecimal digits). The connection made afterwards checks the whole chain against it.
 * The server must send its chain up to the root.
 */
export async function fetchPinnedRoot(
  { host, port }: HostPort,
  fingerprint: string,
  signal: AbortSignal
): Promise<string> {
  const socket = connect({
    host,
    port,
    servername: 'drover.internal',
    rejectUnauthorized: false, // nothing is sent over this connection, and what it says is checked below
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['h2']
  })
  try {
    await once(socket, 'secureConnect', { signal })
    for (const certificate of chainOf(socket.getPeerCertificate(true))) {
      const found = certificate.fingerprint256.replaceAll(':', '').toLowerCase()
      if (`sha256:${found}` === fingerprint.toLowerCase())
        return new X509Certificate(certificate.raw).toString()
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason
    throw new Fault('HOST_UNREACHABLE', `no TLS connection to ${host}:${port}`, { cause: error })
  } finally {
    socket.destroy()
  }
  throw new Fault('UNAUTHENTICATED', 'the server does not have the certificate with this fingerprint')
}

/** From the server's own certificate to its root, which is its own issuer. */
function* chainOf(leaf: DetailedPeerCertificate): Generator<DetailedPeerCertificate> {
  let depth = 0
  for (let each = leaf; each?.raw && depth < 5; each = each.issuerCertificate, depth++) {
    yield each
    if (each.issuerCertificate === each) return
  }
}
