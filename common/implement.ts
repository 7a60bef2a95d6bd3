import type {
  Metadata,
  sendUnaryData,
  ServerDuplexStream,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceDefinition,
  UntypedHandleCall,
  UntypedServiceImplementation
} from '@grpc/grpc-js'
import { once, type EventEmitter } from 'node:events'
import type { Readable } from 'node:stream'
import { type Admission } from './admission.js'
import { auditFacts, type Audit } from './audit.js'
import type { Clock } from './clock.js'
import { callerOf } from './door.js'
import { Fault } from './fault.js'
import type { Caller } from './identity.js'
import type { Logger } from './log.js'
import type { MethodPolicy, Policies } from './policy.js'
import { wireStatus } from './rich-status.js'
import type { Context, Handler } from './rpc.js'
import { seconds } from './units.js'

/** A daemon's own check between policy and fields, for example of epoch and generation. Throws a Fault. */
export type Gate = (call: {
  message: object
  policy: MethodPolicy
  path: string
  caller: Caller
}) => void | Promise<void>

export type Pipeline = {
  log: Logger
  clock: Clock
  policies: Policies
  audit: Audit
  gate: Gate
  admission: Admission
  /** Long-lived streams are counted apart, and never wait. */
  streams: Admission
}

type AnyCall = {
  metadata: Metadata
  getDeadline(): Date | number
  on(event: 'cancelled', listener: () => void): unknown
}
type Sink = EventEmitter & { write(answer: object): boolean }
type Attempt = { path: string; policy: MethodPolicy; caller: Caller; message: object; context: Context }

// What nobody waits for longer than this is not begun; a single call that needs more is a task or a job.
const longestCall = 10 * 60_000

/** Binds handlers to a service. A method of the wrong shape is a bug; a missing one answers UNIMPLEMENTED. */
export function implement(
  definition: ServiceDefinition,
  handlers: Record<string, Handler>,
  pipeline: Pipeline
): UntypedServiceImplementation {
  const unknown = new Set(Object.keys(handlers))
  const bound: Record<string, UntypedHandleCall> = {}
  for (const [name, { path, requestStream, responseStream }] of Object.entries(definition)) {
    const own = name.charAt(0).toLowerCase() + name.slice(1)
    const handler = handlers[own] ?? missing(requestStream, responseStream, path)
    unknown.delete(own)
    if (handler.kind !== kindOf(requestStream, responseStream))
      throw new TypeError(`${path} is no ${handler.kind}`)
    bound[name] = serve(handler, path, pipeline)
  }
  if (unknown.size > 0) throw new TypeError(`no such methods: ${[...unknown].join(', ')}`)
  return bound
}

function serve(handler: Handler, path: string, pipeline: Pipeline): UntypedHandleCall {
  const attempt = attempts(path, pipeline)
  switch (handler.kind) {
    case 'unary':
      return (call: ServerUnaryCall<object, object>, reply: sendUnaryData<object>) => {
        const work = ({ message, context }: Attempt) => handler.bind(message)(context)
        attempt(call, call.request, pipeline.admission, work).then(
          answer => reply(null, answer),
          (error: StatusError) => reply(error)
        )
      }
    case 'serverStream':
      return (call: ServerWritableStream<object, object>) => {
        const work = ({ message, context }: Attempt) =>
          pour(handler.bind(message)(context), call, context.signal)
        attempt(call, call.request, pipeline.streams, work).then(
          () => call.end(),
          (error: StatusError) => call.emit('error', error)
        )
      }
    case 'clientStream':
      return (call: ServerReadableStream<object, object>, reply: sendUnaryData<object>) => {
        const work = (a: Attempt) => handler.run(gated(call, a, pipeline.gate), a.context)
        attempt(call, null, pipeline.streams, work).then(
          answer => reply(null, answer),
          (error: StatusError) => reply(error)
        )
      }
    case 'bidi':
      return (call: ServerDuplexStream<object, object>) => {
        const work = (a: Attempt) =>
          pour(handler.run(gated(call, a, pipeline.gate), a.context), call, a.context.signal)
        attempt(call, null, pipeline.streams, work).then(
          () => call.end(),
          (error: StatusError) => call.emit('error', error)
        )
      }
  }
}

type StatusError = Error & ReturnType<typeof wireStatus>

/** From a call to its outcome: caller, deadline, admission, gate, work, audit; failures in wire form. */
function attempts(path: string, { log, clock, policies, audit, gate, admission: short }: Pipeline) {
  const policy = policies.of(path)
  const name = path.slice(path.lastIndexOf('/') + 1)
  const audited = policy.audit || !policy.readOnly

  return async <T>(
    call: AnyCall,
    first: object | null,
    admission: Admission,
    work: (attempt: Attempt) => Promise<T>
  ): Promise<T> => {
    const started = clock.wall()
    const scoped = log.child({ rpc: name })
    const limit = limited(call, admission === short, clock, name)
    const caller = callerOf(call.metadata)
    let outcome = 'ok'
    let seen: Attempt | null = null
    try {
      if (!caller) throw new Fault('UNAUTHENTICATED', 'the call came through no door')
      const context = { signal: limit.signal, log: scoped, caller }
      const attempt = (seen = { path, policy, caller, message: first ?? {}, context })
      limit.signal.throwIfAborted()
      using _ = await admission.enter(peerKey(caller), limit.signal)
      if (first) await gate({ message: first, policy, path, caller })
      return await work(attempt)
    } catch (error) {
      // Many calls reject with an AbortError of their own when the signal ends them: the reason says why.
      const cause: unknown = limit.signal.aborted && !(error instanceof Fault) ? limit.signal.reason : error
      outcome = cause instanceof Fault ? cause.reason : 'INTERNAL'
      throw failure(cause, clock.newId(), scoped)
    } finally {
      limit.end()
      if (audited && caller) {
        const facts = auditFacts(seen?.message ?? {}, policy.object)
        const entry = { method: path, action: policy.action, caller, ...facts, outcome, started }
        // What the call did is done, whatever becomes of its record.
        await (async () => audit(entry))().catch((error: unknown) => {
          scoped.error({ err: error, entry }, 'the audit record could not be written')
        })
      }
    }
  }
}

/** A signal that ends with the caller's interest: cancelled, gone, or its deadline passed. */
function limited(call: AnyCall, short: boolean, clock: Clock, name: string) {
  const abort = new AbortController()
  call.on('cancelled', () => abort.abort(new Fault('CANCELLED', `${name} was cancelled by its caller`)))
  const deadline = Number(call.getDeadline())
  const left = Math.min(
    Number.isNaN(deadline) ? Infinity : deadline - clock.wall(),
    short ? longestCall : Infinity
  )
  const late = () => abort.abort(new Fault('DEADLINE', `${name} took longer than its deadline`))
  if (left <= 0) late()
  const end = left > 0 && left < 2 ** 31 ? clock.after(seconds(left / 1000), late) : () => {}
  return { signal: abort.signal, end }
}

/** Messages of a stream; the daemon's own check sees the first of them. */
async function* gated(call: Readable, attempt: Attempt, gate: Gate): AsyncGenerator<object> {
  let first = true
  // The end of the requests is not the end of the call: answers may still go out.
  for await (const message of call.iterator({ destroyOnReturn: false })) {
    if (first) {
      attempt.message = message
      await gate(attempt)
      first = false
    }
    yield message
  }
}

/** Writes answers one by one, and waits where the caller is slower than we are. */
async function pour(answers: AsyncIterable<object>, call: Sink, signal: AbortSignal): Promise<void> {
  for await (const answer of answers) {
    signal.throwIfAborted()
    if (!call.write(answer)) await once(call, 'drain', { signal })
  }
}

function failure(error: unknown, errorId: string, log: Logger): StatusError {
  if (error instanceof Fault && error.status !== 'INTERNAL') log.info({ reason: error.reason }, error.message)
  else log.error({ err: error, errorId }, 'call failed')
  return Object.assign(new Error('call failed'), wireStatus(error, errorId))
}

/** Who shares a bound. */
export const peerKey = ({ role, id, address }: Caller) => (role === 'ANONYMOUS' ? address : `${role}/${id}`)

function kindOf(requestStream: boolean, responseStream: boolean): Handler['kind'] {
  if (requestStream) return responseStream ? 'bidi' : 'clientStream'
  return responseStream ? 'serverStream' : 'unary'
}

function missing(requestStream: boolean, responseStream: boolean, path: string): Handler {
  const fail = (): never => {
    throw new Fault('UNSUPPORTED', `${path.slice(1)} is not available in this version`)
  }
  const kind = kindOf(requestStream, responseStream)
  return kind === 'unary' || kind === 'serverStream' ? { kind, bind: fail } : { kind, run: fail }
}
