import t from 'tap'
import { seconds } from '../../../common/units.js'
import { Rooms } from '../../../coordinator/ha/rooms.js'
import { fixture, furnish, ids, noteView, testClock } from '../jobs/fixture.js'

t.test('a VM that found no host has room as soon as a host with its storage is there', async t => {
  const made = await fixture()
  t.teardown(() => made.close())
  furnish(made, 'down')
  const { store, loads } = made
  const storageIs = (health: 'active' | 'problem') =>
    store.transaction(tx => {
      for (const hostId of [ids.hostA, ids.hostB]) noteView(tx, ids.domain, hostId, health)
    })
  let now = 0
  const rooms = new Rooms({ store, loads, clock: { ...testClock, monotonic: () => seconds(now) } })
  const among = () => [...rooms.among([ids.vm])]

  storageIs('problem')
  t.strictSame(among(), [])
  storageIs('active')
  t.strictSame(among(), [], 'it is not looked at all the time')
  now = 3
  t.strictSame(among(), [ids.vm])
  t.strictSame([...rooms.among([])], [])
})
