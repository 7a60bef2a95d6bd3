import t from 'tap'
import { seconds } from '../../../common/units.js'
import { decideRestarts, type FailedVm } from '../../../coordinator/ha/restart-policy.js'

const vm = (vmId: string, change: Partial<FailedVm> = {}): FailedVm => ({
  vmId,
  name: vmId,
  priority: 50,
  isHa: true,
  hasLease: true,
  recentRestarts: 0,
  lastAttempt: null,
  lastAttemptFailed: false,
  failedAttempts: 0,
  hasJob: false,
  ...change
})
const kinds = (vms: FailedVm[], free: number, now: number) =>
  decideRestarts(vms, free, seconds(now)).map(({ vmId, kind }) => `${vmId} ${kind}`)

t.test('VMs restart by priority, as many at once as allowed', async t => {
  const vms = [vm('low', { priority: 100 }), vm('b'), vm('a'), vm('high', { priority: 1 })]
  t.strictSame(kinds(vms, 2, 0), ['high restart', 'a restart', 'b wait', 'low wait'])
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
