import { StaleStore } from '../../coordinator/stale-store.js'

/** A store that knows everything that ever happened; whether it still does is not kept. */
export const newStore = () => new StaleStore({ isSet: () => false, set: () => {}, clear: () => {} })
