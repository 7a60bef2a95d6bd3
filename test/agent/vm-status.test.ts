import t from 'tap'
import {
  isAllowed,
  next,
  stateWhenAdopted,
  type Seen,
  type VmEvent,
  type VmState,
  type VmStatus
} from '../../agent/vm-status.js'

const story = (...events: VmEvent[]) => {
  let state: VmState = { status: 'down', pause: null }
  return events.map(event => {
    state = next(state, event)
    return state.pause ? `${state.status}/${state.pause}` : state.status
  })
}

const stories: Array<[why: string, events: VmEvent[], states: string[]]> = [
  [
    'a VM starts, its guest reports, it is shut down',
    [
      { kind: 'startAccepted' },
      { kind: 'resumed' },
      { kind: 'launched' },
      { kind: 'guestSeen' },
      { kind: 'shutdownAsked' },
      { kind: 'stopped' }
    ],
    ['waitForLaunch', 'waitForLaunch', 'poweringUp', 'up', 'poweringDown', 'down']
  ],
  [
    'a guest that ignores the power button is up again',
    [{ kind: 'launched' }, { kind: 'guestSilent' }, { kind: 'shutdownAsked' }, { kind: 'shutdownIgnored' }],
    ['poweringUp', 'up', 'poweringDown', 'up']
  ],
  [
    'a full disk pauses, space resumes',
    [{ kind: 'launched' }, { kind: 'guestSeen' }, { kind: 'paused', why: 'enospc' }, { kind: 'resumed' }],
    ['poweringUp', 'up', 'paused/enospc', 'up']
  ],
  [
    'the stop of the CPUs at switch-over is no pause',
    [{ kind: 'launched' }, { kind: 'leaving' }, { kind: 'paused', why: 'other' }, { kind: 'stopped' }],
    ['poweringUp', 'migratingFrom', 'migratingFrom', 'down']
  ],
  [
    'a migration that fails leaves the VM where it was',
    [{ kind: 'launched' }, { kind: 'guestSeen' }, { kind: 'leaving' }, { kind: 'stayed' }],
    ['poweringUp', 'up', 'migratingFrom', 'up']
  ],
  ['a VM arrives', [{ kind: 'arriving' }, { kind: 'arrived' }], ['migratingTo', 'up']],
  [
    'a paused VM arrives paused',
    [{ kind: 'arriving' }, { kind: 'paused', why: 'user' }],
    ['migratingTo', 'paused/user']
  ]
]
for (const [why, events, states] of stories) {
  t.test(why, async t => {
    t.strictSame(story(...events), states)
  })
}

t.test('what is down stays down until somebody starts it', async t => {
  const events: VmEvent[] = [
    { kind: 'guestSeen' },
    { kind: 'resumed' },
    { kind: 'rebooted' },
    { kind: 'stopped' }
  ]
  t.strictSame(story(...events), ['down', 'down', 'down', 'down'])
})

const running: Seen = { state: 'running', isArriving: false }
const adopted: Array<[why: string, Seen, { isLeaving: boolean; isYoung: boolean }, VmStatus]> = [
  ['an old VM', running, { isLeaving: false, isYoung: false }, 'up'],
  ['a young VM', running, { isLeaving: false, isYoung: true }, 'poweringUp'],
  ['one that was leaving', running, { isLeaving: true, isYoung: false }, 'migratingFrom'],
  [
    'one that was arriving',
    { ...running, isArriving: true },
    { isLeaving: true, isYoung: false },
    'migratingTo'
  ],
  ['one that ended', { state: 'off' }, { isLeaving: true, isYoung: true }, 'down']
]
for (const [why, seen, memory, status] of adopted) {
  t.test(`after a restart of the agent, ${why} is ${status}`, async t => {
    t.equal(stateWhenAdopted(seen, memory).status, status)
  })
}

t.test('verbs are refused where they make no sense', async t => {
  t.notOk(isAllowed('start', 'up'))
  t.notOk(isAllowed('pause', 'migratingFrom'))
  t.notOk(isAllowed('migrate', 'poweringDown'))
  t.ok(isAllowed('destroy', 'migratingFrom'))
  t.ok(isAllowed('resume', 'up'), 'what runs is resumed already')
})
