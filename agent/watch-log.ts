/** The whole new state of one thing, never a difference: a reader may miss any but the latest. */
export type Delta<State> = { sequence: number; key: string; state: State | null }
export type Position = { incarnation: string; sequence: number }
export type Catchup<State> = { kind: 'snapshot' | 'deltas'; deltas: Delta<State>[]; sequence: number }
export type Occurrence = { number: number; key: string; what: string; text: string; at: number }

const mostOccurrences = 1000
/** A guest that reboots or fails in a loop is told of so often in a minute, and no more. */
const mostInAMinute = 10
const minute = 60_000

/**
 * What a watcher has not seen yet. The log keeps the latest delta of each key, so its size is that of the
 * host and not that of its history, and a slow watcher skips states instead of falling behind.
 */
export class WatchLog<State> {
  readonly incarnation: string
  readonly #tombstones: number
  readonly #latest = new Map<string, Delta<State>>() // oldest sequence first
  readonly #readers = new Set<() => void>()
  /** When something was last noted of each key. */
  readonly #noted = new Map<string, number[]>()
  #occurrences: Occurrence[] = []
  #sequence = 0
  #number = 0
  #forgottenUpTo = 0

  /** A new incarnation at every start: sequence numbers of another life mean nothing. */
  constructor(incarnation: string, tombstones = 1000) {
    this.incarnation = incarnation
    this.#tombstones = tombstones
  }

  get sequence(): number {
    return this.#sequence
  }

  /** `null` says that the thing is gone. */
  publish(key: string, state: State | null): void {
    this.#sequence++
    this.#latest.delete(key)
    this.#latest.set(key, { sequence: this.#sequence, key, state })
    if (state === null) {
      this.#noted.delete(key)
      this.#forgetOldTombstones()
    }
    this.#wake()
  }

  /** For people; the oldest are dropped. */
  note(key: string, what: string, text: string, at: number): void {
    const recent = (this.#noted.get(key) ?? []).filter(time => Math.abs(at - time) < minute)
    if (recent.length >= mostInAMinute) return
    this.#noted.set(key, [...recent, at])
    const isLast = recent.length === mostInAMinute - 1
    const told = isLast ? `${text}; more of the kind is not told for a while` : text
    this.#occurrences.push({ number: ++this.#number, key, what, text: told, at })
    this.#occurrences = this.#occurrences.slice(-mostOccurrences)
    this.#wake()
  }

  /** Everything after a position; everything there is, if that position is of another life or too old. */
  since(position: Position | null): Catchup<State> {
    const all = [...this.#latest.values()]
    const isOurs = position?.incarnation === this.incarnation && position.sequence <= this.#sequence
    if (isOurs && position.sequence >= this.#forgottenUpTo) {
      const deltas = all.filter(({ sequence }) => sequence > position.sequence)
      return { kind: 'deltas', deltas, sequence: this.#sequence }
    }
    const deltas = all.filter(({ state }) => state !== null)
    return { kind: 'snapshot', deltas, sequence: this.#sequence }
  }

  /** Those after a number, and how many of those were dropped meanwhile. */
  occurrencesSince(number: number): { occurrences: Occurrence[]; dropped: number; last: number } {
    const occurrences = this.#occurrences.filter(occurrence => occurrence.number > number)
    return { occurrences, dropped: this.#number - number - occurrences.length, last: this.#number }
  }

  /** Calls back after each change, until the result is called. */
  listen(wake: () => void): () => void {
    this.#readers.add(wake)
    return () => this.#readers.delete(wake)
  }

  #wake(): void {
    for (const wake of this.#readers) wake()
  }

  #forgetOldTombstones(): void {
    const dead = [...this.#latest.values()].filter(({ state }) => state === null)
    for (const { key, sequence } of dead.slice(0, Math.max(0, dead.length - this.#tombstones))) {
      this.#latest.delete(key)
      this.#forgottenUpTo = sequence
    }
  }
}
