import { pino } from 'pino'
import t from 'tap'
import { PausedResumer } from '../../agent/resume-paused.js'
import type { Vm } from '../../agent/vm.js'
import type { Vms } from '../../agent/vms.js'
import { systemClock } from '../../common/clock.js'
import { seconds } from '../../common/units.js'

const never = new AbortController().signal

/** One VM that an I/O error stopped at 0 s, and what is done with it. */
function world({ hasLease = true, pause = 'eio', isPausedByUser = false, destroy = async () => {} } = {}) {
  const acts: string[] = []
  const state = { now: 0, lost: new Set<string>() }
  const vm = {
    ...{ id: 'v1', since: 0, asked: null as string | null, record: { isPausedByUser } },
    state: { status: 'paused', pause },
    lane: { running: null, run: async (_: string, work: () => Promise<unknown>) => work() },
    own: () => ({
      spec: { disks: [{ storageDomainId: 'd1' }], lease: hasLease ? { storageDomainId: 'd2' } : null }
    }),
    libvirtDomain: {
      resume: async () => void acts.push(`${state.now} goes on`),
      destroy: async () => {
        await destroy()
        acts.push(`${state.now} is ended`)
        vm.state = { status: 'down', pause: '' }
      }
    }
  }
  const resumer = new PausedResumer({
    vms: { running: () => [vm as unknown as Vm], options: { note: () => {} } } as unknown as Vms,
    isHealthy: id => !state.lost.has(id),
    ioTimeoutOf: () => seconds(10),
    clock: { ...systemClock, monotonic: () => seconds(state.now) },
    log: pino({ level: 'silent' })
  })
  const at = async (now: number, ...lost: string[]) => {
    Object.assign(state, { now, lost: new Set(lost) })
    await resumer.round(never)
  }
  return { acts, at, vm }
}

t.test('a VM goes on when its storage is well again', async t => {
  const { acts, at } = world()
  await at(0, 'd1')
  await at(79, 'd1')
  t.strictSame(acts, [])
  await at(80)
  t.strictSame(acts, ['80 goes on'])
})

for (const lost of ['d1', 'd2']) {
  t.test(`a VM with a lease is ended when it was without storage ${lost} as long as leases last`, async t => {
    const { acts, at, vm } = world()
    for (const now of [0, 40, 79, 80, 82]) await at(now, lost)
    t.strictSame(acts, ['80 is ended'])
    t.equal(vm.asked, 'giveUp')
  })
}

const waiting = [
  ['without a lease', { hasLease: false }],
  ['whose storage is full', { pause: 'enospc' }],
  ['that a person paused', { isPausedByUser: true }]
] as const
for (const [which, how] of waiting) {
  t.test(`a VM ${which} waits for its storage, however long it takes`, async t => {
    const { acts, at } = world(how)
    for (const now of [0, 80, 800]) await at(now, 'd1')
    t.strictSame(acts, [])
  })
}

t.test('one that cannot be ended now is tried again, and may still go on', async t => {
  const { acts, at, vm } = world({ destroy: () => Promise.reject(new Error('it hangs')) })
  for (const now of [0, 80, 82]) await at(now, 'd1')
  t.equal(vm.asked, null)
  await at(90)
  t.strictSame(acts, ['90 goes on'])
})
