import { ServerInterceptingCall, type Metadata, type ServerInterceptor } from '@grpc/grpc-js'
import { Fault } from './fault.js'
import type { Caller } from './identity.js'
import { allows, type Policies } from './policy.js'
import { wireStatus } from './rich-status.js'

type InterceptedCall = Parameters<ServerInterceptor>[1]
export type Identify = (call: InterceptedCall) => Caller
/** Whether a caller may begin one call more. */
export type MayCall = (caller: Caller) => boolean
export type Refused = (path: string, caller: Caller | null, fault: Fault) => void

const mostMetadata = 8192

// Who stands behind a call. Keyed by the metadata object, which interceptor and handler share; nothing
// that a caller sends can write here.
const callers = new WeakMap<Metadata, Caller>()

/** The caller that a door let in; null where the call came through no door. */
export const callerOf = (metadata: Metadata): Caller | null => callers.get(metadata) ?? null

/** Stands in front of every call of one listener: decides by identity and policy before a byte is decoded. */
export function door(
  policies: Policies,
  identify: Identify,
  mayCall: MayCall,
  onRefused: Refused
): ServerInterceptor {
  return ({ path }, call) => {
    const refuse = (caller: Caller | null, error: unknown) => {
      if (error instanceof Fault) onRefused(path, caller, error)
      call.sendStatus(wireStatus(error, ''))
    }
    return new ServerInterceptingCall(call, {
      start: next =>
        next({
          onReceiveMetadata: (metadata, pass) => {
            let caller: Caller | null = null
            try {
              if (sizeOf(metadata) > mostMetadata) throw new Fault('LIMIT', 'metadata beyond 8 KiB')
              caller = identify(call)
              if (!allows(policies.of(path), caller.role)) throw denied(path, caller)
            } catch (error) {
              return refuse(caller, error)
            }
            // Told to the caller alone: records of a flood would be a flood.
            if (!mayCall(caller)) return call.sendStatus(wireStatus(tooMany, ''))
            callers.set(metadata, caller)
            pass(metadata)
          }
        })
    })
  }
}

const tooMany = new Fault('LIMIT', 'too many calls in a short time')

function denied(path: string, { role, id }: Caller): Fault {
  if (role === 'ANONYMOUS') return new Fault('UNAUTHENTICATED', 'this method needs a certificate')
  return new Fault('PERMISSION_DENIED', `${who(role, id)} may not call ${path.slice(1)}`)
}

const who = (role: string, id: string) =>
  role === 'LOCAL_ADMIN' ? 'the local administrator' : `${role.toLowerCase()} ${id}`

function sizeOf(metadata: Metadata): number {
  let size = 0
  for (const [name, values] of Object.entries(metadata.toJSON())) {
    for (const value of values) size += name.length + value.length
  }
  return size
}
