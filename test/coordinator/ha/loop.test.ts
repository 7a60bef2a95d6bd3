import { setImmediate } from 'node:timers/promises'
import { pino } from 'pino'
import t from 'tap'
import type { Clock } from '../../../common/clock.js'
import { seconds } from '../../../common/units.js'
import { defaultHaPolicy } from '../../../coordinator/ha/decide.js'
import { HaLoop, type HaWorld, type WatchedHost } from '../../../coordinator/ha/loop.js'
import type { PowerState } from '../../../coordinator/ha/power-reading.js'
import type { FailedVm } from '../../../coordinator/ha/restart-policy.js'

const stop = new AbortController().signal

/** A cluster of one watched host; what the loop commits and orders is kept as a log. */
function world(
  change: {
    power?: () => Promise<PowerState[]>
    failed?: () => FailedVm[]
    kdump?: boolean
    mayRestart?: () => boolean
  } = {}
) {
  let now = 0
  const trail: string[] = []
  const host: WatchedHost = {
    hostId: 'h1',
    name: 'one',
    health: { kind: 'up' },
    hasPowerDevices: true,
    seen: {
      isHeard: false,
      hasNewBoot: false,
      lease: 'failing',
      managesStorageDomain: false,
      vmCount: 0,
      isConfirmedByOperator: false,
      ...{ lastRenewal: null, renewEvery: seconds(20), hasKdump: false, canSoftFence: false }
    },
    canBeShutOut: false
  }
  const outside: HaWorld = {
    uptime: () => seconds(10_000),
    mayActUnasked: change.mayRestart ?? (() => true),
    clusters: () => [{ clusterId: 'c', policy: defaultHaPolicy, hosts: [host] }],
    failedVms: change.failed ?? (() => []),
    noteOrphans: () => {},
    freeStarts: () => 20,
    commit: decisions => {
      for (const { decision } of decisions) {
        host.health = decision.health
        trail.push(
          `${now}s ${decision.health.kind} ${decision.actions.filter(a => a !== 'readPower').join(' ')}`.trim()
        )
      }
    },
    restart: vmIds => void trail.push(`${now}s restart ${vmIds.join(' ')}`),
    readPower: change.power ?? (async () => ['on']),
    powerOff: async () => void trail.push(`${now}s command`),
    awaitKdump: async () => change.kdump ?? false,
    softFence: async () => void trail.push(`${now}s agent restarted`),
    shutOut: async () => void trail.push(`${now}s storage taken`)
  }
  const clock: Clock = {
    monotonic: () => seconds(now),
    wall: () => now * 1000,
    after: () => () => {},
    random: () => 0,
    newId: () => ''
  }
  const loop = new HaLoop(outside, clock, pino({ level: 'silent' }))
  const run = async (until: number) => {
    for (; now <= until; now++) {
      loop.tick(stop)
      await setImmediate()
    }
  }
  return { host, trail, loop, run }
}

t.test('a host whose device says off twice is proven stopped within seconds', async t => {
  const { trail, run } = world({ power: async () => ['off'] })
  await run(10)
  t.strictSame(trail, ['0s connecting', '2s proven_stopped markVmsUnknown restartAllVms'])
})

t.test('nothing is proven or restarted while hosts obey another coordinator', async t => {
  let mayRestart = false
  const dead = { power: async () => ['off' as const], mayRestart: () => mayRestart }
  const { trail, run } = world(dead)
  await run(100)
  t.strictSame(trail, [])
  mayRestart = true
  await run(103)
  t.strictSame(trail, ['101s connecting', '103s proven_stopped markVmsUnknown restartAllVms'])
})

t.test('a host that stays silent is switched off only after the grace, and again with backoff', async t => {
  const { trail, run } = world()
  await run(130)
  t.strictSame(
    trail.filter(line => line.endsWith('powerOff') || line.endsWith('command')),
    ['61s non_responsive powerOff', '61s command', '121s non_responsive powerOff', '121s command']
  )
})

t.test('a device that hangs does not hold the loop up', async t => {
  const { trail, run, loop } = world({ power: () => new Promise(() => {}) })
  await run(70)
  t.match(trail, ['0s connecting', '60s non_responsive'])
  t.match(loop.missing('h1'), /the last attempt failed/)
})

t.test('a device that fails is asked again', async t => {
  let asked = 0
  const { run } = world({ power: () => Promise.reject(new Error(`no answer ${++asked}`)) })
  await run(5)
  t.equal(asked, 6)
})

t.test('nothing is written down while nothing changes', async t => {
  const { host, trail, run } = world()
  Object.assign(host.seen, { isHeard: true })
  await run(20)
  t.strictSame(trail, [])
})

t.test('a VM that died is restarted', async t => {
  const failed = { vmId: 'v', name: 'v', priority: 1, isHa: true, hasLease: true, recentRestarts: 0 }
  const vm: FailedVm = {
    ...{ ...failed, failedSince: seconds(0), dependsOn: [], foundNoHost: false, hasRoomNow: false },
    lastAttempt: null,
    lastAttemptFailed: false,
    failedAttempts: 0,
    hasJob: false
  }
  const { host, trail, run } = world({ failed: () => [vm] })
  Object.assign(host.seen, { isHeard: true })
  await run(0)
  t.strictSame(trail, ['0s restart v'])
})

t.test('the word of the crash kernel proves that the host stopped', async t => {
  const { host, trail, run } = world({ kdump: true })
  Object.assign(host.seen, { hasKdump: true })
  await run(5)
  t.strictSame(trail, ['0s connecting awaitKdump', '1s proven_stopped markVmsUnknown restartAllVms'])
})

t.test('an agent is restarted over its second channel', async t => {
  const { host, trail, run } = world()
  Object.assign(host.seen, { canSoftFence: true, lease: 'live' })
  await run(100)
  t.strictSame(trail.slice(2), ['61s non_responsive softFence', '61s agent restarted', '62s non_responsive'])
})

t.test('a host without power device is shut out of its storage, and its VMs there restart', async t => {
  const { host, trail, run } = world()
  Object.assign(host, { hasPowerDevices: false, canBeShutOut: true })
  await run(100)
  t.strictSame(trail.slice(2), [
    '61s non_responsive shutOut',
    '61s storage taken',
    '62s non_responsive restartFencedVms',
    '63s non_responsive'
  ])
})
