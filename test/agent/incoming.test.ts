import { randomUUID } from 'node:crypto'
import { pino } from 'pino'
import t from 'tap'
import { checkConfig } from '../../agent/config.js'
import type { Disks } from '../../agent/disks.js'
import type { IdentityFile } from '../../agent/identity.js'
import { Incoming } from '../../agent/incoming.js'
import type { VmSpec } from '../../agent/vm-spec.js'
import type { Vms } from '../../agent/vms.js'
import { systemClock } from '../../common/clock.js'

const never = new AbortController().signal
const spec = (vmId: string = randomUUID()) => ({ vmId, disks: [] }) as unknown as VmSpec
const source = randomUUID()

function world() {
  const said: string[] = []
  const prepared = (vmSpec: VmSpec) => void said.push(`prepare ${vmSpec.vmId}`)
  const disks = {
    prepare: async (vmSpec: VmSpec) => prepared(vmSpec),
    tearDown: async (vmSpec: VmSpec) => void said.push(`tear down ${vmSpec.vmId}`)
  } as unknown as Disks
  const first = 20_000 + Math.floor(Math.random() * 10_000)
  const incoming = new Incoming({
    ...{ disks, clock: systemClock, log: pino({ level: 'silent' }) },
    vms: () => ({ find: () => null }) as unknown as Vms,
    identity: { now: { address: '127.0.0.1:7444' } } as IdentityFile,
    config: checkConfig({ migration_first_port: first, migrations_at_once: 2 })
  })
  return { incoming, said }
}
const arrival = (vm: VmSpec) => ({ spec: vm, generation: 1, sourceHostId: source })

t.test('the same announcement again changes nothing', async t => {
  const { incoming, said } = world()
  const vm = spec()
  const addresses = await Promise.all([1, 2, 3].map(() => incoming.prepare(arrival(vm), never)))
  t.equal(new Set(addresses).size, 1)
  t.strictSame(said, [`prepare ${vm.vmId}`])
})

t.test('a VM that came, left, and comes once more finds its disks prepared', async t => {
  const { incoming, said } = world()
  const vm = spec()
  await incoming.prepare(arrival(vm), never)
  const tunnel = incoming.admit(source, vm.vmId, 1)
  incoming.arrived(vm.vmId)
  await incoming.prepare(arrival(vm), never)
  t.strictSame(said, [`prepare ${vm.vmId}`, `prepare ${vm.vmId}`])
  t.ok(tunnel.aborted, 'the first tunnel is closed')
  t.notOk(incoming.admit(source, vm.vmId, 1).aborted)
})

t.test('two that are announced at once get a port each, a third is refused', async t => {
  const { incoming } = world()
  const outcomes = await Promise.allSettled(
    [spec(), spec(), spec()].map(vm => incoming.prepare(arrival(vm), never))
  )
  const addresses = outcomes.flatMap(each => (each.status === 'fulfilled' ? [each.value] : []))
  t.equal(new Set(addresses).size, 2)
  t.match(outcomes[2], { status: 'rejected', reason: { reason: 'LIMIT' } })
})

t.test('what was announced and cancelled is let go of, and admits nobody', async t => {
  const { incoming, said } = world()
  const vm = spec()
  await incoming.prepare(arrival(vm), never)
  await incoming.cancel(vm.vmId, 2)
  t.strictSame(said, [`prepare ${vm.vmId}`], 'another generation is not meant')
  await incoming.cancel(vm.vmId, 1)
  t.strictSame(said, [`prepare ${vm.vmId}`, `tear down ${vm.vmId}`])
  t.throws(() => incoming.admit(source, vm.vmId, 1), /no migration of VM .* is expected here/)
})
