import * as c from './constants.js'
import { nameOf, type NameIn } from './constants.js'
import { eventMessages, type EventMessage, type EventMessageName } from './event-messages.js'
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

/**
 * The registrations of a control connection. Left out are the older twins of others: I/O error without its
 * reason (4), block jobs by path (8).
 */
export const wantedEvents: readonly EventMessageName[] = (
  Object.keys(eventMessages) as EventMessageName[]
).filter(name => eventMessages[name].id !== null && name !== 'ioError' && name !== 'blockJob')

const byNumber = new Map(
  Object.entries(eventMessages).map(([name, { program, number }]) => [
    `${program}/${number}`,
    name as EventMessageName
  ])
)

/** Null for a message that this version does not know or want. Throws XdrError when it cannot be read. */
export function decodeEvent(program: number, number: number, payload: Buffer): LibvirtEvent | null {
  const name = byNumber.get(`${program}/${number}`)
  return name === undefined ? null : eventOf(name, payload)
}

function lifecycle(event: number, detail: number): Lifecycle | null {
  const change = nameOf(c.domainEventType, event)
  if (change === 'unknown') return null
  return { change, detail: nameOf(details[change], detail) } as Lifecycle
}

function eventOf(name: EventMessageName, payload: Buffer): LibvirtEvent | null {
  const m = eventMessages
  const read = <T>(message: EventMessage<T>) => decode(message.codec, payload)
  switch (name) {
    case 'lifecycle': {
      const { dom, event, detail } = read(m.lifecycle)
      const change = lifecycle(event, detail)
      return change && { kind: 'lifecycle', ...of(dom), ...change }
    }
    case 'reboot':
      return { kind: 'reboot', ...of(read(m.reboot).dom) }
    case 'controlError':
      return { kind: 'controlError', ...of(read(m.controlError).dom) }
    case 'rtcChange': {
      const { dom, offset } = read(m.rtcChange)
      return { kind: 'rtcChange', ...of(dom), offset: Number(offset) }
    }
    case 'watchdog': {
      const { dom, action } = read(m.watchdog)
      return { kind: 'watchdog', ...of(dom), action: nameOf(c.domainEventWatchdogAction, action) }
    }
    case 'ioErrorReason': {
      const { dom, srcPath, alias, action, reason } = read(m.ioErrorReason)
      const why = { action: nameOf(c.domainEventIOErrorAction, action), noSpace: reason === 'enospc' }
      return { kind: 'ioError', ...of(dom), path: srcPath, alias, ...why }
    }
    case 'graphics': {
      const { dom, phase, local, remote, authScheme } = read(m.graphics)
      const named = nameOf(c.domainEventGraphicsPhase, phase)
      return { kind: 'graphics', ...of(dom), phase: named, local, remote, authScheme }
    }
    case 'blockJob2': {
      const { dom, dst, type, status } = read(m.blockJob2)
      return {
        kind: 'blockJob',
        ...of(dom),
        disk: dst,
        type: nameOf(c.domainBlockJobType, type),
        status: nameOf(c.connectDomainEventBlockJobStatus, status)
      }
    }
    case 'diskChange': {
      const { dom, oldSrcPath, newSrcPath, alias } = read(m.diskChange)
      return { kind: 'diskChange', ...of(dom), oldPath: oldSrcPath, newPath: newSrcPath, alias }
    }
    case 'trayChange': {
      const { dom, alias, reason } = read(m.trayChange)
      return { kind: 'trayChange', ...of(dom), alias, tray: nameOf(c.domainEventTrayChangeReason, reason) }
    }
    case 'pmWakeup':
      return { kind: 'powerManagement', ...of(read(m.pmWakeup).dom), change: 'wakeup' }
    case 'pmSuspend':
      return { kind: 'powerManagement', ...of(read(m.pmSuspend).dom), change: 'suspend' }
    case 'pmSuspendDisk':
      return { kind: 'powerManagement', ...of(read(m.pmSuspendDisk).dom), change: 'suspendDisk' }
    case 'balloonChange': {
      const { dom, actual } = read(m.balloonChange)
      return { kind: 'balloonChange', ...of(dom), actualKiB: Number(actual) }
    }
    case 'deviceAdded':
    case 'deviceRemoved':
    case 'deviceRemovalFailed': {
      const { dom, alias } = read(m[name])
      return { kind: name, ...of(dom), alias }
    }
    case 'tunable':
    case 'jobCompleted': {
      const { dom, params } = read(m[name])
      return { kind: name, ...of(dom), params: paramsOf(params) }
    }
    case 'agentLifecycle': {
      const { dom, state, reason } = read(m.agentLifecycle)
      return {
        kind: 'agentLifecycle',
        ...of(dom),
        state: nameOf(c.connectDomainEventAgentLifecycleState, state),
        reason: nameOf(c.connectDomainEventAgentLifecycleReason, reason)
      }
    }
    case 'migrationIteration': {
      const { dom, iteration } = read(m.migrationIteration)
      return { kind: 'migrationIteration', ...of(dom), iteration }
    }
    case 'metadataChange': {
      const { dom, type, nsuri } = read(m.metadataChange)
      return { kind: 'metadataChange', ...of(dom), type: nameOf(c.domainMetadataType, type), uri: nsuri }
    }
    case 'blockThreshold': {
      const { dom, dev, path, threshold, excess } = read(m.blockThreshold)
      const sizes = { threshold: Number(threshold), excess: Number(excess) }
      return { kind: 'blockThreshold', ...of(dom), dev, path, ...sizes }
    }
    case 'memoryFailure': {
      const { dom, recipient, action } = read(m.memoryFailure)
      return {
        kind: 'memoryFailure',
        ...of(dom),
        recipient: nameOf(c.domainMemoryFailureRecipientType, recipient),
        action: nameOf(c.domainMemoryFailureActionType, action)
      }
    }
    case 'memoryDeviceSizeChange': {
      const { dom, alias, size } = read(m.memoryDeviceSizeChange)
      return { kind: 'memoryDeviceSizeChange', ...of(dom), alias, sizeKiB: Number(size) }
    }
    case 'ioError':
    case 'blockJob':
    case 'connectionClosed':
    case 'monitorEvent':
      return null
  }
}

const of = ({ uuid, name }: { uuid: string; name: string }) => ({ uuid, name })
