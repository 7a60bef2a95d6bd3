import t from 'tap'
import { seconds } from '../../../common/units.js'
import {
  decide,
  defaultHaPolicy,
  whyNotFence,
  type ClusterObservation,
  type HaPolicy,
  type HostHealth,
  type HostObservation
} from '../../../coordinator/ha/decide.js'

const heard: HostObservation = {
  isHeard: true,
  hasNewBoot: false,
  lease: 'live',
  managesStorageDomain: false,
  vmCount: 2,
  power: { hasDevices: true, offSince: null, lastOffRead: null, isFencing: false },
  isConfirmedByOperator: false,
  isKdumping: false
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
    for (const action of next.actions) if (action !== 'readPower') trail.push(`${now}s ${action}`)
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

const responsive = { kind: 'non_responsive', since: seconds(0), lastFence: null, fences: 0 } as const
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
  ['another host is being fenced', failing, { ...quiet, fencing: 1 }, defaultHaPolicy, /another host/]
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
