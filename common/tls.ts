import type { Socket } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import type { Clock } from './clock.js'
import type { Logger } from './log.js'
import { refuse, verdictInWords } from './refusals.js'

/** PEM texts. `certificate` may go on with the certificates of its issuers. */
export type Certificates = {
  /** Certificates of the authorities that count. */
  trust: string
  certificate: string
  key: string
}

export type TlsFrontOptions = {
  certificates: Certificates
  /** Let in connections without a certificate too; the policies of the methods then decide. */
  allowAnonymous: boolean
  limits?: Partial<FrontLimits>
  log: Logger
  clock: Clock
  onConnection: (socket: TLSSocket) => void
}

export type FrontLimits = { perAddress: number; inAll: number; unfinished: number; handshakeMs: number }

const standardLimits: FrontLimits = { perAddress: 100, inAll: 1000, unfinished: 200, handshakeMs: 10_000 }

/** What a listener uses for TLS 1.3 and nothing older. */
const protocol = { minVersion: 'TLSv1.3', ALPNProtocols: ['h2'] } as const

/**
 * TLS 1.3 in front of gRPC: grpc-js alone accepts TLS 1.2 and holds silent connections for two minutes.
 * Certificates are replaced without dropping a connection.
 */
export function tlsFront(options: TlsFrontOptions) {
  const { certificates, allowAnonymous, limits, clock, onConnection } = options
  const log = seldom(options.log, clock)
  const bounds = { ...standardLimits, ...limits }
  const server = createServer({
    ...protocol,
    ...contextOf(certificates),
    requestCert: true,
    // Decided below: TLS itself could not say why.
    rejectUnauthorized: false,
    handshakeTimeout: bounds.handshakeMs
  })
  countConnections(server, bounds, log)
  server.on('secureConnection', socket => {
    const presented = socket.getPeerCertificate().raw !== undefined
    const isFine = socket.authorized || (!presented && allowAnonymous)
    if (socket.alpnProtocol !== 'h2') socket.destroy()
    else if (isFine) onConnection(socket)
    else {
      const verdict = presented ? String(socket.authorizationError) : 'no certificate'
      log({ address: socket.remoteAddress, why: verdict }, 'certificate refused')
      refuse(socket, presented ? verdictInWords(verdict) : 'a certificate is needed', clock)
    }
  })
  server.on('tlsClientError', (error: Error & { code?: string }, socket) => {
    log({ address: socket.remoteAddress, code: error.code }, 'TLS handshake failed')
    socket.destroy()
  })
  return {
    server,
    /** New handshakes use these certificates; connections that exist go on. */
    reload: (fresh: Certificates) => server.setSecureContext({ ...contextOf(fresh), minVersion: 'TLSv1.3' })
  }
}

const contextOf = ({ trust, certificate, key }: Certificates) => ({ ca: trust, cert: certificate, key })

type Say = (facts: object, text: string) => void

/** Anybody can make these lines appear: of each kind one in ten seconds is logged, with a count of the rest. */
function seldom(log: Logger, clock: Clock): Say {
  const last = new Map<string, { at: number; untold: number }>()
  return (facts, text) => {
    const before = last.get(text)
    const now = clock.monotonic()
    if (before && now - before.at < 10) {
      before.untold++
      return
    }
    log.warn({ ...facts, untold: before?.untold ?? 0 }, text)
    last.set(text, { at: now, untold: 0 })
  }
}

/** Bounds on raw connections, before anything is known of them. */
function countConnections(server: Server, bounds: FrontLimits, log: Say): void {
  const byAddress = new Map<string, number>()
  const unfinished = new Set<Socket>()
  let inAll = 0
  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? ''
    const before = byAddress.get(address) ?? 0
    if (before >= bounds.perAddress || inAll >= bounds.inAll || unfinished.size >= bounds.unfinished) {
      log({ address, before, inAll, unfinished: unfinished.size }, 'connection refused: too many')
      socket.destroy()
      return
    }
    inAll++
    byAddress.set(address, before + 1)
    unfinished.add(socket)
    socket.once('close', () => {
      inAll--
      unfinished.delete(socket)
      const left = (byAddress.get(address) ?? 1) - 1
      if (left === 0) byAddress.delete(address)
      else byAddress.set(address, left)
    })
  })
  server.on('secureConnection', (socket: TLSSocket) => {
    // Node wraps the raw socket; its remote port names it.
    for (const raw of unfinished) if (raw.remotePort === socket.remotePort) unfinished.delete(raw)
  })
}
