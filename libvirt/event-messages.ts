import { programs } from './packet.js'
import { domain, graphicsAddress, graphicsIdentity, typedParam } from './structs.js'
import {
  array,
  i32,
  i64,
  optional,
  str,
  struct,
  u32,
  u64,
  type Codec,
  type Fields,
  type StructOf
} from './xdr.js'

export type EventMessage<T> = {
  readonly program: number
  /** What the packet carries as its procedure. Numbers do not follow from ids. */
  readonly number: number
  /** What CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY asks for; null if it is not asked for that way. */
  readonly id: number | null
  readonly codec: Codec<T>
}

const event = <F extends Fields>(
  id: number | null,
  number: number,
  fields: F,
  program: number = programs.REMOTE
): EventMessage<StructOf<F>> => ({ program, number, id, codec: struct(fields) })

const about = { callbackId: i32, dom: domain }
// Three messages carry their reason before the domain.
const powerManagement = { callbackId: i32, reason: i32, dom: domain }

/** The events of libvirt as they travel. events.ts turns them into ours. */
export const eventMessages = {
  lifecycle: event(0, 318, { ...about, event: i32, detail: i32 }),
  reboot: event(1, 319, about),
  rtcChange: event(2, 320, { ...about, offset: i64 }),
  watchdog: event(3, 321, { ...about, action: i32 }),
  ioError: event(4, 322, { ...about, srcPath: str, alias: str, action: i32 }),
  graphics: event(5, 323, {
    ...about,
    phase: i32,
    local: graphicsAddress,
    remote: graphicsAddress,
    authScheme: str,
    subject: array(graphicsIdentity, 20)
  }),
  ioErrorReason: event(6, 324, { ...about, srcPath: str, alias: str, action: i32, reason: str }),
  controlError: event(7, 325, about),
  blockJob: event(8, 326, { ...about, path: str, type: i32, status: i32 }),
  diskChange: event(9, 327, {
    ...about,
    oldSrcPath: optional(str),
    newSrcPath: optional(str),
    alias: str,
    reason: i32
  }),
  trayChange: event(10, 328, { ...about, alias: str, reason: i32 }),
  pmWakeup: event(11, 329, powerManagement),
  pmSuspend: event(12, 330, powerManagement),
  balloonChange: event(13, 331, { ...about, actual: u64 }),
  pmSuspendDisk: event(14, 332, powerManagement),
  deviceRemoved: event(15, 333, { ...about, alias: str }),
  blockJob2: event(16, 339, { ...about, dst: str, type: i32, status: i32 }),
  tunable: event(17, 346, { ...about, params: array(typedParam, 2048) }),
  agentLifecycle: event(18, 348, { ...about, state: i32, reason: i32 }),
  deviceAdded: event(19, 354, { ...about, alias: str }),
  migrationIteration: event(20, 359, { ...about, iteration: i32 }),
  jobCompleted: event(21, 363, { ...about, params: array(typedParam, 64) }),
  deviceRemovalFailed: event(22, 367, { ...about, alias: str }),
  metadataChange: event(23, 379, { ...about, type: i32, nsuri: optional(str) }),
  blockThreshold: event(24, 385, { ...about, dev: str, path: optional(str), threshold: u64, excess: u64 }),
  memoryFailure: event(25, 423, { ...about, recipient: i32, action: i32, flags: u32 }),
  memoryDeviceSizeChange: event(26, 438, { ...about, alias: str, size: u64 }),
  connectionClosed: event(null, 362, { reason: i32 }),
  monitorEvent: event(
    null,
    6,
    { ...about, event: str, seconds: i64, micros: u32, details: optional(str) },
    programs.QEMU
  )
}
export type EventMessageName = keyof typeof eventMessages
