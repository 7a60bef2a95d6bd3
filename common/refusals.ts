import { performServerHandshake } from 'node:http2'
import type { TLSSocket } from 'node:tls'
import { status } from '@grpc/grpc-js'
import type { Clock } from './clock.js'
import { Fault } from './fault.js'
import { richStatus } from './rich-status.js'
import { seconds } from './units.js'

const patience = seconds(2)

/**
 * Answers the first call on a connection with UNAUTHENTICATED, and closes; one that asks nothing is closed too.
 * A client whose certificate is refused has finished its part of TLS 1.3 by then: were the connection just cut,
 * gRPC clients would try again until their deadline and never learn why. Nothing that such a client sends
 * reaches the gRPC server.
 */
export function refuse(socket: TLSSocket, why: string, clock: Clock): void {
  const fault = new Fault('UNAUTHENTICATED', why)
  const headers = {
    ...{ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': status.UNAUTHENTICATED },
    'grpc-message': encodeURI(fault.message),
    'grpc-status-details-bin': richStatus(fault).toString('base64')
  }
  socket.once(
    'close',
    clock.after(patience, () => socket.destroy())
  )
  const session = performServerHandshake(socket, {
    maxSessionMemory: 1,
    settings: { maxConcurrentStreams: 1 }
  })
  session.on('error', () => {})
  session.once('stream', stream => {
    stream.on('error', () => {})
    stream.respond(headers, { endStream: true })
    session.close()
  })
}

const words: Record<string, string> = {
  CERT_HAS_EXPIRED: 'the certificate has expired',
  CERT_NOT_YET_VALID: 'the certificate is not valid yet',
  CERT_SIGNATURE_FAILURE: 'the certificate was not issued by this installation',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the certificate was not issued by this installation',
  SELF_SIGNED_CERT_IN_CHAIN: 'the certificate was not issued by this installation',
  UNABLE_TO_GET_ISSUER_CERT: 'the certificate was not issued by this installation',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the certificate was not issued by this installation',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the certificate was not issued by this installation'
}

/** What OpenSSL's verdict means, in words for the one who was refused. */
export const verdictInWords = (code: string): string => words[code] ?? 'the certificate is not believed'
