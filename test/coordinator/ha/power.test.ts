import t from 'tap'
import { Fault } from '../../../common/fault.js'
import {
  readPowerRound,
  switchPower,
  type PowerDevice,
  type RunFenceAgent
} from '../../../coordinator/ha/fencing/power.js'

const device = (fenceAgent: string, order = 0): PowerDevice => ({
  ...{ fenceAgent, order, options: {} },
  secretOptions: {}
})
const { signal } = new AbortController()

t.test('a device is read through the next proxy when the first cannot reach it', async t => {
  const asked: string[] = []
  const run: RunFenceAgent = async proxy => {
    asked.push(proxy)
    if (proxy === 'h1') throw new Fault('HOST_UNREACHABLE', 'h1 is away')
    return { succeeded: true, powerState: 'off', output: '' }
  }
  t.strictSame(await readPowerRound([device('a')], ['h1', 'h2'], run, signal), ['off'])
  t.strictSame(asked, ['h1', 'h2'])
})

t.test('a device that nobody can read is unknown, whatever the other says', async t => {
  const run: RunFenceAgent = async (_proxy, { fenceAgent }) => {
    return { succeeded: fenceAgent === 'a', powerState: 'off', output: 'timeout' }
  }
  t.strictSame(await readPowerRound([device('a'), device('b')], ['h1'], run, signal), ['off', 'unknown'])
})

t.test('switching off fails with the last words of the fence agent', async t => {
  const run: RunFenceAgent = async () => ({ succeeded: false, powerState: 'unknown', output: 'login failed' })
  await t.rejects(
    switchPower('off', [device('fence_x')], ['h1', 'h2'], run, signal),
    new Fault('FENCING_FAILED', 'fence_x could not switch the host off: login failed')
  )
})

t.test('switching off without a proxy says so', async t => {
  const run: RunFenceAgent = async () => ({ succeeded: true, powerState: 'unknown', output: '' })
  await t.rejects(switchPower('off', [device('fence_x')], [], run, signal), /no other host/)
})

const states: Array<[why: string, says: Record<string, 'on' | 'off' | 'unknown'>, expected: string[]]> = [
  ['both ways say off', { bmc: 'off', left: 'off', right: 'off' }, ['off', 'off', 'off']],
  [
    'the service processor has no power either',
    { bmc: 'unknown', left: 'off', right: 'off' },
    ['off', 'off']
  ],
  ['one supply still has power', { bmc: 'unknown', left: 'off', right: 'on' }, ['unknown', 'off', 'on']],
  ['the two ways contradict each other', { bmc: 'on', left: 'off', right: 'off' }, ['on', 'off', 'off']]
]
for (const [why, says, expected] of states) {
  t.test(`a service processor and two supplies, when ${why}`, async t => {
    const run: RunFenceAgent = async (_proxy, { fenceAgent }) => {
      return { succeeded: true, powerState: says[fenceAgent] ?? 'unknown', output: '' }
    }
    const devices = [device('bmc'), device('left', 1), device('right', 1)]
    t.strictSame(await readPowerRound(devices, ['h1'], run, signal), expected)
  })
}

t.test('the second way is taken only when the first fails', async t => {
  const asked: string[] = []
  const failing = new Set(['bmc'])
  const run: RunFenceAgent = async (_proxy, { fenceAgent }) => {
    asked.push(fenceAgent)
    return { succeeded: !failing.has(fenceAgent), powerState: 'unknown', output: 'no answer' }
  }
  const devices = [device('left', 1), device('right', 1), device('bmc')]
  await switchPower('off', devices, ['h1'], run, signal)
  t.strictSame(asked, ['bmc', 'left', 'right'])
  failing.clear()
  asked.length = 0
  await switchPower('off', devices, ['h1'], run, signal)
  t.strictSame(asked, ['bmc'])
})
