import { randomUUID } from 'node:crypto'
import { pino } from 'pino'
import t from 'tap'
import { departureOf, HeldArrivals, type Departure } from '../../agent/held-arrivals.js'
import type { Incoming } from '../../agent/incoming.js'
import type { Peers } from '../../agent/peers.js'
import { Vm } from '../../agent/vm.js'
import type { VmRecord } from '../../agent/vm-metadata.js'
import type { VmState } from '../../agent/vm-status.js'
import type { Vms } from '../../agent/vms.js'
import { systemClock } from '../../common/clock.js'
import { seconds } from '../../common/units.js'
import type { Domain } from '../../libvirt/domain.js'
import { faultOf } from '../../libvirt/errors.js'

const never = new AbortController().signal
const source = randomUUID()
const vmId = randomUUID()
// Nobody waits two seconds in a test.
const clock = {
  ...systemClock,
  after: (_: unknown, run: () => void) => systemClock.after(seconds(0.01), run)
}

/** A VM that has arrived and stands still, on a libvirt that writes down what it is told. */
function arrival(more: Partial<VmRecord> = {}, answer: Departure = 'undecided') {
  const said: string[] = []
  const end = new AbortController()
  const domain = {
    uuid: vmId,
    xml: async () => Promise.reject(faultOf({ code: 42, domain: 10, message: 'no domain' } as never)),
    resume: async () => {
      said.push('resume')
      vm.apply({ kind: 'arrived' })
    },
    isPersistent: async () => true,
    undefine: async () => void said.push('undefine'),
    destroy: async () => void said.push('destroy')
  } as unknown as Domain
  const record = {
    ...{ vmId, generation: 3, spec: {}, startedBy: '', phase: 'started', startedAt: 1, exit: null },
    ...{
      isPausedByUser: false,
      migration: { sourceHostId: source, destinationHostId: randomUUID() },
      ...more
    }
  } as unknown as VmRecord
  const vm = new Vm({ domain, clock, name: 'web', record, onChange: () => {} })
  vm.state = { status: 'migratingTo', pause: null }
  const vms = {
    get: () => vm,
    forget: () => void said.push('forget'),
    arrivedPaused: (_: Vm, why: string) => {
      said.push(`paused ${why}`)
      vm.state = { status: 'paused', pause: 'user' }
      vm.changed()
    }
  } as unknown as Vms
  const client = {
    call: async () => ({ departure: `DEPARTURE_${answer.toUpperCase()}` }),
    [Symbol.dispose]: () => {}
  }
  const held = new HeldArrivals(
    {
      ...{ vms: () => vms, clock, log: pino({ level: 'silent' }) },
      incoming: { sourceOf: () => source, cancel: async () => {} } as unknown as Incoming,
      peers: { connect: () => client } as unknown as Peers
    },
    end.signal
  )
  t.teardown(() => end.abort())
  return { held, vm, said }
}

const until = async (isSo: () => boolean) => {
  for (let i = 0; i < 500 && !isSo(); i++) await new Promise(resolve => setTimeout(resolve, 10))
}

t.test('a VM runs when its source lets it go, and no other host can', async t => {
  const { held, vm, said } = arrival()
  held.hold(vm)
  await t.rejects(held.letGo(randomUUID(), vmId, 3, never), { name: 'Fault', reason: 'PERMISSION_DENIED' })
  await t.rejects(
    held.letGo(source, vmId, 2, never),
    { name: 'Fault', reason: 'PERMISSION_DENIED' },
    'of another generation'
  )
  t.strictSame(said, [])
  await held.letGo(source, vmId, 3, never)
  await held.letGo(source, vmId, 3, never)
  t.strictSame(said, ['resume'], 'and once')
})

t.test('a VM of which a part is still on its way is not let go, whatever its source says', async t => {
  const { held, said } = arrival()
  await t.rejects(held.letGo(source, vmId, 3, never), { name: 'Fault', reason: 'WRONG_STATE' })
  t.strictSame(said, [])
})

t.test('a VM that a person had paused stays so', async t => {
  const { held, vm, said } = arrival({ isPausedByUser: true })
  held.hold(vm)
  await held.letGo(source, vmId, 3, never)
  t.strictSame(said, ['paused user'])
})

t.test('who hears nothing asks, and does as the source says', async t => {
  const left = arrival({}, 'left')
  left.held.hold(left.vm)
  await until(() => left.said.length > 0)
  t.strictSame(left.said, ['resume'])

  const stayed = arrival({}, 'stayed')
  stayed.held.hold(stayed.vm)
  await until(() => stayed.said.length > 2)
  t.strictSame(stayed.said, ['undefine', 'destroy', 'forget'], 'its copy never ran, and is thrown away')
})

type Case = [why: string, vm: object | null, isRecovering: boolean, expected: Departure]
const state = (status: VmState['status']): VmState => ({ status, pause: null })
const at = (status: VmState['status'], more: object = {}) => ({
  ...{
    foreign: null,
    own: () => ({ generation: 3 }),
    state: state(status),
    lane: { running: null },
    exit: null
  },
  ...{ until: async (isSo: () => boolean) => isSo(), ...more }
})
const cases: Case[] = [
  ['an agent that is recovering knows nothing', null, true, 'undecided'],
  ['libvirt took the definition along', null, false, 'left'],
  ['it says so', at('down', { exit: { reason: 'migrated' } }), false, 'left'],
  ['it ended here', at('down', { exit: { reason: 'crashed' } }), false, 'stayed'],
  ['it runs here', at('up'), false, 'stayed'],
  ['it is paused here', at('paused'), false, 'stayed'],
  ['it is on its way', at('migratingFrom'), false, 'undecided'],
  ['the migration is not over', at('up', { lane: { running: 'migrate' } }), false, 'undecided'],
  ['it was started anew', at('up', { own: () => ({ generation: 4 }) }), false, 'stayed'],
  ['it is a stranger', at('up', { foreign: { kind: 'external', why: '' } }), false, 'stayed']
]
for (const [why, vm, isRecovering, expected] of cases) {
  t.test(`the source says ${expected} when ${why}`, async t => {
    const vms = { find: () => vm } as unknown as Vms
    t.equal(await departureOf(vms, isRecovering, { vmId, generation: 3 }, never), expected)
  })
}
