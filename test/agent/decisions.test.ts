import t from 'tap'
import { checkConfig, unsafeSettings } from '../../agent/config.js'
import { beginConvergence, converge } from '../../agent/convergence.js'
import { meaningOf, runFenceAgent } from '../../agent/fence.js'
import { busyPercent, cpuTimesOf, memoryOf } from '../../agent/host-stats.js'
import { usageIn } from '../../agent/process-usage.js'
import { exitOf, type StopDetail } from '../../agent/vm-exit.js'
import { VmLane } from '../../agent/vm-lane.js'
import { Secret } from '../../common/secret.js'
import { seconds } from '../../common/units.js'

const exits: Array<
  [why: string, StopDetail, 'destroy' | 'shutdown' | 'giveUp' | null, byHost: boolean, string]
> = [
  ['a guest that shut itself down', 'shutdown', null, false, 'shutdown'],
  ['a guest that we asked', 'shutdown', 'shutdown', false, 'shutdown'],
  ['what we destroyed', 'destroyed', 'destroy', true, 'destroyed'],
  ['what we gave up without its storage', 'destroyed', 'giveUp', true, 'lost'],
  ['what somebody else destroyed', 'destroyed', null, true, 'lost'],
  ['a QEMU that got SIGTERM', 'shutdown', null, true, 'lost'],
  ['a QEMU that vanished', 'failed', null, false, 'crashed'],
  ['a migration', 'migrated', null, false, 'migrated']
]
for (const [why, detail, asked, byHostSignal, reason] of exits) {
  t.test(`${why} has ended as "${reason}"`, async t => {
    const exit = exitOf(detail, { asked, byHostSignal, at: 1 })
    t.equal(exit.reason, reason)
    t.equal(exit.fault === null, ['shutdown', 'destroyed', 'migrated'].includes(reason), 'a failure says why')
  })
}

t.test('the downtime is raised only while passes come and nothing is gained', async t => {
  let state = beginConvergence(1, 300)
  const look = (iteration: number, remaining: number) => {
    const step = converge(state, { iteration, remaining })
    state = step.state
    return step.downtimeMs
  }
  t.strictSame(
    [look(1, 1000), look(2, 900), look(3, 500), look(3, 600), look(4, 700), look(5, 400), look(6, 800)],
    [null, null, null, null, 450, null, 675]
  )
})

t.test('exit codes of a fence agent mean something only for the status', async t => {
  t.match(meaningOf('status', 0), { succeeded: true, powerState: 'on' })
  t.match(meaningOf('status', 2), { succeeded: true, powerState: 'off' })
  t.match(meaningOf('status', 1), { succeeded: false, powerState: 'unknown' })
  t.match(meaningOf('off', 2), { succeeded: false })
})

t.test('a fence agent hears its options on standard input, and its output shows no secret', async t => {
  const calls: unknown[] = []
  const outcome = await runFenceAgent(
    async (command, args, _, options) => {
      calls.push([command, args, options?.input])
      return { code: 1, stdout: 'login hunter2 failed', stderr: '' }
    },
    { directory: '/usr/sbin', known: ['fence_ipmilan'] },
    {
      ...{ fenceAgent: 'fence_ipmilan', action: 'off', limit: seconds(5) },
      options: new Map([['ip', '10.0.0.9']]),
      secretOptions: new Map([['password', new Secret('hunter2')]])
    },
    new AbortController().signal
  )
  t.strictSame(calls, [['/usr/sbin/fence_ipmilan', [], 'action=off\nip=10.0.0.9\npassword=hunter2\n']])
  t.strictSame(outcome, { succeeded: false, powerState: 'unknown', output: 'login *** failed' })
})

t.test('settings have defaults and bounds, and unknown ones are refused by name', async t => {
  t.match(checkConfig({}), { listen: '0.0.0.0:7444', migration_tls: true })
  t.throws(() => checkConfig({ shutdown_seconds: 1 }), /shutdown_seconds must be 10 to 3600/)
  t.throws(() => checkConfig({ colour: 'red' }), /colour is no setting/)
  t.strictSame(unsafeSettings(checkConfig({ unsafe_shared_filesystem: true })), ['unsafe_shared_filesystem'])
})

t.test('/proc is read as it is written', async t => {
  t.strictSame(cpuTimesOf('cpu  10 0 5 80 5 0 0 0 0 0\ncpu0 …'), { all: 100, busy: 15 })
  t.equal(busyPercent({ all: 100, busy: 15 }, { all: 200, busy: 65 }), 50)
  t.equal(memoryOf('MemTotal:       16 kB\nMemAvailable: 8 kB\n')('MemAvailable'), 8192)
  const stat = `42 (a) b) S ${Array.from({ length: 30 }, (_, index) => index + 4).join(' ')}`
  t.strictSame(usageIn(stat), { cpuSeconds: (14 + 15) / 100, residentBytes: 24 * 4096 })
})

t.test('verbs of one VM run in order; a ninth that waits is refused with the name of what runs', async t => {
  const lane = new VmLane('v')
  const signal = new AbortController().signal
  const order: number[] = []
  let end = () => {}
  const first = lane.run('migrate', () => new Promise<void>(resolve => (end = resolve)), signal)
  await new Promise(setImmediate)
  const others = Array.from({ length: 8 }, (_, index) => lane.run('x', async () => order.push(index), signal))
  await t.rejects(
    lane.run('one too many', async () => {}, signal),
    { message: /"migrate" runs and 8 others wait/ }
  )
  end()
  await Promise.all([first, ...others])
  t.strictSame(order, [0, 1, 2, 3, 4, 5, 6, 7])
})

t.test('a verb that gives up waiting lets the next one through in its turn', async t => {
  const lane = new VmLane('v')
  const abort = new AbortController()
  const open = new AbortController().signal
  let end = () => {}
  const first = lane.run('first', () => new Promise<void>(resolve => (end = resolve)), open)
  const second = lane.run('second', async () => t.fail('ran'), abort.signal)
  const third = lane.run('third', async () => 'third', open)
  abort.abort(new Error('enough'))
  await t.rejects(second, { message: 'enough' })
  end()
  await first
  t.equal(await third, 'third')
})
