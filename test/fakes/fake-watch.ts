import { randomUUID } from 'node:crypto'
import { sleep, systemClock } from '../../common/clock.js'
import { seconds } from '../../common/units.js'

type Wire = Record<string, any> // eslint-disable-line @typescript-eslint/no-explicit-any
type Entry = { sequence: number; key: string; state: Wire | null }

/** The watch stream of a fake agent: the latest state of each key, a snapshot or what is new, heartbeats. */
export class FakeWatch {
  readonly incarnation: string = randomUUID()
  readonly #latest = new Map<string, Entry>()
  readonly #wakes = new Set<() => void>()
  #sequence = 0
  #isOver = false
  /** No heartbeats, and no hello: the stream stands, and nobody speaks. */
  isMute = false
  /** How each stream began, for tests. */
  readonly begun: Array<'snapshot' | 'continued'> = []

  publish(key: string, state: Wire | null): void {
    this.#sequence++
    this.#latest.delete(key)
    this.#latest.set(key, { sequence: this.#sequence, key, state })
    for (const wake of this.#wakes) wake()
  }

  end(): void {
    this.#isOver = true
    for (const wake of this.#wakes) wake()
  }

  async *stream(request: Wire, hello: () => Wire, signal: AbortSignal): AsyncGenerator<Wire> {
    const from = request['from'] as Wire | null
    const continues = from?.['incarnation'] === this.incarnation
    this.begun.push(continues ? 'continued' : 'snapshot')
    let seen = continues ? Number(from?.['sequence']) : 0
    while (this.isMute && !signal.aborted && !this.#isOver) await this.#changed(seconds(0.1), seen, signal)
    yield { hello: { ...hello(), incarnation: this.incarnation, continues } }
    if (!continues) {
      // What is published while this is sent comes after it.
      const last = this.#sequence
      for (const entry of this.#since(seen)) if (entry.state) yield { snapshot: message(entry) }
      seen = last
      yield { snapshotEnd: { sequence: String(seen) } }
    }
    let next = systemClock.monotonic()
    while (!signal.aborted && !this.#isOver) {
      for (const entry of this.#since(seen)) {
        seen = entry.sequence
        yield { delta: message(entry) }
      }
      if (systemClock.monotonic() >= next && !this.isMute) {
        next = seconds(systemClock.monotonic() + 0.5)
        yield { heartbeat: { sequence: String(seen) } }
      }
      await this.#changed(seconds(0.5), seen, signal)
    }
  }

  #since(sequence: number): Entry[] {
    return [...this.#latest.values()].filter(entry => entry.sequence > sequence)
  }

  async #changed(limit: ReturnType<typeof seconds>, seen: number, signal: AbortSignal): Promise<void> {
    if (this.#sequence > seen || this.#isOver) return
    const woken = new AbortController()
    const wake = () => woken.abort()
    this.#wakes.add(wake)
    await sleep(systemClock, limit, AbortSignal.any([signal, woken.signal])).catch(() => {})
    this.#wakes.delete(wake)
  }
}

const message = ({ sequence, key, state }: Entry): Wire => {
  return { sequence: String(sequence), key, removed: state === null, ...state }
}
