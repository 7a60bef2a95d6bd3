import {
  ChannelCredentials,
  Client,
  Metadata,
  type CallOptions,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientWritableStream,
  type ServiceError
} from '@grpc/grpc-js'
import { setMaxListeners } from 'node:events'
import { createSecureContext } from 'node:tls'
import type { Clock } from './clock.js'
import { Fault } from './fault.js'
import { readCertificateIdentity, type CertificateIdentity } from './identity.js'
import { faultOf } from './rich-status.js'
import type { Certificates } from './tls.js'
import { seconds, type Seconds } from './units.js'

export type Target =
  | { unixPath: string }
  | {
      /** "HOST:PORT". */
      address: string
      trust: string
      /** Absent: a connection without a certificate of ours, for enrolment. */
      identity?: Pick<Certificates, 'certificate' | 'key'>
      /** Whether the server's certificate names whom we mean to talk to. Checked after each handshake. */
      expect: (server: CertificateIdentity) => boolean
    }

/** How a definition made by proto-loader looks, as far as a client cares. */
export type Method<Request, Response> = {
  path: string
  requestSerialize: (value: Request) => Buffer
  responseDeserialize: (bytes: Buffer) => Response
}
const options = {
  'grpc.max_receive_message_length': 4 * 2 ** 20,
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.initial_reconnect_backoff_ms': 500,
  'grpc.max_reconnect_backoff_ms': 5_000,
  'grpc.service_config_disable_resolution': 1,
  // One channel, one connection: two clients of a process never share.
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_http_proxy': 0
}

// Servers are known by the URI name in their certificate; TLS wants some host name, and an address is none.
const serverName = { 'grpc.ssl_target_name_override': 'drover.internal' }

/** The usual deadline of a call that only starts or reads something. */
export const usualDeadline = seconds(30)

/** A channel to one daemon: promises and async iteration, faults instead of statuses. */
export class RpcClient implements Disposable {
  readonly #client: Client
  readonly #clock: Clock

  constructor(target: Target, clock: Clock) {
    this.#clock = clock
    this.#client =
      'unixPath' in target
        ? new Client(`unix:${target.unixPath}`, ChannelCredentials.createInsecure(), {
            ...options,
            'grpc.default_authority': 'localhost'
          })
        : new Client(target.address, tlsCredentials(target), { ...options, ...serverName })
  }

  /** Begins to connect, so that the first call finds it done. */
  connect(): void {
    this.#client.getChannel().getConnectivityState(true)
  }

  /** One request, one answer. */
  call<Q, R>(
    method: Method<Q, R>,
    request: Q,
    signal: AbortSignal,
    deadline: Seconds = usualDeadline,
    metadata = new Metadata()
  ): Promise<R> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      // Many calls may hang on one long-lived signal; each takes its listener away again.
      setMaxListeners(0, signal)
      const { path, requestSerialize, responseDeserialize } = method
      const done = (error: ServiceError | null, response?: R) => {
        signal.removeEventListener('abort', cancel)
        if (error) reject(signal.aborted ? signal.reason : faultOf(error))
        else resolve(response as R)
      }
      const limits = this.#limits(deadline)
      const call = this.#client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        metadata,
        limits,
        done
      )
      const cancel = () => call.cancel()
      signal.addEventListener('abort', cancel, { once: true })
    })
  }

  /** One request, many answers; leaving the loop cancels the call. */
  stream<Q, R>(
    method: Method<Q, R>,
    request: Q,
    signal: AbortSignal,
    deadline: Seconds | null = null,
    metadata = new Metadata()
  ): AsyncGenerator<R> {
    const { path, requestSerialize, responseDeserialize } = method
    const limits = this.#limits(deadline)
    return received(
      this.#client.makeServerStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        metadata,
        limits
      ),
      signal
    )
  }

  /** Many requests, one answer. */
  upload<Q, R>(
    method: Method<Q, R>,
    requests: AsyncIterable<Q>,
    signal: AbortSignal,
    deadline: Seconds | null = null,
    metadata = new Metadata()
  ): Promise<R> {
    return new Promise((resolve, reject) => {
      const { path, requestSerialize, responseDeserialize } = method
      const done = (error: ServiceError | null, response?: R) => {
        if (error) reject(signal.aborted ? signal.reason : faultOf(error))
        else resolve(response as R)
      }
      const limits = this.#limits(deadline)
      const call = this.#client.makeClientStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        metadata,
        limits,
        done
      )
      send(call, requests, signal).catch((error: unknown) => {
        call.cancel()
        reject(error)
      })
    })
  }

  /** Many requests, many answers. */
  bidi<Q, R>(
    method: Method<Q, R>,
    requests: AsyncIterable<Q>,
    signal: AbortSignal,
    deadline: Seconds | null = null,
    metadata = new Metadata()
  ): AsyncGenerator<R> {
    const { path, requestSerialize, responseDeserialize } = method
    const limits = this.#limits(deadline)
    const call = this.#client.makeBidiStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      metadata,
      limits
    )
    send(call, requests, signal).catch(() => call.cancel())
    return received(call, signal)
  }

  /** Resolves when a connection stands; a Fault after the deadline. */
  ready(deadline: Seconds): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#client.waitForReady(this.#clock.wall() + deadline * 1000, error => {
        if (error)
          reject(new Fault('HOST_UNREACHABLE', 'no connection within the time limit', { cause: error }))
        else resolve()
      })
    })
  }

  close(): void {
    this.#client.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #limits(deadline: Seconds | null): CallOptions {
    return deadline === null ? {} : { deadline: this.#clock.wall() + deadline * 1000 }
  }
}

type Incoming<R> = ClientReadableStream<R> | ClientDuplexStream<unknown, R>

async function* received<R>(call: Incoming<R>, signal: AbortSignal): AsyncGenerator<R> {
  const cancel = () => call.cancel()
  signal.addEventListener('abort', cancel, { once: true })
  if (signal.aborted) cancel()
  try {
    for await (const message of call) yield message as R
  } catch (error) {
    if (signal.aborted) throw signal.reason
    throw isServiceError(error) ? faultOf(error) : error
  } finally {
    signal.removeEventListener('abort', cancel)
    // After the loop was left early the call fails with CANCELLED, which nobody needs to hear.
    call.on('error', () => {})
    cancel()
  }
}

async function send<Q>(
  call: ClientWritableStream<Q>,
  requests: AsyncIterable<Q>,
  signal: AbortSignal
): Promise<void> {
  for await (const request of requests) {
    signal.throwIfAborted()
    if (call.write(request)) continue
    await new Promise<void>(resolve => {
      call.once('drain', resolve)
      call.once('close', resolve)
    })
  }
  call.end()
}

const isServiceError = (error: unknown): error is ServiceError =>
  error instanceof Error && 'code' in error && 'details' in error

function tlsCredentials({
  trust,
  identity,
  expect
}: Extract<Target, { address: string }>): ChannelCredentials {
  const context = createSecureContext({
    ca: trust,
    minVersion: 'TLSv1.3',
    ...(identity && { cert: identity.certificate, key: identity.key })
  })
  return ChannelCredentials.createFromSecureContext(context, {
    // In place of the host name: the URI name of the certificate says who it is.
    checkServerIdentity: (_, { raw }) => {
      try {
        return expect(readCertificateIdentity(raw))
          ? undefined
          : new Error('the server is not whom we expected')
      } catch (error) {
        return error instanceof Error ? error : new Error(String(error))
      }
    }
  })
}
