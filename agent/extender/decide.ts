import { type Bytes, bytes, MiB, seconds, type Seconds } from '../../common/units.js'
import { fasterOf, limitOf, nextSize, paceOf, type ThinPolicy } from './policy.js'

// One thin disk of a running VM, as a machine: what happened goes in, what is to be done comes out. The event of
// libvirt, a VM that stopped for want of space and the sweep all come through here, so that a lost event costs
// time and nothing else.
//
//              usage: room left             threshold event, no space
//     unset ─────────────────────► armed ───────────────────────────► extending
//      ▲ ▲  ◄───────────────────────────────────────────────────────────┘  │ failed
//      │ │        extended: the next threshold                 retrying ◄──┘
//      │ └── resumed monitoring ◄── suspended (pivot, a destination that cannot follow)
//      └──── resized            ◄── atLimit   (capacity x 1.1: it can need no more)

export type Usage = { capacity: Bytes; physical: Bytes; allocation: Bytes }
export type Phase = 'unset' | 'armed' | 'extending' | 'retrying' | 'atLimit' | 'suspended'

export type Drive = {
  phase: Phase
  /** The last one that made sense. */
  usage: Usage | null
  /** When the allocation was last seen to grow, for the rate. */
  seenAt: Seconds | null
  threshold: Bytes | null
  wanted: Bytes | null
  failures: number
  retryAt: Seconds
  /** No room in the storage domain: an alert stands, and the smallest step is asked for. */
  isFull: boolean
  /** The VM stopped because of this disk. */
  isPaused: boolean
  /** Bytes a second; peaks fade. */
  rate: number
}

export type DriveEvent =
  | { kind: 'usage'; usage: { [K in keyof Usage]: Bytes | null } }
  | { kind: 'threshold'; threshold: Bytes; excess: Bytes }
  | { kind: 'noSpace' }
  | { kind: 'tick' }
  | { kind: 'extended'; size: Bytes }
  | { kind: 'failed'; isFull: boolean }
  | { kind: 'spaceCame' }
  | { kind: 'notArmed' }
  | { kind: 'running' }
  | { kind: 'suspend' }
  | { kind: 'watchAgain' }

export type DriveAction =
  /** Statistics are wanted; they come back as `usage`. */
  | { kind: 'ask' }
  | { kind: 'extend'; to: Bytes }
  /** Null takes the threshold away. */
  | { kind: 'arm'; threshold: Bytes | null }
  | { kind: 'resume' }
  | { kind: 'alert'; isFull: boolean }

export type Circumstances = { now: Seconds; policy: ThinPolicy; extendTime: Seconds; isMirrored: boolean }
export type Step = { drive: Drive; actions: DriveAction[] }

export const newDrive: Drive = {
  ...{ phase: 'unset', usage: null, seenAt: null, threshold: null, wanted: null },
  ...{ failures: 0, retryAt: seconds(0), isFull: false, isPaused: false, rate: 0 }
}

const delays = [0.5, 1, 2, 4].map(seconds)
const longestDelay = seconds(10)

export function stepDrive(drive: Drive, event: DriveEvent, at: Circumstances): Step {
  switch (event.kind) {
    case 'usage':
      return onUsage(drive, event.usage, at)
    case 'threshold':
      return onThreshold(drive, event, at)
    case 'noSpace':
      return onNoSpace({ ...drive, isPaused: true }, at)
    case 'tick':
      return onTick(drive, at)
    case 'extended':
      return onExtended(drive, event.size, at)
    case 'failed':
      return onFailed(drive, event.isFull, at)
    case 'spaceCame':
      return onSpace(drive, at)
    case 'notArmed':
      return still(drive.phase === 'armed' ? unset(drive) : drive)
    case 'running':
      return still({ ...drive, isPaused: false })
    case 'suspend':
      return {
        drive: { ...unset(drive), phase: 'suspended' },
        actions: drive.threshold === null ? [] : [{ kind: 'arm', threshold: null }]
      }
    case 'watchAgain':
      return { drive: unset(drive), actions: [{ kind: 'ask' }] }
  }
}

const still = (drive: Drive): Step => ({ drive, actions: [] })
const unset = (drive: Drive): Drive => ({ ...drive, phase: 'unset', threshold: null, wanted: null })

function onUsage(drive: Drive, found: { [K in keyof Usage]: Bytes | null }, at: Circumstances): Step {
  const usage = sensible(found)
  // libvirt says 0 right after some snapshots. Nothing is decided on such numbers; the next sweep asks again.
  if (usage === null) return still(drive)
  const seen = observed(drive, usage, at.now)
  if (drive.phase === 'extending' || drive.phase === 'suspended') return still(seen)
  if (drive.phase === 'retrying' && at.now < drive.retryAt) return still(seen)
  if (drive.phase === 'armed' && !needsMore(seen, usage, at)) return { drive: seen, actions: resumed(seen) }
  return decide(seen, at)
}

function sensible({ capacity, physical, allocation }: { [K in keyof Usage]: Bytes | null }): Usage | null {
  if (!capacity || !physical || allocation === null) return null
  // QEMU counts the write that met the end as well: no room is left, and nothing is wrong with the numbers.
  return { capacity, physical, allocation: bytes(Math.min(allocation, physical)) }
}

/** The event itself says how far the guest is: nobody has to be asked. */
function onThreshold(
  drive: Drive,
  { threshold, excess }: { threshold: Bytes; excess: Bytes },
  at: Circumstances
): Step {
  if (drive.phase === 'suspended') return still(drive)
  if (drive.usage === null) return { drive: unset(drive), actions: [{ kind: 'ask' }] }
  const { physical } = drive.usage
  // A late event, of a threshold that is over, tells less than is known.
  const written = Math.max(drive.usage.allocation, threshold + excess)
  const usage = { ...drive.usage, allocation: bytes(Math.min(physical, written)) }
  const seen = observed(drive, usage, at.now)
  if (drive.phase === 'extending' || drive.phase === 'retrying') return still(seen)
  const isOurs = drive.phase === 'armed' && drive.threshold !== null && threshold >= drive.threshold
  return decide({ ...seen, threshold: null }, at, isOurs)
}

function onNoSpace(drive: Drive, at: Circumstances): Step {
  if (drive.phase === 'extending' || drive.phase === 'suspended') return still(drive)
  if (drive.usage === null) return { drive: unset(drive), actions: [{ kind: 'ask' }] }
  if (drive.phase === 'retrying' && at.now < drive.retryAt) return still(drive)
  const usage = { ...drive.usage, allocation: drive.usage.physical }
  return decide(observed(drive, usage, at.now), at)
}

function onTick(drive: Drive, at: Circumstances): Step {
  switch (drive.phase) {
    case 'unset':
      return { drive, actions: [{ kind: 'ask' }] }
    case 'retrying':
      return at.now < drive.retryAt ? still(drive) : { drive, actions: [{ kind: 'ask' }] }
    // At its limit a disk cannot be short of room; a resize is seen here, and so is a VM that waits.
    case 'atLimit':
      return { drive, actions: [{ kind: 'ask' }] }
    default:
      return drive.isPaused && drive.phase === 'armed' ? { drive, actions: [{ kind: 'ask' }] } : still(drive)
  }
}

/** Grow, arm, or leave alone: from what was last seen. */
function decide(drive: Drive, at: Circumstances, isDue = false): Step {
  const { usage } = drive
  if (usage === null) return { drive: unset(drive), actions: [{ kind: 'ask' }] }
  if (usage.physical >= limitOf(usage.capacity)) return atLimit(drive)
  const pace = paceFor(drive, at)
  if (isDue || needsMore(drive, usage, at)) {
    const to = nextSize(usage, drive.isFull ? { chunk: MiB(1), free: bytes(0) } : pace)
    return { drive: { ...drive, phase: 'extending', wanted: to }, actions: [{ kind: 'extend', to }] }
  }
  const threshold = bytes(Math.max(1, usage.physical - pace.free))
  const armed: Drive = { ...drive, phase: 'armed', threshold, wanted: null, failures: 0 }
  return { drive: armed, actions: [{ kind: 'arm', threshold }, ...resumed(drive)] }
}

/** It can need no more. A VM that stopped all the same is not resumed in a circle: `resume-paused.ts` has patience. */
function atLimit(drive: Drive): Step {
  const disarm: DriveAction[] = drive.threshold === null ? [] : [{ kind: 'arm', threshold: null }]
  const end: Drive = { ...unset(drive), phase: 'atLimit', failures: 0, isFull: false }
  return { drive: end, actions: [...disarm, ...calmed(drive)] }
}

/** Until then only the smallest step is asked for, so that the last extents are not refused. */
function onSpace(drive: Drive, at: Circumstances): Step {
  const relieved: Drive = { ...drive, isFull: false }
  const { drive: next, actions } = drive.phase === 'retrying' ? decide(relieved, at) : still(relieved)
  return { drive: next, actions: [...calmed(drive), ...actions] }
}

const calmed = ({ isFull }: Drive): DriveAction[] => (isFull ? [{ kind: 'alert', isFull: false }] : [])

const resumed = ({ isPaused }: Drive): DriveAction[] => (isPaused ? [{ kind: 'resume' }] : [])

function needsMore(drive: Drive, { physical, allocation }: Usage, at: Circumstances): boolean {
  return physical - allocation < paceFor(drive, at).free
}

const paceFor = ({ rate }: Drive, { policy, extendTime, isMirrored }: Circumstances) =>
  paceOf(policy, { rate, extendTime, isMirrored })

function onExtended(drive: Drive, size: Bytes, at: Circumstances): Step {
  if (drive.phase !== 'extending' || drive.usage === null) return still(drive)
  if (size < (drive.wanted ?? 0)) return onFailed(drive, false, at)
  const usage = { ...drive.usage, physical: size }
  const grown: Drive = { ...drive, usage, failures: 0, wanted: null }
  const { drive: next, actions } = decide({ ...grown, phase: 'unset' }, at)
  // It has more room than before whatever comes next: a VM that waits goes on now.
  const goOn = actions.some(({ kind }) => kind === 'resume') ? [] : resumed(drive)
  return { drive: next, actions: [...goOn, ...actions] }
}

function onFailed(drive: Drive, isFull: boolean, at: Circumstances): Step {
  if (drive.phase !== 'extending') return still(drive)
  const retryAt = seconds(at.now + (delays[drive.failures] ?? longestDelay))
  const failed: Drive = {
    ...drive,
    ...{ phase: 'retrying', wanted: null, failures: drive.failures + 1, retryAt },
    isFull: drive.isFull || isFull
  }
  return { drive: failed, actions: isFull && !drive.isFull ? [{ kind: 'alert', isFull: true }] : [] }
}

/** Takes in what was seen, and how fast the guest wrote since. */
function observed(drive: Drive, usage: Usage, now: Seconds): Drive {
  const { usage: before, seenAt, rate } = drive
  if (before === null || seenAt === null) return { ...drive, usage, seenAt: now }
  const elapsed = now - seenAt
  const grown = usage.allocation - before.allocation
  if (grown <= 0) return { ...drive, usage, rate: fasterOf(rate, 0, elapsed), seenAt: now }
  // Two looks in one moment say nothing of the rate.
  if (elapsed < 0.001) return { ...drive, usage }
  return { ...drive, usage, seenAt: now, rate: fasterOf(rate, grown / elapsed, elapsed) }
}
