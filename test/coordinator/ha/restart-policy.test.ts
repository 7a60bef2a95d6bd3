import t from 'tap'
import { seconds } from '../../../common/units.js'
import { decideRestarts, type FailedVm } from '../../../coordinator/ha/restart-policy.js'

const vm = (vmId: string, change: Partial<FailedVm> = {}): FailedVm => ({
  vmId,
  name: vmId,
  priority: 50,
  isHa: true,
  hasLease: true,
  ...{ failedSince: seconds(0), dependsOn: [] },
  recentRestarts: 0,
  lastAttempt: null,
  lastAttemptFailed: false,
  failedAttempts: 0,
  foundNoHost: false,
  hasRoomNow: false,
  hasJob: false,
  ...change
})
const kinds = (vms: FailedVm[], free: number, now: number) =>
  decideRestarts(vms, free, seconds(now)).map(({ vmId, kind }) => `${vmId} ${kind}`)

t.test('VMs of the highest priority restart first, as many at once as allowed', async t => {
  const vms = [vm('low', { priority: 100 }), vm('b'), vm('a'), vm('high', { priority: 1 })]
  t.strictSame(kinds(vms, 2, 0), ['high restart', 'a wait', 'b wait', 'low wait'])
  t.strictSame(kinds([vm('c'), vm('b'), vm('a')], 2, 0), ['a restart', 'b restart', 'c wait'])
})

const cases: Array<[why: string, change: Partial<FailedVm>, now: number, expected: string]> = [
  ['is not highly available', { isHa: false }, 0, 'giveUp'],
  ['has a job already', { hasJob: true }, 0, 'wait'],
  [
    'failed to start 10 s ago',
    { lastAttempt: seconds(0), lastAttemptFailed: true, failedAttempts: 1 },
    10,
    'wait'
  ],
  [
    'failed to start 30 s ago',
    { lastAttempt: seconds(0), lastAttemptFailed: true, failedAttempts: 1 },
    30,
    'restart'
  ],
  ['failed 11 times', { lastAttempt: seconds(0), lastAttemptFailed: true, failedAttempts: 11 }, 1799, 'wait'],
  [
    'found no host 11 times',
    { lastAttempt: seconds(0), lastAttemptFailed: true, failedAttempts: 11, foundNoHost: true },
    120,
    'restart'
  ],
  [
    'found no host, and there is one now',
    {
      lastAttempt: seconds(0),
      lastAttemptFailed: true,
      failedAttempts: 11,
      foundNoHost: true,
      hasRoomNow: true
    },
    5,
    'restart'
  ],
  [
    'fails where there is room',
    { lastAttempt: seconds(0), lastAttemptFailed: true, failedAttempts: 11, hasRoomNow: true },
    120,
    'wait'
  ],
  ['died for the first time', { lastAttempt: seconds(0), recentRestarts: 0 }, 0, 'restart'],
  ['died again at once', { lastAttempt: seconds(0), recentRestarts: 1 }, 9, 'wait'],
  ['died again later', { lastAttempt: seconds(0), recentRestarts: 1 }, 10, 'restart'],
  ['was restarted ten times within an hour', { lastAttempt: seconds(0), recentRestarts: 10 }, 3000, 'giveUp']
]
for (const [why, change, now, expected] of cases) {
  t.test(`a VM that ${why}: ${expected}`, async t => {
    t.strictSame(kinds([vm('v', change)], 20, now), [`v ${expected}`])
  })
}

t.test('a host that came into service ends the wait after a failed start, and no other', async t => {
  const failed = vm('v', { lastAttempt: seconds(100), lastAttemptFailed: true, failedAttempts: 11 })
  const kind = (one: FailedVm, up: number) => decideRestarts([one], 1, seconds(120), seconds(up))[0]?.kind
  t.equal(kind(failed, 110), 'restart')
  t.equal(kind(failed, 90), 'wait')
  t.equal(kind(vm('v', { lastAttempt: seconds(110), recentRestarts: 4 }), 115), 'wait')
})

const first = { priority: 1 }
const ahead: Array<[why: string, high: Partial<FailedVm>, now: number, expected: string]> = [
  ['is being started', { ...first, hasJob: true }, 0, 'wait'],
  [
    'has failed to start',
    { ...first, lastAttempt: seconds(0), lastAttemptFailed: true, failedAttempts: 1 },
    1,
    'restart'
  ],
  ['stays down after ten restarts', { ...first, recentRestarts: 10 }, 0, 'restart'],
  ['is not highly available', { ...first, isHa: false }, 0, 'restart'],
  ['has been on its way for 10 min', { ...first, hasJob: true }, 600, 'restart']
]
for (const [why, high, now, expected] of ahead) {
  t.test(`a VM of lower priority: ${expected}, when the higher one ${why}`, async t => {
    t.equal(kinds([vm('high', high), vm('low')], 20, now)[1], `low ${expected}`)
  })
}

t.test('a VM waits for those it depends on, whatever the priorities', async t => {
  const web = vm('web', { priority: 1, dependsOn: ['db'] })
  t.strictSame(kinds([web, vm('db', { priority: 1 })], 20, 0), ['db restart', 'web wait'])
  t.strictSame(kinds([web], 20, 0), ['web restart'])
  t.strictSame(kinds([web, vm('db', { priority: 1 })], 20, 600), ['db restart', 'web restart'])
})

t.test('VMs that depend on each other in a circle start all the same, after 10 min', async t => {
  const circle = [vm('a', { dependsOn: ['b'] }), vm('b', { dependsOn: ['a'] })]
  t.strictSame(kinds(circle, 20, 599), ['a wait', 'b wait'])
  t.strictSame(kinds(circle, 20, 600), ['a restart', 'b restart'])
})
