import type { Clock } from '../../common/clock.js'
import type { StaleMark } from '../stale-store.js'
import { addEvent } from './events.js'
import { sql, type Tx } from './query.js'
import { putSetting, setting } from './settings.js'
import type { Store } from './store.js'

const markStale = (tx: Tx) => putSetting(tx, 'isStale', '1')

/** Of a backup that takes the store's place: also what was proven of hosts has to be proven again. */
export function markRestored(tx: Tx): void {
  markStale(tx)
  const health = 'connecting'
  tx.run(sql.updateTable('host').set({ health, proof: '' }).where('health', '=', 'proven_stopped'))
  tx.run(sql.updateTable('host').set({ proof: '' }).where('proof', '<>', ''))
}

export function staleMark(store: Store, clock: Clock): StaleMark {
  return {
    isSet: () => setting(store.read, 'isStale') === '1',
    set: () =>
      store.transaction(tx => {
        markStale(tx)
        const text =
          'the store may be older than the world: VMs without a lease start only where a host has told that it ' +
          'had them, or when every host has told what it has'
        addEvent(tx, { severity: 'alert', kind: 'coordinator.stale', text }, clock.wall())
      }),
    clear: () =>
      store.transaction(tx => {
        putSetting(tx, 'isStale', '')
        const text = 'every host has told what it has: the store is as the world is'
        addEvent(tx, { severity: 'info', kind: 'coordinator.confirmed', text }, clock.wall())
      })
  }
}
