import t from 'tap'
import { fixture, furnish, ids, noteView } from '../jobs/fixture.js'

t.test('one transaction may touch an object again by an upsert, and it is told of once', async t => {
  const made = await fixture()
  t.teardown(() => made.close())
  furnish(made)
  const told: object[] = []
  made.store.listen(changes => told.push(...changes))
  made.store.transaction(tx => {
    for (const hostId of [ids.hostA, ids.hostB]) {
      noteView(tx, ids.domain, hostId, 'problem')
      noteView(tx, ids.domain, hostId, 'active')
    }
  })
  t.strictSame(told, [{ kind: 'storageDomain', id: ids.domain }])
})
