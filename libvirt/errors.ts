import { Fault, type Reason } from '../common/fault.js'
import type { virError } from './structs.js'
import type { ValueOf } from './xdr.js'

export type VirError = ValueOf<typeof virError>

/** libvirt's error numbers that mean something to us. Text is for people: nothing is decided by it. */
export const virErrors = {
  INTERNAL_ERROR: 1,
  NO_SUPPORT: 3,
  INVALID_ARG: 8,
  OPERATION_FAILED: 9,
  XML_ERROR: 27,
  DOM_EXIST: 28,
  XML_DETAIL: 35,
  SYSTEM_ERROR: 38,
  RPC: 39,
  NO_DOMAIN: 42,
  NO_NETWORK: 43,
  AUTH_FAILED: 45,
  NO_NODE_DEVICE: 53,
  OPERATION_INVALID: 55,
  NO_NWFILTER: 62,
  NO_SECRET: 66,
  CONFIG_UNSUPPORTED: 67,
  OPERATION_TIMEOUT: 68,
  MIGRATE_PERSIST_FAILED: 69,
  HOOK_SCRIPT_FAILED: 70,
  NO_DOMAIN_SNAPSHOT: 72,
  ARGUMENT_UNSUPPORTED: 74,
  OPERATION_ABORTED: 78,
  AUTH_CANCELLED: 79,
  NO_DOMAIN_METADATA: 80,
  MIGRATE_UNSAFE: 81,
  BLOCK_COPY_ACTIVE: 83,
  OPERATION_UNSUPPORTED: 84,
  AGENT_UNRESPONSIVE: 86,
  RESOURCE_BUSY: 87,
  ACCESS_DENIED: 88,
  CPU_INCOMPATIBLE: 91,
  XML_INVALID_SCHEMA: 92,
  MIGRATE_FINISH_OK: 93,
  AUTH_UNAVAILABLE: 94,
  AGENT_UNSYNCED: 97,
  DEVICE_MISSING: 99,
  NO_DOMAIN_CHECKPOINT: 103,
  NO_DOMAIN_BACKUP: 104,
  CHECKPOINT_INCONSISTENT: 109
} as const
export type VirErrorName = keyof typeof virErrors

const reasons: Record<VirErrorName, Reason> = {
  INTERNAL_ERROR: 'LIBVIRT_FAILED',
  NO_SUPPORT: 'UNSUPPORTED',
  INVALID_ARG: 'LIBVIRT_FAILED',
  OPERATION_FAILED: 'LIBVIRT_FAILED',
  XML_ERROR: 'LIBVIRT_FAILED',
  DOM_EXIST: 'ALREADY_EXISTS',
  XML_DETAIL: 'LIBVIRT_FAILED',
  SYSTEM_ERROR: 'LIBVIRT_FAILED',
  RPC: 'LIBVIRT_FAILED',
  NO_DOMAIN: 'VM_NOT_FOUND',
  NO_NETWORK: 'NOT_FOUND',
  AUTH_FAILED: 'LIBVIRT_UNAVAILABLE',
  NO_NODE_DEVICE: 'NOT_FOUND',
  OPERATION_INVALID: 'WRONG_STATE',
  NO_NWFILTER: 'NOT_FOUND',
  NO_SECRET: 'NOT_FOUND',
  CONFIG_UNSUPPORTED: 'UNSUPPORTED',
  OPERATION_TIMEOUT: 'VM_UNRESPONSIVE',
  MIGRATE_PERSIST_FAILED: 'LIBVIRT_FAILED',
  HOOK_SCRIPT_FAILED: 'LIBVIRT_FAILED',
  NO_DOMAIN_SNAPSHOT: 'NOT_FOUND',
  ARGUMENT_UNSUPPORTED: 'UNSUPPORTED',
  OPERATION_ABORTED: 'CANCELLED',
  AUTH_CANCELLED: 'LIBVIRT_UNAVAILABLE',
  NO_DOMAIN_METADATA: 'NOT_FOUND',
  MIGRATE_UNSAFE: 'LIBVIRT_FAILED',
  BLOCK_COPY_ACTIVE: 'BUSY',
  OPERATION_UNSUPPORTED: 'UNSUPPORTED',
  AGENT_UNRESPONSIVE: 'GUEST_AGENT_UNAVAILABLE',
  RESOURCE_BUSY: 'BUSY',
  ACCESS_DENIED: 'LIBVIRT_UNAVAILABLE',
  CPU_INCOMPATIBLE: 'UNSUPPORTED',
  XML_INVALID_SCHEMA: 'LIBVIRT_FAILED',
  MIGRATE_FINISH_OK: 'LIBVIRT_FAILED',
  AUTH_UNAVAILABLE: 'LIBVIRT_UNAVAILABLE',
  AGENT_UNSYNCED: 'GUEST_AGENT_UNAVAILABLE',
  DEVICE_MISSING: 'NOT_FOUND',
  NO_DOMAIN_CHECKPOINT: 'NOT_FOUND',
  NO_DOMAIN_BACKUP: 'NOT_FOUND',
  CHECKPOINT_INCONSISTENT: 'WRONG_STATE'
}

const byNumber = new Map<number, VirErrorName>(
  Object.entries(virErrors).map(([name, number]) => [number, name as VirErrorName])
)

/** libvirt's error as ours, by number. The number itself is kept among the facts: see `isVirError`. */
export function faultOf({ code, domain, message }: VirError): Fault {
  const name = byNumber.get(code)
  return new Fault(name ? reasons[name] : 'LIBVIRT_FAILED', `libvirt: ${message ?? `error ${code}`}`, {
    facts: { libvirtError: String(code), libvirtErrorDomain: String(domain) }
  })
}

/** Whether a failure is libvirt's answer with one of these numbers. */
export function isVirError(error: unknown, ...names: VirErrorName[]): error is Fault {
  if (!(error instanceof Fault)) return false
  return names.some(name => error.facts['libvirtError'] === String(virErrors[name]))
}

/** The socket closed under a call. Whether libvirtd carried it out is not known: read before repeating. */
export function connectionLost(cause?: unknown): Fault {
  return new Fault('LIBVIRT_UNAVAILABLE', 'the connection to libvirtd was lost', {
    cause,
    facts: { outcome: 'unknown' }
  })
}

/** The call was never sent: it has had no effect. */
export function notConnected(cause?: unknown): Fault {
  return new Fault('LIBVIRT_UNAVAILABLE', 'there is no connection to libvirtd', {
    cause,
    facts: { outcome: 'none' }
  })
}
