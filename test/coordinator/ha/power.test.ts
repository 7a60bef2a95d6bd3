import t from 'tap'
import { Fault } from '../../../common/fault.js'
import {
  readPowerRound,
  switchPower,
  type PowerDevice,
  type RunFenceAgent
} from '../../../coordinator/ha/fencing/power.js'

const device = (fenceAgent: string): PowerDevice => ({ fenceAgent, options: {}, secretOptions: {} })
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
