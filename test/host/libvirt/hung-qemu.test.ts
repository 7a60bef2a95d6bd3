import { stat } from 'node:fs/promises'
import t from 'tap'
import { Fault } from '../../../common/fault.js'
import { seconds } from '../../../common/units.js'
import { findDomainByName } from '../../../libvirt/domain.js'
import { nodeInfo } from '../../../libvirt/host.js'
import { procedures as p } from '../../../libvirt/procedures.js'
import { domainStats } from '../../../libvirt/stats.js'
import { until } from '../../libvirt/manual-clock.js'
import { libvirtWorld, soon } from './world.js'

t.setTimeout(120_000)

/** Milliseconds of the middle one of so many runs, and of the slowest. */
async function measured(times: number, work: () => Promise<unknown>) {
  const took: number[] = []
  for (let run = 0; run < times; run++) {
    const begun = performance.now()
    await work()
    took.push(performance.now() - begun)
  }
  took.sort((a, b) => a - b)
  return { median: took[times >> 1] ?? 0, worst: took.at(-1) ?? 0 }
}

t.test('with six QEMUs stopped in the middle of a call, everything else goes on', async t => {
  await using w = await libvirtWorld()
  const stuck = [
    await w.boot(),
    await w.boot(),
    await w.boot(),
    await w.boot(),
    await w.boot(),
    await w.boot()
  ]
  const well = await w.boot()
  const calm = await measured(15, async () => {
    await well.suspend(soon())
    await well.resume(soon())
  })
  const pids = await Promise.all(stuck.map(({ uuid }) => w.daemon.qemuOf(uuid)))
  for (const pid of pids) process.kill(pid, 'SIGSTOP')

  const suspends = stuck.map(({ ref }) =>
    w.libvirt.call(p.domainSuspend, { dom: ref }, soon(), { limit: seconds(4) })
  )
  const outcomes = Promise.allSettled(suspends)
  let answered = 0
  for (const suspend of suspends) suspend.then(() => answered++).catch(() => {})
  await until('all six are in QEMU', async () => {
    const infos = await Promise.all(stuck.map(domain => domain.controlInfo(soon())))
    return infos.every(({ state }) => state === 'occupied')
  })

  const name = `t-${well.uuid.slice(0, 8)}`
  const work = {
    'state of a stuck guest': () => stuck[0]?.state(soon()) ?? Promise.reject(new Error('none')),
    'state of another guest': () => well.state(soon()),
    'lookup of another guest': () => findDomainByName(w.libvirt, name, soon()),
    'XML of another guest': () => well.xml(soon()),
    'facts of the host': () => nodeInfo(w.libvirt, soon()),
    'fs.stat': () => stat('/')
  }
  for (const [what, call] of Object.entries(work)) {
    const { median, worst } = await measured(15, call)
    // The goal is 20 ms; the machine that runs this may be doing other things, which the median leaves out.
    t.ok(median < 20, `${what}: ${median.toFixed(2)} ms, at worst ${worst.toFixed(1)}`)
  }
  // These go to QEMU itself, under emulation: the same pair of calls without any stuck guest is the measure.
  const pair = await measured(15, async () => {
    await well.suspend(soon())
    await well.resume(soon())
  })
  const bound = Math.max(40, calm.median * 3)
  t.ok(
    pair.median < bound,
    `suspend and resume of another guest: ${pair.median.toFixed(1)} ms (before: ${calm.median.toFixed(1)})`
  )
  const stats = await measured(3, () =>
    domainStats(w.libvirt, { groups: ['state', 'cpu_total', 'balloon'] }, soon())
  )
  t.ok(stats.median < 500, `statistics of all: ${stats.median.toFixed(1)} ms`)
  t.equal(answered, 0, 'the six calls are still outstanding')

  for (const outcome of await outcomes) {
    t.ok(outcome.status === 'rejected' && Fault.is(outcome.reason, 'VM_UNRESPONSIVE'))
  }
  const [first] = stuck
  if (!first) throw new Error('no guest')
  const refused = await measured(1, () => first.resume(soon()).catch(() => {}))
  t.ok(refused.worst < 20, `a further call about a stuck guest is refused in ${refused.worst.toFixed(2)} ms`)
  t.equal(w.libvirt.unresponsive().size, 6)

  for (const pid of pids) process.kill(pid, 'SIGCONT')
  await until('all six are forgiven', () => w.libvirt.unresponsive().size === 0)
  await Promise.all(stuck.map(domain => domain.resume(soon())))
  t.strictSame((await first.state(soon())).state, 'running')
})

t.test('a guest whose QEMU is stuck is destroyed all the same', async t => {
  await using w = await libvirtWorld()
  const guest = await w.boot()
  const pid = await w.daemon.qemuOf(guest.uuid)
  process.kill(pid, 'SIGSTOP')
  const suspend = guest.suspend(soon())
  const ended = suspend.then(
    () => 'suspended',
    (error: unknown) => (error instanceof Fault ? error.reason : String(error))
  )
  await until('it is in QEMU', async () => (await guest.controlInfo(soon())).state === 'occupied')
  await guest.destroy(soon())
  t.equal(await guest.stateIfPresent(soon()), null)
  t.equal(await ended, 'LIBVIRT_FAILED', 'the stuck call ended with it')
  await w.event('lifecycle', guest, event => event.change === 'stopped')
})
