import t from 'tap'
import {
  type Circumstances,
  type Drive,
  type DriveAction,
  type DriveEvent,
  newDrive,
  stepDrive,
  type Usage
} from '../../../agent/extender/decide.js'
import { conservativePolicy } from '../../../agent/extender/policy.js'
import { GiB, MiB, seconds, bytes } from '../../../common/units.js'

const now = seconds(1000)
const at: Circumstances = { now, policy: conservativePolicy, extendTime: seconds(1), isMirrored: false }
const usage: Usage = { capacity: GiB(100), physical: MiB(2560), allocation: MiB(256) }
const armed: Drive = { ...newDrive, phase: 'armed', usage, seenAt: seconds(999), threshold: MiB(512) }
const extending: Drive = { ...armed, phase: 'extending', wanted: MiB(5120), threshold: null }
const retrying: Drive = { ...extending, phase: 'retrying', wanted: null, failures: 1, retryAt: seconds(1001) }

type Case = [why: string, drive: Drive, event: DriveEvent, phase: Drive['phase'], actions: DriveAction[]]
const ask: DriveAction = { kind: 'ask' }
const extend = (mib: number): DriveAction => ({ kind: 'extend', to: MiB(mib) })
const arm = (mib: number): DriveAction => ({ kind: 'arm', threshold: MiB(mib) })
const resume: DriveAction = { kind: 'resume' }
const full = (isFull: boolean): DriveAction => ({ kind: 'alert', isFull })
const seen = (change: Partial<Usage>): DriveEvent => ({ kind: 'usage', usage: { ...usage, ...change } })
const event = (mib: number): DriveEvent => ({ kind: 'threshold', threshold: MiB(512), excess: MiB(mib) })

const cases: Case[] = [
  ['a new disk is asked about', newDrive, { kind: 'tick' }, 'unset', [ask]],
  ['a disk with room is armed', newDrive, seen({}), 'armed', [arm(512)]],
  [
    'a disk that is short of room is extended at once',
    newDrive,
    seen({ allocation: MiB(513) }),
    'extending',
    [extend(5120)]
  ],
  [
    'exactly the room that is wanted is enough',
    newDrive,
    seen({ allocation: MiB(512) }),
    'armed',
    [arm(512)]
  ],
  ['capacity 0 decides nothing', newDrive, seen({ capacity: bytes(0) }), 'unset', []],
  ['physical 0 decides nothing', newDrive, seen({ physical: bytes(0) }), 'unset', []],
  [
    'a write that met the end is counted by QEMU as well: there is no room left',
    newDrive,
    seen({ allocation: GiB(9) }),
    'extending',
    [extend(5888)]
  ],
  [
    'numbers that libvirt leaves out decide nothing',
    newDrive,
    { kind: 'usage', usage: { capacity: null, physical: null, allocation: null } },
    'unset',
    []
  ],
  ['the event extends with no question', armed, event(1), 'extending', [extend(5120)]],
  [
    'an event far beyond the threshold asks for as much as is missing',
    armed,
    event(2000),
    'extending',
    [extend(5888)]
  ],
  [
    'an event of an old threshold arms again',
    { ...armed, threshold: MiB(7168), usage: { ...usage, physical: GiB(9) } },
    event(1),
    'armed',
    [arm(7168)]
  ],
  ['the second copy of an event changes nothing', extending, event(1), 'extending', []],
  ['an event before anything is known asks', newDrive, event(1), 'unset', [ask]],
  ['an event during a pivot is dropped', { ...newDrive, phase: 'suspended' }, event(1), 'suspended', []],
  ['a VM without space is an event too', armed, { kind: 'noSpace' }, 'extending', [extend(5888)]],
  ['no space while it extends already', extending, { kind: 'noSpace' }, 'extending', []],
  ['the sweep leaves an armed disk alone', armed, { kind: 'tick' }, 'armed', []],
  [
    'the sweep asks about an armed disk whose VM stands still',
    { ...armed, isPaused: true },
    { kind: 'tick' },
    'armed',
    [ask]
  ],
  [
    'a VM that stands still over enough room goes on',
    { ...armed, isPaused: true },
    seen({}),
    'armed',
    [resume]
  ],
  ['a lost event is found by a look', armed, seen({ allocation: GiB(1) }), 'extending', [extend(5120)]],
  ['extended: the next threshold', extending, { kind: 'extended', size: MiB(5120) }, 'armed', [arm(3072)]],
  [
    'extended: the VM goes on',
    { ...extending, isPaused: true },
    { kind: 'extended', size: MiB(5120) },
    'armed',
    [arm(3072), resume]
  ],
  [
    'an extend that came out too small has failed',
    extending,
    { kind: 'extended', size: MiB(2560) },
    'retrying',
    []
  ],
  ['a failed extend waits', extending, { kind: 'failed', isFull: false }, 'retrying', []],
  [
    'a full storage domain is told once',
    extending,
    { kind: 'failed', isFull: true },
    'retrying',
    [full(true)]
  ],
  ['and not again', { ...extending, isFull: true }, { kind: 'failed', isFull: true }, 'retrying', []],
  ['not before its time', retrying, { kind: 'tick' }, 'retrying', []],
  ['at its time it asks again', { ...retrying, retryAt: now }, { kind: 'tick' }, 'retrying', [ask]],
  [
    'and tries again',
    { ...retrying, retryAt: now },
    seen({ allocation: GiB(1) }),
    'extending',
    [extend(5120)]
  ],
  [
    'where space is short the smallest step is asked for',
    { ...retrying, retryAt: now, isFull: true },
    seen({ allocation: GiB(1) }),
    'extending',
    [extend(2688)]
  ],
  [
    'space came: at once, and by the whole step',
    { ...retrying, usage: { ...usage, allocation: GiB(1) }, isFull: true },
    { kind: 'spaceCame' },
    'extending',
    [full(false), extend(5120)]
  ],
  [
    'at its limit nothing is watched',
    armed,
    seen({ capacity: GiB(2), allocation: GiB(2) }),
    'atLimit',
    [{ kind: 'arm', threshold: null }]
  ],
  [
    'the last step ends at the limit',
    newDrive,
    seen({ capacity: GiB(3), allocation: GiB(2) }),
    'extending',
    [extend(3456)]
  ],
  [
    'a disk at its limit that was resized grows again',
    { ...newDrive, phase: 'atLimit' },
    seen({ allocation: GiB(1) }),
    'extending',
    [extend(5120)]
  ],
  [
    'a VM at the limit is not resumed in a circle',
    { ...armed, usage: { ...usage, capacity: GiB(2) } },
    { kind: 'noSpace' },
    'atLimit',
    [{ kind: 'arm', threshold: null }]
  ],
  [
    'a pivot takes the threshold away',
    armed,
    { kind: 'suspend' },
    'suspended',
    [{ kind: 'arm', threshold: null }]
  ],
  [
    'and the disk is looked at afterwards',
    { ...newDrive, phase: 'suspended' },
    { kind: 'watchAgain' },
    'unset',
    [ask]
  ],
  ['a threshold that libvirt refused is set by the next sweep', armed, { kind: 'notArmed' }, 'unset', []]
]

for (const [why, drive, happened, phase, actions] of cases) {
  t.test(why, async t => {
    const step = stepDrive(drive, happened, at)
    t.equal(step.drive.phase, phase)
    t.strictSame(step.actions, actions)
  })
}

t.test('the rate is what was written between two looks', async t => {
  const { drive } = stepDrive(armed, seen({ allocation: MiB(456) }), at)
  t.equal(drive.rate, MiB(200))
})

t.test('a mirrored disk is kept twice as far ahead', async t => {
  const { actions } = stepDrive(newDrive, seen({ physical: GiB(10) }), { ...at, isMirrored: true })
  t.strictSame(actions, [arm(10240 - 4096)])
})

t.test('failures wait longer each time, and never longer than ten seconds', async t => {
  let drive = extending
  const waits: number[] = []
  for (let i = 0; i < 6; i++) {
    drive = { ...stepDrive(drive, { kind: 'failed', isFull: false }, at).drive, phase: 'extending' }
    waits.push(drive.retryAt - now)
  }
  t.strictSame(waits, [0.5, 1, 2, 4, 10, 10])
})
