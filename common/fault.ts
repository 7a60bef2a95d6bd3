import type { status } from '@grpc/grpc-js'

// Every failure a caller may want to tell apart: the gRPC status it travels as, and what to do next. The
// import above is a type: a storage worker that throws faults need not load gRPC.
const table = {
  AGENT_TOO_OLD: [
    'FAILED_PRECONDITION',
    'Upgrade drover-agent on that host (`drover host upgrade`, or apt there), or use another host.'
  ],
  ALREADY_EXISTS: ['ALREADY_EXISTS', 'Choose another name, or use the object that exists.'],
  BUSY: ['ABORTED', 'Another operation holds the object; wait for it (the message names it) and try again.'],
  CANCELLED: ['CANCELLED', 'Nothing to do: somebody asked for it to stop.'],
  COMMAND_FAILED: ['INTERNAL', 'A program on the host failed; its log has the output.'],
  CORRUPT: ['DATA_LOSS', 'Data on the storage domain is damaged; run `drover storage-domain audit`.'],
  DEADLINE: [
    'DEADLINE_EXCEEDED',
    'The outcome is not known; read the object, then repeat with the same request id.'
  ],
  FENCING_FAILED: ['UNAVAILABLE', 'Check the power device, or confirm by hand that the host is off.'],
  GUEST_AGENT_UNAVAILABLE: ['UNAVAILABLE', 'Install and start qemu-guest-agent in the guest.'],
  HOST_UNREACHABLE: ['UNAVAILABLE', 'Check the network and the drover-agent service of the host.'],
  IMAGE_REFUSED: [
    'INVALID_ARGUMENT',
    'The image breaks a rule (named in the message); convert it on a trusted machine first.'
  ],
  INTERNAL: [
    'INTERNAL',
    'A bug: report it with the error id; the log of the daemon has the rest under that id.'
  ],
  INTERRUPTED: ['UNAVAILABLE', 'Repeat with the same request id.'],
  INVALID_REQUEST: ['INVALID_ARGUMENT', 'Correct the named fields.'],
  LEASE_HELD: ['FAILED_PRECONDITION', 'Another host holds the lease; wait until it is free.'],
  LIBVIRT_FAILED: ['INTERNAL', 'libvirt refused; the message has its words.'],
  LIBVIRT_UNAVAILABLE: [
    'UNAVAILABLE',
    'Check the libvirtd service of the host; the agent reconnects by itself.'
  ],
  LIMIT: ['RESOURCE_EXHAUSTED', 'Wait until running work ends, then try again.'],
  LUN_IN_USE: [
    'FAILED_PRECONDITION',
    'Choose a free LUN (`drover host luns`), or erase one that nobody needs by hand (wipefs -a).'
  ],
  NOT_ENROLLED: ['FAILED_PRECONDITION', 'Enrol the host: `drover host create`, then `drover-agent enrol`.'],
  NOT_FOUND: ['NOT_FOUND', 'Check the id or name; list what exists.'],
  NOT_MANAGER: ['FAILED_PRECONDITION', 'Ask the host that manages the storage domain.'],
  NO_HOST: ['FAILED_PRECONDITION', 'No host can take the VM; `drover vm why` names the reason for each.'],
  NO_SPACE: ['RESOURCE_EXHAUSTED', 'Free space, or use another storage domain.'],
  PERMISSION_DENIED: ['PERMISSION_DENIED', 'Use an identity with the role that the method asks for.'],
  QUOTA_EXCEEDED: [
    'RESOURCE_EXHAUSTED',
    'Give back what is not needed, or ask for a larger quota; `drover quota show` has the figures.'
  ],
  RECOVERING: ['UNAVAILABLE', 'The daemon has just started; try again in a moment.'],
  REQUEST_ID_REUSED: ['ALREADY_EXISTS', 'Use a new request id for a new request.'],
  STALE_COORDINATOR: ['ABORTED', 'A newer coordinator rules; stop this one.'],
  STALE_ETAG: ['ABORTED', 'Somebody changed the object meanwhile; read it again and repeat the change.'],
  STALE_GENERATION: ['ABORTED', 'The command was made for an earlier life of the host or VM; read it again.'],
  STORAGE_DOMAIN_FULL: ['RESOURCE_EXHAUSTED', 'Free space in the storage domain, or extend it.'],
  STORAGE_DOMAIN_UNRESPONSIVE: ['UNAVAILABLE', 'The storage does not answer; check it. VMs are not touched.'],
  STORAGE_LOGIN_REFUSED: [
    'FAILED_PRECONDITION',
    "Check CHAP user and secret, and the target's list of initiators."
  ],
  STORAGE_UNREACHABLE: ['UNAVAILABLE', 'Check the address, the network and the storage server.'],
  STORE_FULL: ['RESOURCE_EXHAUSTED', 'Free space on the local disk of the daemon; it recovers by itself.'],
  UNAUTHENTICATED: ['UNAUTHENTICATED', 'Use a certificate that this installation issued.'],
  UNSUPPORTED: ['UNIMPLEMENTED', 'This version cannot do that.'],
  VM_NOT_FOUND: ['NOT_FOUND', 'Check the id or name: `drover vm list`.'],
  VM_UNRESPONSIVE: ['UNAVAILABLE', 'An earlier call about this VM has not answered yet; try again later.'],
  VOLUME_NOT_FOUND: ['NOT_FOUND', 'Check the ids: `drover disk list`.'],
  WRONG_STATE: ['FAILED_PRECONDITION', 'Bring the object into the state that the message asks for.']
} as const satisfies Record<string, readonly [keyof typeof status, string]>

export type Reason = keyof typeof table
export type Violation = { field: string; description: string }
export type FaultOptions = ErrorOptions & { facts?: Record<string, string>; violations?: Violation[] }

/** All reasons, for the reference page and for decoding what travelled over a wire. */
export const reasons = Object.keys(table).toSorted().filter(isReason)

export function isReason(text: string): text is Reason {
  return Object.hasOwn(table, text)
}

/** The gRPC status name and the next step of a reason. */
export function explain(reason: Reason): { status: keyof typeof status; nextStep: string } {
  const [name, nextStep] = table[reason]
  return { status: name, nextStep }
}

/** An expected failure. A bug is a plain Error or an assertion, and is never caught to be hidden. */
export class Fault extends Error {
  override readonly name = 'Fault'
  readonly reason: Reason
  readonly facts: Record<string, string>
  readonly violations: Violation[]

  constructor(
    reason: Reason,
    message: string,
    { facts = {}, violations = [], ...options }: FaultOptions = {}
  ) {
    super(message, options)
    this.reason = reason
    this.facts = facts
    this.violations = violations
  }

  get status(): keyof typeof status {
    return table[this.reason][0]
  }

  /** What the caller should do now, in words. */
  get nextStep(): string {
    return table[this.reason][1]
  }

  static is(error: unknown, reason: Reason): error is Fault {
    return error instanceof Fault && error.reason === reason
  }

  /** Faults cross process borders (storage worker, journal, ledger) as this. */
  toJSON() {
    const { reason, message, facts, violations } = this
    return { reason, message, facts, violations }
  }

  /** The other end of toJSON. What is not a fault becomes an Error: it is a bug over there. */
  static fromJSON(json: unknown): Error {
    if (typeof json !== 'object' || json === null) return new Error(String(json))
    const { reason, message, facts, violations } = json as Partial<ReturnType<Fault['toJSON']>>
    if (typeof reason !== 'string' || !isReason(reason)) return new Error(String(message))
    return new Fault(reason, String(message), { facts: facts ?? {}, violations: violations ?? [] })
  }
}
