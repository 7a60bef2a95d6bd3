import { Fault } from '../common/fault.js'
import { addEvent } from './store/events.js'
import { putSetting, setting } from './store/settings.js'
import type { Store } from './store/store.js'

/** Once at each start, before the first command: agents refuse whoever has a lower epoch than they have seen. */
export function takeEpoch(store: Store): number {
  return store.transaction(tx => {
    const epoch = Number(setting(tx, 'epoch') ?? '0') + 1
    putSetting(tx, 'epoch', String(epoch))
    return epoch
  })
}

const mostJump = 1_000_000

/**
 * After a restore the agents have seen higher epochs than this store knows. An operator who is sure that no
 * other coordinator runs lifts it above theirs.
 */
export function adoptEpoch(store: Store, seen: number, actor: string, now: number): number {
  return store.transaction(tx => {
    const epoch = Number(setting(tx, 'epoch') ?? '0')
    if (!Number.isSafeInteger(seen) || seen < epoch) {
      throw new Fault('WRONG_STATE', `the store is at epoch ${epoch} already`)
    }
    if (seen - epoch > mostJump) {
      throw new Fault('INVALID_REQUEST', `epoch ${seen} is more than ${mostJump} above ${epoch}`)
    }
    putSetting(tx, 'epoch', String(seen))
    const text = `the epoch was lifted from ${epoch} to ${seen} by ${actor}`
    addEvent(tx, { severity: 'alert', kind: 'coordinator.epoch_adopted', text, actor }, now)
    return seen
  })
}
