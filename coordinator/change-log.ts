import type { Change, Store } from './store/store.js'

export const watchedKinds = ['vm', 'host', 'disk', 'storageDomain', 'cluster', 'template', 'job'] as const
export type WatchKind = (typeof watchedKinds)[number]
export type Changed = { kind: WatchKind; id: string; sequence: number }

const mostKept = 20_000

/**
 * Which objects have changed, and in what order. It keeps no states: whoever follows reads them from the
 * store, so a slow watcher skips states and costs nothing.
 */
export class ChangeLog {
  readonly incarnation: string
  readonly #latest = new Map<string, Changed>() // oldest sequence first
  readonly #listeners = new Set<() => void>()
  #sequence = 0
  #forgottenUpTo = 0

  constructor(store: Store, incarnation: string) {
    this.incarnation = incarnation
    store.listen(changes => this.#take(changes))
  }

  get sequence(): number {
    return this.#sequence
  }

  /** What changed after a position, oldest first; null where the log does not reach back so far. */
  since(position: { incarnation: string; sequence: number }): Changed[] | null {
    const isOurs = position.incarnation === this.incarnation && position.sequence <= this.#sequence
    if (!isOurs || position.sequence < this.#forgottenUpTo) return null
    return [...this.#latest.values()].filter(({ sequence }) => sequence > position.sequence)
  }

  listen(wake: () => void): () => void {
    this.#listeners.add(wake)
    return () => this.#listeners.delete(wake)
  }

  #take(changes: readonly Change[]): void {
    for (const { kind, id } of changes) {
      const known = watchedKinds.find(each => each === kind)
      if (!known) continue
      const key = `${known}/${id}`
      this.#latest.delete(key)
      this.#latest.set(key, { kind: known, id, sequence: ++this.#sequence })
    }
    for (const [key, { sequence }] of this.#latest) {
      if (this.#latest.size <= mostKept) break
      this.#latest.delete(key)
      this.#forgottenUpTo = sequence
    }
    for (const wake of this.#listeners) wake()
  }
}
