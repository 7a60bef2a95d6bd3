import t from 'tap'
import { seconds } from '../../../common/units.js'
import {
  decide,
  defaultHaPolicy,
  type ClusterObservation,
  type HaPolicy,
  type HostHealth,
  type HostObservation
} from '../../../coordinator/ha/decide.js'
import { whyNotFence, whyNotStorageFence } from '../../../coordinator/ha/fence-gates.js'

const heard: HostObservation = {
  isHeard: true,
  hasNewBoot: false,
  lease: 'live',
  managesStorageDomain: false,
  vmCount: 2,
  power: { hasDevices: true, offSince: null, lastOffRead: null, isFencing: false },
  isConfirmedByOperator: false,
  ...{ lastRenewal: null, renewEvery: seconds(20), hasKdump: false, isKdumping: false, canSoftFence: false },
  storageFence: 'impossible'
}
const silent: HostObservation = { ...heard, isHeard: false }
const quiet: ClusterObservation = { hosts: 4, silentHosts: 1, fencing: 0, coordinatorUptime: seconds(10_000) }

type Script = Record<number, (world: { host: HostObservation; cluster: ClusterObservation }) => void>

/** One tick a second; what changes is told as a log. */
function simulate(script: Script, until: number, policy: HaPolicy = defaultHaPolicy): string[] {
  const world = { host: structuredClone(silent), cluster: structuredClone(quiet) }
  let health: HostHealth = { kind: 'up' }
  const trail: string[] = []
  for (let now = 0; now <= until; now++) {
    script[now]?.(world)
    const next = decide(health, world.host, world.cluster, policy, seconds(now))
    if (next.health.kind !== health.kind) trail.push(`${now}s ${health.kind} -> ${next.health.kind}`)
    for (const action of next.actions)
      if (action !== 'readPower' && action !== 'awaitKdump') trail.push(`${now}s ${action}`)
    health = next.health
  }
  return trail
}

const off = (at: number) => ({
  hasDevices: true,
  offSince: seconds(at),
  lastOffRead: seconds(at),
  isFencing: false
})

t.test(
  'a host that its power device reports off is proven at the second read, without a command',
  async t => {
    const trail = simulate(
      {
        4: ({ host }) => (host.power = off(4)),
        5: ({ host }) => (host.power = { ...off(4), lastOffRead: seconds(5) })
      },
      100
    )
    t.strictSame(trail, [
      '0s up -> connecting',
      '5s connecting -> proven_stopped',
      '5s markVmsUnknown',
      '5s restartAllVms'
    ])
  }
)

t.test('one read that says off proves nothing', async t => {
  const trail = simulate({ 4: ({ host }) => (host.power = off(4)) }, 30)
  t.strictSame(trail, ['0s up -> connecting'])
})

t.test('a silent host whose lease lives is left alone', async t => {
  t.strictSame(simulate({}, 1000), [
    '0s up -> connecting',
    '61s connecting -> non_responsive',
    '61s markVmsUnknown',
    '61s restartLeasedVms'
  ])
})

t.test(
  'a lease that stops being renewed opens the way for fencing, which is repeated with backoff',
  async t => {
    const trail = simulate({ 90: ({ host }) => (host.lease = 'failing') }, 600)
    t.strictSame(trail.slice(4), ['90s powerOff', '150s powerOff', '270s powerOff', '570s powerOff'])
  }
)

t.test('a host that is heard again is up, and nothing of it restarts', async t => {
  const trail = simulate({ 70: ({ host }) => (host.isHeard = true) }, 80)
  t.strictSame(trail.slice(4), ['70s non_responsive -> up'])
})

t.test('a host that comes back with a new boot has lost its VMs', async t => {
  const trail = simulate({ 70: ({ host }) => Object.assign(host, { isHeard: true, hasNewBoot: true }) }, 80)
  t.strictSame(trail.slice(4), ['70s non_responsive -> up', '70s restartAllVms'])
})

t.test('the word of a person is proof', async t => {
  const trail = simulate({ 80: ({ host }) => (host.isConfirmedByOperator = true) }, 90)
  t.strictSame(trail.slice(4), [
    '80s non_responsive -> proven_stopped',
    '80s markVmsUnknown',
    '80s restartAllVms'
  ])
})

const responsive: HostHealth & { kind: 'non_responsive' } = {
  ...{ kind: 'non_responsive' as const, since: seconds(0), lastFence: null, fences: 0 },
  ...{ softFence: null, isShutOut: false }
}
const failing: HostObservation = { ...silent, lease: 'failing' }
const gates: Array<
  [why: string, host: HostObservation, cluster: ClusterObservation, policy: HaPolicy, expected: RegExp]
> = [
  ['fencing is off', failing, quiet, { ...defaultHaPolicy, isFencingEnabled: false }, /switched off/],
  [
    'there is no device',
    { ...failing, power: { ...failing.power, hasDevices: false } },
    quiet,
    defaultHaPolicy,
    /no power device/
  ],
  [
    'the coordinator has just started',
    failing,
    { ...quiet, coordinatorUptime: seconds(299) },
    defaultHaPolicy,
    /first 300 s/
  ],
  ['the lease lives', silent, quiet, defaultHaPolicy, /renews its lease/],
  ['nobody can read the lease', { ...silent, lease: 'unknown' }, quiet, defaultHaPolicy, /no other host/],
  [
    'half of the hosts are silent',
    failing,
    { ...quiet, silentHosts: 2 },
    defaultHaPolicy,
    /half of the cluster/
  ],
  ['another host is being fenced', failing, { ...quiet, fencing: 1 }, defaultHaPolicy, /another host/],
  [
    'the device is at work',
    { ...failing, power: { ...failing.power, isFencing: true } },
    quiet,
    defaultHaPolicy,
    /at work/
  ]
]
for (const [why, host, cluster, policy, expected] of gates) {
  t.test(`no off command while ${why}`, async t => {
    t.match(whyNotFence(responsive, host, cluster, policy, seconds(100)) ?? '', expected)
    t.notOk(decide(responsive, host, cluster, policy, seconds(100)).actions.includes('powerOff'))
  })
}

t.test('one of two hosts may be fenced: half is not suspicious below two silent ones', async t => {
  t.equal(
    whyNotFence(responsive, failing, { ...quiet, hosts: 2, silentHosts: 1 }, defaultHaPolicy, seconds(9)),
    null
  )
})

t.test('a crash kernel has 30 s to tell before the off command, and its word is proof', async t => {
  const trail = simulate({ 0: ({ host }) => Object.assign(host, { hasKdump: true, lease: 'failing' }) }, 120)
  t.strictSame(trail.slice(3), ['61s restartLeasedVms', '91s powerOff'])
  const told = simulate(
    {
      0: ({ host }) => Object.assign(host, { hasKdump: true, lease: 'failing' }),
      20: ({ host }) => (host.isKdumping = true)
    },
    120
  )
  t.strictSame(told.slice(1), ['20s connecting -> proven_stopped', '20s markVmsUnknown', '20s restartAllVms'])
})

t.test('a crash message is listened for from the first moment, until it came', async t => {
  const host = { ...silent, hasKdump: true }
  const { actions } = decide({ kind: 'up' }, host, quiet, defaultHaPolicy, seconds(0))
  t.strictSame(actions, ['readPower', 'awaitKdump'])
})

t.test('the agent is restarted over a second channel before anything is switched off, once', async t => {
  const trail = simulate({ 0: ({ host }) => (host.canSoftFence = true) }, 500)
  t.strictSame(trail.slice(3), ['61s restartLeasedVms', '62s softFence'])
})

t.test('a restarted agent has 60 s to answer, unless its lease shows that the host dies', async t => {
  const policy = { ...defaultHaPolicy, skipsWhileLeaseLives: false }
  const alive = simulate({ 0: ({ host }) => (host.canSoftFence = true) }, 130, policy)
  t.strictSame(alive.slice(4), ['62s softFence', '122s powerOff'])
  const dying = simulate(
    { 0: ({ host }) => Object.assign(host, { canSoftFence: true, lease: 'failing' }) },
    70,
    policy
  )
  t.strictSame(dying.slice(4), ['62s softFence', '63s powerOff'])
})

t.test('where the policy says so, a lease that lives does not hold the off command back', async t => {
  const trail = simulate({}, 70, { ...defaultHaPolicy, skipsWhileLeaseLives: false })
  t.strictSame(trail.slice(3), ['61s restartLeasedVms', '62s powerOff'])
})

/** From the fourth second on its power device says off, each second; renewals are seen as told. */
const saysOff = (until: number, renewals: readonly number[]): Script =>
  Object.fromEntries(
    Array.from({ length: until }, (_, now) => [
      now,
      ({ host }: { host: HostObservation }) => {
        const seen = renewals.filter(time => time <= now).at(-1)
        if (seen !== undefined) host.lastRenewal = seconds(seen)
        if (now >= 4) host.power = { ...off(4), lastOffRead: seconds(now) }
      }
    ])
  )

t.test('a renewal from before the power went may be heard of late', async t => {
  const policy = { ...defaultHaPolicy, statusGap: seconds(4) }
  const trail = simulate(saysOff(20, [7]), 20, policy)
  t.match(trail, ['0s up -> connecting', /^8s connecting -> proven_stopped/])
})

t.test(
  'a renewal after the first read that says off takes the proof away until the host is quiet',
  async t => {
    const policy = { ...defaultHaPolicy, statusGap: seconds(10) }
    t.match(simulate(saysOff(50, [12]), 50, policy), [
      '0s up -> connecting',
      /^38s connecting -> proven_stopped/
    ])
    const lying = simulate(saysOff(55, [12, 32, 52]), 55, policy)
    t.strictSame(lying, ['0s up -> connecting'], 'who renews on is never proven off')
  }
)

t.test(
  'a host that was proven off, and is heard without having booted, shows that its device lies',
  async t => {
    const stopped = { kind: 'proven_stopped', proof: 'power_off' } as const
    t.strictSame(decide(stopped, heard, quiet, defaultHaPolicy, seconds(9)).actions, ['reportFalseProof'])
    const booted = { ...heard, hasNewBoot: true }
    t.strictSame(decide(stopped, booted, quiet, defaultHaPolicy, seconds(9)).actions, [])
    const told = { kind: 'proven_stopped', proof: 'operator' } as const
    t.strictSame(decide(told, heard, quiet, defaultHaPolicy, seconds(9)).actions, [])
  }
)

t.test(
  'a host that an earlier life proved off is read again, until that is proof in this one too',
  async t => {
    const stopped = { kind: 'proven_stopped', proof: 'power_off' } as const
    const policy = { ...defaultHaPolicy, statusGap: seconds(30) }
    const actionsOf = (seen: Partial<HostObservation>, health: HostHealth = stopped) =>
      decide(health, { ...silent, ...seen }, quiet, policy, seconds(40)).actions
    t.strictSame(actionsOf({}), ['readPower'])
    t.strictSame(actionsOf({ power: off(4) }), ['readPower'], 'one read is none')
    const long = { ...off(4), lastOffRead: seconds(34) }
    t.strictSame(actionsOf({ power: long }), [])
    t.strictSame(actionsOf({ power: long, lastRenewal: seconds(20) }), ['readPower'], 'who renews is not off')
    t.strictSame(actionsOf({}, { kind: 'proven_stopped', proof: 'operator' }), [], 'a person said so')
    t.strictSame(actionsOf({ power: { ...silent.power, hasDevices: false } }), [])
  }
)

t.test('a host without power device is shut out of storage, and only the VMs there restart', async t => {
  const trail = simulate(
    {
      0: ({ host }) => {
        host.power.hasDevices = false
        host.storageFence = 'possible'
      },
      90: ({ host }) => (host.lease = 'failing'),
      95: ({ host }) => (host.storageFence = 'done')
    },
    400
  )
  t.strictSame(trail.slice(4), ['90s shutOut', '95s restartFencedVms'])
})

const noDevice: HostObservation = {
  ...{ ...failing, storageFence: 'possible' },
  power: { ...failing.power, hasDevices: false }
}
const storageGates: Array<
  [why: string, host: HostObservation, cluster: ClusterObservation, policy: HaPolicy, expected: RegExp | null]
> = [
  ['nothing speaks against it', noDevice, quiet, defaultHaPolicy, null],
  ['there is no such storage', { ...noDevice, storageFence: 'impossible' }, quiet, defaultHaPolicy, /cannot/],
  ['fencing is off', noDevice, quiet, { ...defaultHaPolicy, isFencingEnabled: false }, /switched off/],
  ['its power can be switched', { ...failing, storageFence: 'possible' }, quiet, defaultHaPolicy, /power/],
  [
    'the coordinator has just started',
    noDevice,
    { ...quiet, coordinatorUptime: seconds(9) },
    defaultHaPolicy,
    /started/
  ],
  ['its lease lives', { ...noDevice, lease: 'live' }, quiet, defaultHaPolicy, /lease/],
  ['half of the hosts are silent', noDevice, { ...quiet, silentHosts: 2 }, defaultHaPolicy, /half/]
]
for (const [why, host, cluster, policy, expected] of storageGates) {
  t.test(`a host is ${expected ? 'not ' : ''}shut out of storage while ${why}`, async t => {
    const obstacle = whyNotStorageFence(responsive, host, cluster, policy, seconds(100))
    if (expected === null) t.equal(obstacle, null)
    else t.match(obstacle ?? '', expected)
  })
}

t.test('a host whose power two commands could not switch is shut out of storage', async t => {
  const host = { ...failing, storageFence: 'possible' as const }
  const tried = { ...responsive, lastFence: seconds(0), fences: 2 }
  t.equal(whyNotStorageFence(tried, host, quiet, defaultHaPolicy, seconds(100)), null)
})
