import type { Clock } from '../../common/clock.js'
import { seconds, type Seconds } from '../../common/units.js'
import { placeTogether } from '../jobs/place-together.js'
import type { Loads } from '../jobs/world.js'
import type { Store } from '../store/store.js'

const lookEvery = seconds(3)
const mostLookedAt = 20

/**
 * Which VMs that found no host would find one now: a host is back with its storage, was woken, or has got room. Looked
 * at every 3 s and not at every tick, for each look compares VMs with all hosts.
 */
export class Rooms {
  readonly #world: { store: Store; loads: Loads; clock: Clock }
  #lastLook: Seconds | null = null
  #found: ReadonlySet<string> = new Set()

  constructor(world: { store: Store; loads: Loads; clock: Clock }) {
    this.#world = world
  }

  /** Of these, asked about in the order in which they should start. */
  among(vmIds: readonly string[]): ReadonlySet<string> {
    const { store, loads, clock } = this.#world
    const now = clock.monotonic()
    if (vmIds.length === 0) this.#found = new Set()
    else if (this.#lastLook === null || now - this.#lastLook >= lookEvery) {
      this.#lastLook = now
      this.#found = new Set(placeTogether(store.read, loads, 'restart', vmIds.slice(0, mostLookedAt)).keys())
    }
    return this.#found
  }
}
