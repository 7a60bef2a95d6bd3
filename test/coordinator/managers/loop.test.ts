import t, { type Test as Tap } from 'tap'
import { seconds } from '../../../common/units.js'
import { ManagerLoop } from '../../../coordinator/managers/loop.js'
import type { Hosts } from '../../../coordinator/jobs/hosts.js'
import { storageHost } from '../../../coordinator/jobs/placement.js'
import { hostPowerOf } from '../../../coordinator/power-saver/hosts.js'
import { Fault } from '../../../common/fault.js'
import { noteHost, updateHost } from '../../../coordinator/store/hosts.js'
import { sql } from '../../../coordinator/store/query.js'
import { putHostView, storageDomain } from '../../../coordinator/store/storage-domains.js'
import { fixture, furnish, ids, log } from '../jobs/fixture.js'

// The loop with a real store, and agents that do as they are told unless a test says otherwise.

const none = new AbortController().signal

async function world(t: Tap) {
  const house = await fixture({ start: false })
  const { store } = house
  t.teardown(() => house.close())
  furnish(house)
  const time = { now: 0 }
  const told: string[] = []
  const silent = new Set<string>()
  const lacking = new Map<string, string[]>()
  const agents = { doNothing: false, refuse: false }
  const names = new Map([
    [ids.hostA, 'a'],
    [ids.hostB, 'b']
  ])
  const view = (hostId: string, isManager: 0 | 1, health: 'active' | 'problem' = 'active') =>
    store.transaction(tx =>
      putHostView(tx, {
        ...{ storageDomainId: ids.domain, hostId, health, problem: '', totalBytes: 1, freeBytes: 1 },
        ...{ readLatencyMs: 1, hostIdHeld: 1, lastOk: 1, leasesJson: '[]', isManager }
      })
    )
  store.transaction(tx =>
    tx.run(
      sql
        .updateTable('storageDomain')
        .set({ connectionJson: JSON.stringify({ kind: 'block', devices: ['/dev/x'] }), phase: 'active' })
        .where('id', '=', ids.domain)
    )
  )
  view(ids.hostA, 0)
  view(ids.hostB, 0)
  const hosts = {
    call: async (hostId: string, _: unknown, { preferred }: { preferred: boolean }) => {
      told.push(`${names.get(hostId)} ${preferred}`)
      if (agents.refuse) throw new Fault('HOST_UNREACHABLE', 'no route')
      if (preferred && !agents.doNothing) for (const id of names.keys()) view(id, id === hostId ? 1 : 0)
      return {}
    }
  } as unknown as Hosts
  const clock = {
    ...{ monotonic: () => seconds(time.now), wall: () => 1000 + time.now, random: () => 0 },
    ...{ newId: () => ids.vm, after: () => () => {} }
  }
  const loop = new ManagerLoop({
    ...{ store, hosts, clock, log, mayActUnasked: () => true },
    isHeard: id => !silent.has(id),
    lacks: id => lacking.get(id) ?? []
  })
  const manager = () => names.get(storageDomain(store.read, ids.domain).managerHostId ?? '') ?? null
  const events = () =>
    store.read
      .all(
        sql
          .selectFrom('event')
          .select('text')
          .where('kind', '=', 'storage_domain.manager')
          .orderBy('sequence')
      )
      .map(({ text }) => text)
  return { store, loop, time, told, silent, lacking, agents, view, manager, events }
}

t.test('a manager is chosen, written down with its reason, told once, and shown by an event', async t => {
  const { loop, told, manager, events, store, time } = await world(t)
  await loop.run(none)
  await loop.run(none)
  time.now += 100
  await loop.run(none)
  const first = manager()
  t.strictSame(told, [`${first} true`])
  t.match(events(), [/^host \S+ manages storage domain \S+: it manages the fewest$/])
  t.match(storageDomain(store.read, ids.domain), { managerWhy: 'it manages the fewest', managerSince: 1000 })
})

t.test('its agent has forgotten: it is told again after ten seconds', async t => {
  const { loop, told, agents, time, view } = await world(t)
  agents.doNothing = true
  await loop.run(none)
  time.now += 5
  await loop.run(none)
  t.equal(told.length, 1)
  time.now += 6
  await loop.run(none)
  t.equal(told.length, 2)
  view(ids.hostA, 1)
  view(ids.hostB, 1)
  time.now += 20
  await loop.run(none)
  t.equal(told.length, 2)
})

t.test('a manager that goes into maintenance hands over before its VMs have left', async t => {
  const { store, loop, told, manager, events, view } = await world(t)
  view(ids.hostA, 1)
  await loop.run(none)
  t.equal(manager(), 'a', 'who stands already is chosen')
  store.transaction(tx => updateHost(tx, ids.hostA, { mode: 'preparing' }))
  await loop.run(none)
  t.equal(manager(), 'b')
  t.strictSame(told, ['a true', 'a false', 'b true'])
  t.match(events().at(-1), /goes into maintenance/)
  t.ok(hostPowerOf(store.read, ids.cluster).get(ids.hostB)?.isManager)
  t.notOk(hostPowerOf(store.read, ids.cluster).get(ids.hostA)?.isManager)
})

t.test('a manager that falls silent is followed after a while, and not told of it', async t => {
  const { loop, told, manager, silent, time, view, store } = await world(t)
  view(ids.hostA, 1)
  await loop.run(none)
  silent.add(ids.hostA)
  await loop.run(none)
  time.now += 19
  await loop.run(none)
  t.equal(manager(), 'a')
  time.now += 1
  await loop.run(none)
  t.equal(manager(), 'b')
  t.strictSame(told, ['a true', 'b true'])
  store.transaction(tx => noteHost(tx, ids.hostB, { health: 'non_responsive' }))
  await loop.run(none)
  t.equal(manager(), null, 'both: nobody')
  silent.clear()
  await loop.run(none)
  t.equal(manager(), 'a')
})

t.test('a storage domain that the manager cannot read for so long', async t => {
  const { loop, manager, time, view, events } = await world(t)
  view(ids.hostA, 1)
  await loop.run(none)
  view(ids.hostA, 1, 'problem')
  await loop.run(none)
  view(ids.hostA, 1)
  time.now += 30
  await loop.run(none)
  t.equal(manager(), 'a', 'a moment is no reason')
  view(ids.hostA, 1, 'problem')
  await loop.run(none)
  time.now += 20
  await loop.run(none)
  t.equal(manager(), 'b')
  t.match(events().at(-1), /has it problem/)
})

t.test('an agent that is too old for being told is not chosen', async t => {
  const { loop, manager, lacking } = await world(t)
  lacking.set(ids.hostA, ['StorageService/PreferManager'])
  await loop.run(none)
  t.equal(manager(), 'b')
})

t.test('a host that cannot be reached is tried again and stops nobody', async t => {
  const { loop, told, agents, time } = await world(t)
  agents.refuse = true
  await loop.run(none)
  time.now += 11
  await loop.run(none)
  t.equal(told.length, 2)
})

t.test('storage work in one storage domain goes to its manager', async t => {
  const { store, loop, view } = await world(t)
  view(ids.hostB, 1)
  await loop.run(none)
  for (const number of [0, 1, 2]) t.equal(storageHost(store.read, [ids.domain], number), ids.hostB)
})
