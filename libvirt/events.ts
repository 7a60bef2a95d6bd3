import * as c from './constants.js'
import { nameOf, type NameIn } from './constants.js'
import { eventMessages, type EventMessage } from './event-messages.js'
import { paramsOf, type Params } from './typed-params.js'
import { decode } from './xdr.js'

const details = {
  defined: c.domainEventDefinedDetailType,
  undefined: c.domainEventUndefinedDetailType,
  started: c.domainEventStartedDetailType,
  suspended: c.domainEventSuspendedDetailType,
  resumed: c.domainEventResumedDetailType,
  stopped: c.domainEventStoppedDetailType,
  shutdown: c.domainEventShutdownDetailType,
  pmsuspended: c.domainEventPMSuspendedDetailType,
  crashed: c.domainEventCrashedDetailType
}
type Change = keyof typeof details
/** `{ change: 'stopped', detail: 'destroyed' | … }`, one member for each kind of change. */
type Lifecycle = { [K in Change]: { change: K; detail: NameIn<(typeof details)[K]> } }[Change]

type Graphics = {
  phase: NameIn<typeof c.domainEventGraphicsPhase>
  local: { node: string; service: string }
  remote: { node: string; service: string }
  authScheme: string
}
type BlockJob = {
  type: NameIn<typeof c.domainBlockJobType>
  status: NameIn<typeof c.connectDomainEventBlockJobStatus>
}

/** What each kind of event carries beside the domain's uuid and name. Sizes are bytes unless they say KiB. */
type Kinds = {
  lifecycle: Lifecycle
  reboot: unknown
  rtcChange: { offset: number }
  watchdog: { action: NameIn<typeof c.domainEventWatchdogAction> }
  ioError: {
    path: string
    alias: string
    action: NameIn<typeof c.domainEventIOErrorAction>
    noSpace: boolean
  }
  graphics: Graphics
  controlError: unknown
  /** By the disk's target, `vda`. */
  blockJob: BlockJob & { disk: string }
  diskChange: { oldPath: string | null; newPath: string | null; alias: string }
  trayChange: { alias: string; tray: NameIn<typeof c.domainEventTrayChangeReason> }
  powerManagement: { change: 'wakeup' | 'suspend' | 'suspendDisk' }
  balloonChange: { actualKiB: number }
  deviceAdded: { alias: string }
  deviceRemoved: { alias: string }
  deviceRemovalFailed: { alias: string }
  tunable: { params: Params }
  agentLifecycle: {
    state: NameIn<typeof c.connectDomainEventAgentLifecycleState>
    reason: NameIn<typeof c.connectDomainEventAgentLifecycleReason>
  }
  migrationIteration: { iteration: number }
  jobCompleted: { params: Params }
  metadataChange: { type: NameIn<typeof c.domainMetadataType>; uri: string | null }
  /** `dev` is what was armed: `vda[1]`. */
  blockThreshold: { dev: string; path: string | null; threshold: number; excess: number }
  memoryFailure: {
    recipient: NameIn<typeof c.domainMemoryFailureRecipientType>
    action: NameIn<typeof c.domainMemoryFailureActionType>
  }
  memoryDeviceSizeChange: { alias: string; sizeKiB: number }
}

/** Everything that libvirt tells us about a guest unasked. The uuid is the key: names and ids are not. */
export type LibvirtEvent = {
  [K in keyof Kinds]: { kind: K; uuid: string; name: string } & Kinds[K]
}[keyof Kinds]
export type LibvirtEventKind = LibvirtEvent['kind']

type Dom = { uuid: string; name: string }
type Reader = { message: EventMessage<unknown>; read: (payload: Buffer) => LibvirtEvent | null }

/** A kind of event from a kind of message; a null of `facts` is an event that this version does not know. */
function from<T extends { dom: Dom }, K extends LibvirtEventKind>(
  message: EventMessage<T>,
  kind: K,
  facts: (fields: T) => Kinds[K] | null
): Reader {
  const read = (payload: Buffer) => {
    const fields = decode(message.codec, payload)
    const known = facts(fields)
    const { uuid, name } = fields.dom
    return known && ({ kind, uuid, name, ...known } as LibvirtEvent)
  }
  return { message, read }
}

const m = eventMessages
// Left out are the older twins of others: I/O error without its reason (4), block jobs by path (8).
const readers: readonly Reader[] = [
  from(m.lifecycle, 'lifecycle', ({ event, detail }) => lifecycle(event, detail)),
  from(m.reboot, 'reboot', () => ({})),
  from(m.rtcChange, 'rtcChange', ({ offset }) => ({ offset: Number(offset) })),
  from(m.watchdog, 'watchdog', ({ action }) => ({ action: nameOf(c.domainEventWatchdogAction, action) })),
  from(m.graphics, 'graphics', ({ phase, local, remote, authScheme }) => ({
    phase: nameOf(c.domainEventGraphicsPhase, phase),
    local: { node: local.node, service: local.service },
    remote: { node: remote.node, service: remote.service },
    authScheme
  })),
  from(m.ioErrorReason, 'ioError', ({ srcPath, alias, action, reason }) => ({
    path: srcPath,
    alias,
    action: nameOf(c.domainEventIOErrorAction, action),
    noSpace: reason === 'enospc'
  })),
  from(m.controlError, 'controlError', () => ({})),
  from(m.diskChange, 'diskChange', ({ oldSrcPath, newSrcPath, alias }) => ({
    oldPath: oldSrcPath,
    newPath: newSrcPath,
    alias
  })),
  from(m.trayChange, 'trayChange', ({ alias, reason }) => ({
    alias,
    tray: nameOf(c.domainEventTrayChangeReason, reason)
  })),
  from(m.pmWakeup, 'powerManagement', () => ({ change: 'wakeup' as const })),
  from(m.pmSuspend, 'powerManagement', () => ({ change: 'suspend' as const })),
  from(m.pmSuspendDisk, 'powerManagement', () => ({ change: 'suspendDisk' as const })),
  from(m.balloonChange, 'balloonChange', ({ actual }) => ({ actualKiB: Number(actual) })),
  from(m.deviceRemoved, 'deviceRemoved', ({ alias }) => ({ alias })),
  from(m.blockJob2, 'blockJob', ({ dst, type, status }) => ({
    disk: dst,
    type: nameOf(c.domainBlockJobType, type),
    status: nameOf(c.connectDomainEventBlockJobStatus, status)
  })),
  from(m.tunable, 'tunable', ({ params }) => ({ params: paramsOf(params) })),
  from(m.agentLifecycle, 'agentLifecycle', ({ state, reason }) => ({
    state: nameOf(c.connectDomainEventAgentLifecycleState, state),
    reason: nameOf(c.connectDomainEventAgentLifecycleReason, reason)
  })),
  from(m.deviceAdded, 'deviceAdded', ({ alias }) => ({ alias })),
  from(m.migrationIteration, 'migrationIteration', ({ iteration }) => ({ iteration })),
  from(m.jobCompleted, 'jobCompleted', ({ params }) => ({ params: paramsOf(params) })),
  from(m.deviceRemovalFailed, 'deviceRemovalFailed', ({ alias }) => ({ alias })),
  from(m.metadataChange, 'metadataChange', ({ type, nsuri }) => ({
    type: nameOf(c.domainMetadataType, type),
    uri: nsuri
  })),
  from(m.blockThreshold, 'blockThreshold', ({ dev, path, threshold, excess }) => ({
    dev,
    path,
    threshold: Number(threshold),
    excess: Number(excess)
  })),
  from(m.memoryFailure, 'memoryFailure', ({ recipient, action }) => ({
    recipient: nameOf(c.domainMemoryFailureRecipientType, recipient),
    action: nameOf(c.domainMemoryFailureActionType, action)
  })),
  from(m.memoryDeviceSizeChange, 'memoryDeviceSizeChange', ({ alias, size }) => ({
    alias,
    sizeKiB: Number(size)
  }))
]
const byNumber = new Map(
  readers.map(reader => [`${reader.message.program}/${reader.message.number}`, reader])
)

/** What a control connection registers for. */
export const wantedEventIds: readonly number[] = readers.flatMap(({ message: { id } }) =>
  id === null ? [] : [id]
)

/** Null for a message that this version does not know or want. Throws XdrError when it cannot be read. */
export function decodeEvent(program: number, number: number, payload: Buffer): LibvirtEvent | null {
  return byNumber.get(`${program}/${number}`)?.read(payload) ?? null
}

function lifecycle(event: number, detail: number): Lifecycle | null {
  const change = nameOf(c.domainEventType, event)
  if (change === 'unknown') return null
  return { change, detail: nameOf(details[change], detail) } as Lifecycle
}
