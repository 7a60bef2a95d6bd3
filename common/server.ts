import { once } from 'node:events'
import type { AddressInfo, Server as NetServer } from 'node:net'
import type { TLSSocket } from 'node:tls'
import {
  experimental,
  Server,
  ServerCredentials,
  type ServerInterceptor,
  type ServiceDefinition
} from '@grpc/grpc-js'
import { Admission, standardAdmission, type AdmissionLimits } from './admission.js'
import { auditFacts, type Audit } from './audit.js'
import type { Clock } from './clock.js'
import { door, type Identify } from './door.js'
import { Fault } from './fault.js'
import { Health } from './health.js'
import { anonymous, Identities, localAdmin, type Caller, type Trust } from './identity.js'
import { implement, peerKey, type Gate } from './implement.js'
import type { Logger } from './log.js'
import { Policies } from './policy.js'
import { Rate, standardRate, type RateLimits } from './rate.js'
import { Reflection } from './reflection.js'
import type { Handler } from './rpc.js'
import { tlsFront, type Certificates, type FrontLimits } from './tls.js'
import { listenUnix } from './unix-socket.js'
import { seconds, type Seconds } from './units.js'
import { boundedRequests } from './wire-bounds.js'

/** What common/ needs of proto/, handed in by main.ts. */
export type Contract = {
  descriptorSet: Uint8Array
  standardServices: {
    health: ServiceDefinition
    reflection: ServiceDefinition
    reflectionAlpha: ServiceDefinition
  }
}

export type RpcServerOptions = {
  contract: Contract
  trust: Trust
  log: Logger
  clock: Clock
  audit?: Audit
  gate?: Gate
  admission?: AdmissionLimits
  rate?: RateLimits
  frontLimits?: Partial<FrontLimits>
}

export type TlsListener = { host: string; port: number; certificates: Certificates; allowAnonymous: boolean }

const options = {
  // A list that is far too long still arrives, so that the answer can name the field and its limit. Who has no
  // certificate is turned away before anything is decoded.
  'grpc.max_receive_message_length': 2 * 2 ** 20,
  'grpc.max_send_message_length': 4 * 2 ** 20,
  'grpc.max_concurrent_streams': 200,
  'grpc-node.max_session_memory': 10,
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.max_connection_age_ms': 3_600_000,
  // New calls go over a new connection after an hour; streams (a migration, an upload) may end on the old one.
  'grpc.max_connection_age_grace_ms': 24 * 3_600_000
}

/** A daemon's gRPC server: two doors (TLS 1.3 and a unix socket), one pipeline behind them. */
export class RpcServer {
  readonly health: Health
  readonly #options: RpcServerOptions
  readonly #policies: Policies
  readonly #rate: Rate
  readonly #server = new Server(options)
  readonly #services: string[] = []
  readonly #listeners: NetServer[] = []
  readonly #pipeline
  readonly #sockets = new Set<TLSSocket>()
  #reload: ((certificates: Certificates) => void) | null = null
  #cancelDropping = () => {}

  constructor(given: RpcServerOptions) {
    const { log, clock, audit = () => {}, gate = () => {}, admission = standardAdmission } = given
    this.#options = given
    this.#policies = new Policies(given.contract.descriptorSet)
    this.#rate = new Rate(given.rate ?? standardRate, clock)
    const streams = new Admission({ perPeer: 64, inAll: 256, waiting: 0 })
    this.#pipeline = {
      log,
      clock,
      policies: this.#policies,
      audit,
      gate,
      admission: new Admission(admission),
      streams
    }
    this.health = new Health(this.#services)
  }

  /** Offers a service. All services are added before the first listener. */
  add<D extends object>(definition: D, handlers: Handlers<D>): this {
    const service = this.#bounded(definition as unknown as ServiceDefinition)
    const name = Object.values(service)[0]?.path.split('/')[1] ?? ''
    this.#services.push(name)
    this.#server.addService(
      service,
      implement(service, { ...handlers } as Record<string, Handler>, this.#pipeline)
    )
    return this
  }

  /** Adds health and reflection. Called once, after the daemon's own services. */
  addStandard(): this {
    const { descriptorSet, standardServices } = this.#options.contract
    const names = Object.values(standardServices).map(
      service => Object.values(service)[0]?.path.split('/')[1] ?? ''
    )
    const reflection = new Reflection(descriptorSet, [...this.#services, ...names]).handlers()
    const [health, ...describing] = [
      standardServices.health,
      standardServices.reflection,
      standardServices.reflectionAlpha
    ].map(service => this.#bounded(service)) as [ServiceDefinition, ...ServiceDefinition[]]
    this.#server.addService(health, implement(health, this.health.handlers(), this.#pipeline))
    for (const service of describing)
      this.#server.addService(service, implement(service, reflection, this.#pipeline))
    return this
  }

  /** Opens the TLS door; returns the port, which was asked of the kernel where it was 0. */
  async listenTls({ host, port, certificates, allowAnonymous }: TlsListener): Promise<number> {
    const { log, trust, clock, frontLimits = {} } = this.#options
    const identities = new Identities(clock, trust)
    const injector = this.#injector(call => {
      const { sslPeerCertificate: certificate } = call.getAuthContext()
      const address = call.getConnectionInfo().remoteAddress ?? ''
      if (certificate) return identities.ofCertificate(certificate.raw, certificate.fingerprint256, address)
      return anonymous(address)
    })
    const front = tlsFront({
      certificates,
      allowAnonymous,
      limits: frontLimits,
      log,
      clock,
      onConnection: socket => {
        this.#sockets.add(socket)
        socket.once('close', () => this.#sockets.delete(socket))
        injector.injectConnection(socket)
      }
    })
    front.server.listen({ host, port })
    await once(front.server, 'listening')
    this.#listeners.push(front.server)
    this.#reload = front.reload
    this.#dropDenied(identities)
    return (front.server.address() as AddressInfo).port
  }

  /** Opens the unix socket: whoever may open it is the local administrator. */
  async listenUnix(path: string, mode: 0o600 | 0o660 = 0o600): Promise<void> {
    const injector = this.#injector(() => localAdmin)
    this.#listeners.push(await listenUnix(path, mode, socket => injector.injectConnection(socket)))
  }

  /** From now on new connections see these certificates. */
  reload(certificates: Certificates): void {
    this.#reload?.(certificates)
  }

  /** Lets running calls end, up to a time; then cuts them. */
  async stop(grace: Seconds = seconds(5)): Promise<void> {
    this.#cancelDropping()
    for (const listener of this.#listeners.splice(0)) listener.close()
    await new Promise<void>(resolve => {
      const cut = this.#options.clock.after(grace, () => {
        this.#server.forceShutdown()
        resolve()
      })
      this.#server.tryShutdown(() => {
        cut()
        resolve()
      })
    })
  }

  /** For the debug door. */
  dump() {
    return { calls: this.#pipeline.admission.dump(), streams: this.#pipeline.streams.dump() }
  }

  /** Every call asks for itself; this ends the streams that a revoked certificate still has open. */
  #dropDenied(identities: Identities): void {
    for (const socket of this.#sockets) {
      const { raw, fingerprint256 } = socket.getPeerCertificate()
      if (raw && isDenied(identities, raw, fingerprint256)) socket.destroy()
    }
    this.#cancelDropping = this.#options.clock.after(betweenLooks, () => this.#dropDenied(identities))
  }

  #bounded(service: ServiceDefinition): ServiceDefinition {
    return boundedRequests(service, path => this.#policies.requestOf(path))
  }

  /** The administrator of the machine is nobody's flood. */
  #mayCall(caller: Caller): boolean {
    if (caller.role === 'LOCAL_ADMIN') return true
    const taken = this.#rate.take(peerKey(caller))
    if (taken === 'began') this.#options.log.warn({ caller }, 'too many calls: some are refused')
    return taken === 'ok'
  }

  #injector(identify: Identify) {
    const interceptor: ServerInterceptor = door(
      this.#policies,
      identify,
      caller => this.#mayCall(caller),
      (path, caller, fault) => this.#recordRefusal(path, caller, fault)
    )
    // Plain HTTP/2: TLS has been spoken before a connection gets here.
    const plain = experimental.createServerCredentialsWithInterceptors(ServerCredentials.createInsecure(), [
      interceptor
    ])
    return this.#server.createConnectionInjector(plain)
  }

  #recordRefusal(path: string, caller: Caller | null, fault: Fault): void {
    const { log, clock, audit } = this.#options
    log.info({ rpc: path, caller, reason: fault.reason }, fault.message)
    const policy = this.#policies.of(path)
    if (!audit || caller === null || (policy.readOnly && !policy.audit)) return
    const facts = auditFacts({}, '')
    const entry = {
      method: path,
      action: policy.action,
      caller,
      ...facts,
      outcome: fault.reason,
      started: clock.wall()
    }
    void (async () => audit(entry))().catch((error: unknown) => log.error({ err: error }, 'audit failed'))
  }
}

// A revocation ends what is open within this time.
const betweenLooks = seconds(2)

/** A certificate without our name has no calls, and is left to its end. */
function isDenied(identities: Identities, der: Uint8Array, fingerprint: string): boolean {
  try {
    return identities.isDenied(der, fingerprint)
  } catch (error) {
    if (error instanceof Fault) return false
    throw error
  }
}

/** Handlers for the methods of a generated service definition; those left out answer UNIMPLEMENTED. */
export type Handlers<D> = {
  [K in keyof D as string extends K ? never : K extends string ? Uncapitalize<K> : never]?: D[K] extends {
    responseSerialize: (value: infer R) => Buffer
  }
    ? Handler<R & object>
    : never
}
