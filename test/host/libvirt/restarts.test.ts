import t from 'tap'
import { Fault } from '../../../common/fault.js'
import type { Domain } from '../../../libvirt/domain.js'
import { until } from '../../libvirt/manual-clock.js'
import { libvirtWorld, soon } from './world.js'

t.setTimeout(150_000)

const times = 20

type World = Awaited<ReturnType<typeof libvirtWorld>>

/** What an agent would remember: the state of each guest, from lists and lifecycle events alone. */
function remembered(story: World['story']): Record<string, string> {
  const states = new Map<string, string>()
  const after = { suspended: 'paused', resumed: 'running', started: 'running' } as Record<string, string>
  for (const entry of story) {
    if ('up' in entry) {
      states.clear()
      for (const { uuid, state } of entry.up.domains) states.set(uuid, state.state)
    } else if (entry.event.kind === 'lifecycle') {
      const { uuid, change } = entry.event
      if (change === 'stopped') states.delete(uuid)
      else states.set(uuid, after[change] ?? states.get(uuid) ?? 'unknown')
    }
  }
  return Object.fromEntries([...states].toSorted())
}

/** What libvirtd says now. */
async function real(guests: Domain[]): Promise<Record<string, string>> {
  const states = await Promise.all(guests.map(async guest => [guest.uuid, (await guest.state(soon())).state]))
  return Object.fromEntries(states.toSorted()) as Record<string, string>
}

t.test(`libvirtd killed ${times} times during calls: no guest and no change is lost`, async t => {
  await using w = await libvirtWorld()
  const guests = [await w.boot(), await w.boot(), await w.boot()]
  const pids = await w.daemon.pids('qemu-system-x86')
  t.equal(pids.length, guests.length)

  const outcomes = { done: 0, lost: 0, notSent: 0, other: [] as string[] }
  /** Suspends and resumes without an end, until the connection is lost. */
  const busy = async (guest: Domain) => {
    try {
      for (;;) {
        await guest.suspend(soon())
        await guest.resume(soon())
        outcomes.done++
      }
    } catch (error) {
      if (Fault.is(error, 'WRONG_STATE')) return busy(guest)
      if (!Fault.is(error, 'LIBVIRT_UNAVAILABLE')) outcomes.other.push(String(error))
      else if (error.facts['outcome'] === 'unknown') outcomes.lost++
      else outcomes.notSent++
    }
  }
  for (let kill = 1; kill <= times; kill++) {
    const { done } = outcomes
    const lists = w.ups.length
    for (const guest of guests) await guest.suspend(soon())
    const workers = guests.map(busy)
    await until('some calls', () => outcomes.done >= done + 3)
    await w.daemon.kill()
    await Promise.all(workers)
    await until('libvirtd is back', () => w.ups.length > lists)
    const listed = w.ups
      .at(-1)
      ?.domains.map(({ uuid }) => uuid)
      .toSorted()
    t.strictSame(
      listed,
      guests.map(({ uuid }) => uuid).toSorted(),
      `after kill ${kill} all guests are listed`
    )
    const reality = await real(guests)
    const knows = () => JSON.stringify(remembered(w.story)) === JSON.stringify(reality)
    await until('memory is reality', knows)
  }
  t.strictSame(outcomes.other, [], 'calls fail in one way only')
  t.ok(
    outcomes.lost > 0,
    `${outcomes.done} rounds, ${outcomes.lost} calls lost, ${outcomes.notSent} not sent`
  )
  t.strictSame((await w.daemon.pids('qemu-system-x86')).toSorted(), pids.toSorted(), 'no QEMU was touched')

  const before = w.events.length
  for (const guest of guests) {
    await guest.resume(soon()).catch(() => {})
    await guest.suspend(soon())
    await w.event('lifecycle', guest, event => event.change === 'suspended')
  }
  t.ok(w.events.length > before, 'events come as before')
})

t.test('what happens while libvirtd is away is in the next list', async t => {
  await using w = await libvirtWorld()
  const dies = await w.boot()
  const lives = await w.boot()
  await lives.suspend(soon())
  const lists = w.ups.length
  const victim = await w.daemon.qemuOf(dies.uuid)
  await w.daemon.kill('SIGKILL')
  process.kill(victim, 'SIGKILL')
  await until('libvirtd is back', () => w.ups.length > lists)
  // libvirtd may find out only after it has answered the list: then it says so with an event.
  await until('the guest is gone', async () => (await dies.stateIfPresent(soon())) === null)
  const listed = w.ups.at(-1)?.domains ?? []
  const gone = !listed.some(({ uuid }) => uuid === dies.uuid)
  const told = w.events.some(e => e.kind === 'lifecycle' && e.uuid === dies.uuid && e.change === 'stopped')
  t.ok(gone || told, 'its end shows in the list or as an event')
  t.match(
    listed.find(({ uuid }) => uuid === lives.uuid),
    { state: { state: 'paused', reason: 'user' } }
  )
})
