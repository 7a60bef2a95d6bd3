import { pino } from 'pino'
import t from 'tap'
import { Fault } from '../../common/fault.js'
import { seconds } from '../../common/units.js'
import { Libvirt } from '../../libvirt/connections.js'
import { Domain } from '../../libvirt/domain.js'
import { abortJob, jobStats, migrate } from '../../libvirt/migration.js'
import { domainStats } from '../../libvirt/stats.js'
import { guestTime } from '../../libvirt/guest-agent.js'
import type { LibvirtEvent } from '../../libvirt/events.js'
import type { Up } from '../../libvirt/control-loop.js'
import { procedures as p } from '../../libvirt/procedures.js'
import { FakeLibvirtd } from './fake-libvirtd.js'
import { ManualClock, until } from './manual-clock.js'

const soon = () => AbortSignal.timeout(20_000)
const uuidOf = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`
const running = (n: number) => ({
  uuid: uuidOf(n),
  name: `vm${n}`,
  state: 1,
  reason: 1,
  persistent: n % 2 === 0
})

async function world() {
  const daemon = await FakeLibvirtd.start()
  for (const n of [1, 2]) daemon.domains.set(uuidOf(n), running(n))
  const clock = new ManualClock()
  const story: Array<LibvirtEvent | { up: Up } | 'down'> = []
  const libvirt = Libvirt.open({
    log: pino({ level: 'silent' }),
    socketPath: daemon.path,
    clock,
    onEvent: event => story.push(event),
    onUp: up => story.push({ up }),
    onDown: () => story.push('down')
  })
  await libvirt.whenUp(soon())
  const domain = (n: number) => new Domain(libvirt, uuidOf(n))
  const end = async () => {
    await libvirt.close()
    await daemon[Symbol.asyncDispose]()
  }
  return { daemon, clock, libvirt, story, domain, [Symbol.asyncDispose]: end }
}
const late = (n: number) => new Fault('VM_UNRESPONSIVE', `libvirt has not answered for VM ${uuidOf(n)}`)

t.test(
  'on connecting, events are registered first and then all domains are listed with their states',
  async t => {
    await using w = await world()
    const numbers = w.daemon.calls.map(({ procedure }) => procedure.number)
    t.ok(numbers.lastIndexOf(316) < numbers.indexOf(273))
    t.equal(new Set(w.daemon.registered).size, 25)
    t.strictSame(w.story, [
      {
        up: {
          libvirtVersion: '9.0.0',
          domains: [
            {
              uuid: uuidOf(2),
              name: 'vm2',
              state: { state: 'running', reason: 'booted' },
              isPersistent: true
            },
            {
              uuid: uuidOf(1),
              name: 'vm1',
              state: { state: 'running', reason: 'booted' },
              isPersistent: false
            }
          ]
        }
      }
    ])
  }
)

t.test(
  'after a loss it comes back by itself: registered anew, listed anew, the difference visible',
  async t => {
    await using w = await world()
    w.daemon.lifecycle(uuidOf(1), 3, 0)
    await until('the event', () => w.story.length === 2)
    w.daemon.drop()
    await until('down', () => w.story.includes('down'))
    t.notOk(w.libvirt.isUp)
    await t.rejects(w.domain(1).suspend(soon()), { reason: 'LIBVIRT_UNAVAILABLE' } as unknown as Fault)

    w.daemon.domains.delete(uuidOf(1))
    w.daemon.domains.set(uuidOf(3), running(3))
    w.daemon.registered.length = 0
    await w.clock.advance(1)
    await w.libvirt.whenUp(soon())
    t.equal(w.daemon.registered.length, 25)
    const last = w.story.at(-1)
    t.strictSame(typeof last === 'object' && 'up' in last ? last.up.domains.map(({ name }) => name) : last, [
      'vm2',
      'vm3'
    ])
  }
)

t.test('while libvirtd is away it is tried again and again, more and more slowly', async t => {
  await using w = await world()
  await w.daemon.stop()
  await until('down', () => w.story.includes('down'))
  for (let tries = 0; tries < 10; tries++) {
    await until('the next try to be due', () => w.clock.waiting > 0)
    await w.clock.advance(5)
  }
  await w.daemon.listen()
  await until('up', async () => {
    await w.clock.advance(5)
    return w.libvirt.isUp
  })
  t.equal(w.story.filter(entry => entry === 'down').length, 1)
})

t.test('a libvirtd that leaves three pings unanswered is dropped', async t => {
  await using w = await world()
  w.daemon.pongs = false
  for (let pings = 0; pings < 4; pings++) await w.clock.advance(5)
  await until('down', () => w.story.includes('down'))
  w.daemon.pongs = true
  await w.clock.advance(1)
  await w.libvirt.whenUp(soon())
  t.ok(w.libvirt.isUp)
})

t.test('a libvirtd that answers pings stays', async t => {
  await using w = await world()
  for (let pings = 0; pings < 10; pings++) {
    await w.clock.advance(5)
    await w.libvirt.call(p.connectGetLibVersion, {}, soon())
  }
  t.notOk(w.story.includes('down'))
})

t.test('a stuck guest can still be looked at, steered and destroyed, and others do not notice', async t => {
  await using w = await world()
  const free = w.daemon.hold(p.domainSuspend, {})
  w.daemon.on(p.domainGetControlInfo, () => ({ state: 2, details: 0, stateTime: 5000n }))
  w.daemon.on(p.domainGetJobStats, () => ({ type: 0, params: [] }))
  w.daemon.on(p.domainAbortJob, () => ({}))
  w.daemon.on(p.domainDestroyFlags, () => ({}))
  w.daemon.on(p.domainGetTime, () => ({ seconds: 5n, nseconds: 0 }))
  w.daemon.on(p.domainResume, () => ({}))
  const suspend = w.domain(1).suspend(soon())
  suspend.catch(() => {})
  await until('the call', () => w.daemon.calls.some(({ procedure }) => procedure.number === 34))

  t.equal((await w.domain(1).state(soon())).state, 'running')
  t.strictSame(await w.domain(1).controlInfo(soon()), { state: 'occupied', forMs: 5000 })
  t.equal(await jobStats(w.domain(1), soon()), null)
  await abortJob(w.domain(1), soon())
  t.equal(await guestTime(w.domain(1), soon()), 5000)
  await w.domain(2).resume(soon())

  await w.clock.advance(40)
  await t.rejects(suspend, late(1))
  await t.rejects(w.domain(1).resume(soon()), late(1))
  t.strictSame(w.libvirt.unresponsive(), new Set([uuidOf(1)]))
  await w.domain(1).destroy(soon())
  free()
  await until('it is forgiven', () => w.libvirt.unresponsive().size === 0)
})

t.test('no connection ever has more than four calls outstanding, and pings get through', async t => {
  await using w = await world()
  const free = w.daemon.hold(p.domainSuspend, {})
  const suspends = Array.from({ length: 20 }, (_, n) => w.domain(100 + n).suspend(soon()))
  for (const suspend of suspends) suspend.catch(() => {})
  const held = () => w.daemon.calls.filter(({ procedure }) => procedure.number === 34)
  await until('eight calls', () => held().length === 8)
  const each = held().map(({ client }) => client)
  for (const client of new Set(each)) t.equal(each.filter(other => other === client).length, 4)

  // All eight are late: a third connection takes the next four.
  await w.clock.advance(40)
  const free2 = () => free()
  await until('no place is given to those that were refused', () => w.libvirt.unresponsive().size === 8)
  const more = Array.from({ length: 6 }, (_, n) => w.domain(200 + n).suspend(soon()))
  for (const suspend of more) suspend.catch(() => {})
  await until('twelve calls', () => held().length === 12)
  t.equal(new Set(held().map(({ client }) => client)).size, 3)
  await w.libvirt.call(p.connectGetLibVersion, {}, soon())
  free2()
  await until('the others', () => held().length === 14)
  free2()
  await Promise.allSettled(more)
})

t.test(
  'a migration has a connection of its own, and does not keep other calls about its guest away',
  async t => {
    await using w = await world()
    const finish = w.daemon.hold(p.domainMigratePerform3Params, { cookieOut: Buffer.alloc(0) })
    w.daemon.on(p.domainResume, () => ({}))
    const before = w.daemon.connections
    const spec = { destinationUri: 'qemu+unix:///system?socket=/x', migrateUri: null }
    const migration = migrate(w.domain(1), spec, soon())
    const second = migrate(w.domain(1), spec, soon())
    await until('the call', () => w.daemon.calls.some(({ procedure }) => procedure.number === 305))
    t.equal(w.daemon.connections, before + 1)
    await w.domain(1).resume(soon())
    finish()
    await migration
    await until(
      'the second',
      () => w.daemon.calls.filter(({ procedure }) => procedure.number === 305).length === 2
    )
    finish()
    await second
    await until('its connection is gone', () => w.daemon.connections === before + 1)
  }
)

t.test('statistics are asked one call at a time, without waiting for any guest', async t => {
  await using w = await world()
  const asked: number[] = []
  w.daemon.on(p.connectGetAllDomainStats, ({ doms, flags }) => {
    asked.push(doms.length)
    t.ok(flags & 0x20000000, 'NOWAIT')
    const params = [
      { field: 'state.state', value: { type: 'int' as const, value: 1 } },
      { field: 'state.reason', value: { type: 'int' as const, value: 1 } },
      { field: 'cpu.time', value: { type: 'ullong' as const, value: 5_000_000_000n } }
    ]
    return { retStats: [{ dom: { name: 'vm1', uuid: uuidOf(1), id: 1 }, params }] }
  })
  const [stats] = await domainStats(w.libvirt, { groups: ['state', 'cpu_total'] }, soon())
  t.match(stats, { uuid: uuidOf(1), state: { state: 'running', reason: 'booted' }, cpu: { timeNs: 5e9 } })
  t.strictSame(await domainStats(w.libvirt, { groups: ['state'], uuids: [] }, soon()), [])
  t.strictSame(asked, [0])
})

t.test('a call may have a limit of its own', async t => {
  await using w = await world()
  w.daemon.hold(p.domainSuspend, {})
  const dom = w.domain(1).ref
  const impatient = w.libvirt.call(p.domainSuspend, { dom }, soon(), { limit: seconds(1) })
  impatient.catch(() => {})
  await until('the call', () => w.daemon.calls.some(({ procedure }) => procedure.number === 34))
  await w.clock.advance(1)
  await t.rejects(impatient, late(1))
})

t.test('closing ends everything, and twice is as good as once', async t => {
  const w = await world()
  await w.libvirt.close()
  await until('no connection', () => w.daemon.connections === 0)
  t.notOk(w.story.includes('down'), 'this was no loss')
  await w[Symbol.asyncDispose]()
})
