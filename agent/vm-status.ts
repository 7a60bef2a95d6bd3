/*
 * The states of a VM on its host, as a table. Pure: what happens to a VM (its libvirt events, our own verbs)
 * comes in as an event, and the state that follows comes out. An event without a cell changes nothing.
 */

export type VmStatus =
  | 'waitForLaunch'
  | 'poweringUp'
  | 'up'
  | 'paused'
  | 'migratingFrom'
  | 'migratingTo'
  | 'poweringDown'
  | 'rebootInProgress'
  | 'down'

export type PauseReason = 'user' | 'enospc' | 'eio' | 'eperm' | 'other' | 'postCopy'

export type VmEvent =
  | { kind: 'startAccepted' }
  /** QEMU runs and its CPUs too. */
  | { kind: 'launched' }
  | { kind: 'guestSeen' }
  /** No guest agent for a minute: the guest is taken to be up. */
  | { kind: 'guestSilent' }
  | { kind: 'paused'; why: PauseReason }
  | { kind: 'resumed' }
  | { kind: 'shutdownAsked' }
  /** The guest did not follow in time. */
  | { kind: 'shutdownIgnored' }
  | { kind: 'rebootAsked' }
  | { kind: 'rebooted' }
  | { kind: 'leaving' }
  /** The migration failed or was cancelled; the VM stays here. */
  | { kind: 'stayed' }
  | { kind: 'arriving' }
  | { kind: 'arrived' }
  | { kind: 'stopped' }

export type VmState = { status: VmStatus; pause: PauseReason | null }

type Row = Partial<Record<VmStatus, VmStatus>>
const running: VmStatus[] = ['poweringUp', 'up', 'poweringDown', 'rebootInProgress']

const from = (states: VmStatus[], to: VmStatus): Row => Object.fromEntries(states.map(state => [state, to]))

const table: Record<VmEvent['kind'], Row> = {
  startAccepted: { down: 'waitForLaunch' },
  launched: { waitForLaunch: 'poweringUp', down: 'poweringUp' },
  guestSeen: from(['poweringUp', 'rebootInProgress'], 'up'),
  guestSilent: from(['poweringUp', 'rebootInProgress'], 'up'),
  // libvirt stops the CPUs of a migrating VM at switch-over: that is no pause.
  paused: from([...running, 'waitForLaunch', 'paused', 'migratingTo', 'down'], 'paused'),
  resumed: { paused: 'up' },
  shutdownAsked: from(['poweringUp', 'up', 'rebootInProgress'], 'poweringDown'),
  shutdownIgnored: { poweringDown: 'up' },
  rebootAsked: from(['poweringUp', 'up'], 'rebootInProgress'),
  rebooted: from(['poweringUp', 'up'], 'rebootInProgress'),
  leaving: from(['poweringUp', 'up', 'paused', 'rebootInProgress'], 'migratingFrom'),
  stayed: { migratingFrom: 'up' },
  arriving: from(['down', 'waitForLaunch'], 'migratingTo'),
  arrived: { migratingTo: 'up' },
  stopped: from([...running, 'waitForLaunch', 'paused', 'migratingFrom', 'migratingTo'], 'down')
}

export function next(state: VmState, event: VmEvent): VmState {
  const status = table[event.kind][state.status]
  if (status === undefined) return state
  return { status, pause: status !== 'paused' ? null : event.kind === 'paused' ? event.why : state.pause }
}

export type VmVerb =
  | 'start'
  | 'shutdown'
  | 'reboot'
  | 'reset'
  | 'pause'
  | 'resume'
  | 'destroy'
  | 'migrate'
  | 'console'
  | 'changeCd'

/** In which states a verb makes sense. Pausing what is paused and resuming what runs are done already. */
const allowed: Record<VmVerb, VmStatus[]> = {
  start: ['down'],
  shutdown: ['poweringUp', 'up', 'poweringDown', 'rebootInProgress'],
  reboot: ['poweringUp', 'up', 'rebootInProgress'],
  reset: ['poweringUp', 'up', 'poweringDown', 'rebootInProgress'],
  pause: ['poweringUp', 'up', 'poweringDown', 'rebootInProgress', 'paused'],
  resume: ['paused', 'poweringUp', 'up', 'poweringDown', 'rebootInProgress'],
  destroy: [...running, 'waitForLaunch', 'paused', 'migratingFrom', 'migratingTo', 'down'],
  migrate: ['poweringUp', 'up', 'paused', 'rebootInProgress'],
  console: [...running, 'paused', 'migratingFrom'],
  changeCd: [...running, 'paused']
}

export const isAllowed = (verb: VmVerb, status: VmStatus) => allowed[verb].includes(status)
export const allowedStates = (verb: VmVerb): readonly VmStatus[] => allowed[verb]

export const isRunning = ({ status }: VmState) => status !== 'down' && status !== 'waitForLaunch'

/** What libvirt says of a domain whose history nobody here remembers. */
export type Seen =
  | { state: 'running'; isArriving: boolean }
  | { state: 'paused'; why: PauseReason; isArriving: boolean }
  | { state: 'off' }

/** The state that an agent begins with after its start; what is known of the guest and of work refines it. */
export function stateWhenAdopted(
  seen: Seen,
  { isLeaving, isYoung }: { isLeaving: boolean; isYoung: boolean }
): VmState {
  if (seen.state === 'off') return { status: 'down', pause: null }
  if (seen.isArriving) return { status: 'migratingTo', pause: null }
  if (isLeaving) return { status: 'migratingFrom', pause: null }
  if (seen.state === 'paused') return { status: 'paused', pause: seen.why }
  return { status: isYoung ? 'poweringUp' : 'up', pause: null }
}
